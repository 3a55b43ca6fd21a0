"""Revision ids that the version table cannot hold, and revisions that undo themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import rehearsals
import trees
from support.planning import migration

from provision.alembic import state as tree_state
from provision.alembic.tree.source import stated_id
from provision.alembic.trees import check_trees as check, load
from provision.alembic.verbs.database import asking
from provision.alembic.verbs.writing import revision
from provision.errors import MigrationsError, SpecError, StepFailedError
from provision.observe.logins import Choice, endpoint
from provision.spec.load import load as load_spec

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.spec.model import Migrations

pytestmark = pytest.mark.server
LONG = "a" * 33


def planned(tree: Migrations, database: Server) -> str:
    """Return the consequence of the planned step; refused ids raise."""
    graph, _ = load(tree)
    with asking(database.endpoint) as query:
        before = tree_state.observed(tree, graph, query)
    (step,) = migration(tree, graph, before)
    return step.consequence


def test_an_id_has_to_fit_into_the_version_table_that_is_there(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), LONG: "pass"})
    with pytest.raises(MigrationsError, match="33 characters, and the version table holds 32"):
        planned(tree, database)
    trees.run(tree, database.endpoint, "alpha")
    with pytest.raises(MigrationsError, match="holds 32"):
        planned(tree, database)
    for kind_, is_refused in (("varchar(32)", True), ("varchar(33)", False), ("text", False), ("varchar", False)):
        database.execute(f"ALTER TABLE alembic_version ALTER version_num TYPE {kind_}")
        if is_refused:
            with pytest.raises(MigrationsError):
                planned(tree, database)
        else:
            assert planned(tree, database) == ""
    trees.run(tree, database.endpoint)
    assert database.execute("SELECT version_num FROM alembic_version") == [(LONG,)]


@pytest.mark.parametrize("name", ["beta", "be.ta"])
def test_a_row_that_is_gone_is_missed(tmp_path: Path, database: Server, name: str) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass", name: 'op.execute("DELETE FROM alembic_version")', "end": "pass"})
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    assert f"'alpha' to '{name}' in 'alembic_version'; 0 found" in " ".join(caught.value.evidence)
    assert database.execute("SELECT version_num FROM alembic_version") == [("alpha",)]
    path = tmp_path / "migrations" / "versions" / f"{name}.py"
    path.write_text(path.read_text().replace("DELETE FROM alembic_version", "SELECT 1"))
    trees.run(tree, database.endpoint)
    assert database.execute("SELECT version_num FROM alembic_version") == [("end",)]


@pytest.mark.parametrize("where", ["env.py", "versions/alpha.py"], ids=["in env.py", "in a revision"])
@pytest.mark.parametrize("said", ["version_num", "version_table_impl"])
def test_a_tree_that_deals_with_the_column_is_warned(tmp_path: Path, database: Server, where: str, said: str) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass", LONG: "pass"})
    path = tmp_path / "migrations" / where
    path.write_text(f"{path.read_text()}\n# {said}\n")
    assert "unless this migration makes it wider" in planned(tree, database)


def test_validate_reads_the_ids_and_runs_nothing(tmp_path: Path) -> None:
    trees.write(tmp_path, {"alpha": "pass"})
    (tmp_path / "spec.yml").write_text(
        "name: ids\nserver: {image: 'postgres:18'}\nmigrations: {script_location: ./migrations}\n"
    )
    spec = load_spec(tmp_path / "spec.yml", {})
    check(spec)
    path = tmp_path / "migrations/versions/alpha.py"
    text = path.read_text()
    for name, words in (("", "empty"), (LONG, "33 characters")):
        path.write_text(text.replace("'alpha'", repr(name)))
        with pytest.raises(SpecError) as caught:
            check(spec)
        (problem,) = caught.value.problems
        assert (problem.path, problem.line) == (path, 4)
        assert words in problem.message
    path.write_text(text.replace("'alpha'", "open('/nowhere').read()"))
    check(spec)


@pytest.mark.parametrize(("target", "words"), [("haed", "did you mean `head`?"), ("alpah", "did you mean alpha")])
def test_validate_knows_the_targets_and_runs_nothing(tmp_path: Path, target: str, words: str) -> None:
    trees.write(tmp_path, {"alpha": "pass"})
    lines = ["name: ids", "server: {image: 'postgres:18'}", "migrations:", "  script_location: ./migrations"]
    (tmp_path / "spec.yml").write_text("\n".join([*lines, f"  target: {target}", ""]))
    with pytest.raises(SpecError) as caught:
        check(load_spec(tmp_path / "spec.yml", {}))
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.column) == (tmp_path / "spec.yml", 5, 11)
    assert words in (problem.suggestion or "")
    path = tmp_path / "migrations/versions/alpha.py"
    path.write_text(path.read_text().replace("'alpha'", "open('/nowhere').read()"))
    check(load_spec(tmp_path / "spec.yml", {}))


def test_an_empty_id_is_always_refused(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    path = tmp_path / "migrations/versions/alpha.py"
    path.write_text(path.read_text().replace("'alpha'", "''") + "# version_num\n")
    with pytest.raises(MigrationsError, match="empty revision id"):
        load(tree)


@pytest.mark.parametrize("name", ["", LONG])
def test_a_new_revision_gets_no_id_that_does_not_fit(tmp_path: Path, name: str) -> None:
    tree = rehearsals.tree_of(tmp_path, trees.write(tmp_path, {"alpha": "pass"}))
    with pytest.raises(MigrationsError, match="empty" if not name else "33 characters"):
        revision(tree, {"message": "new", "rev_id": name}, lambda: endpoint(tree.spec, Choice(superuser=True)))
    assert [each.name for each in (tmp_path / "migrations/versions").iterdir()] == ["alpha.py"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (b'revision = "a1"\n', ("a1", 1)),
        (b"import x\nrevision: str = 'a1'  # first\n", ("a1", 2)),
        (b"revision = ''\n", ("", 1)),
        (b"revision = compute()\n", None),
        (b"down_revision = 'a1'\n", None),
        (b'revision = "a" + "b"\n', None),
    ],
)
def test_a_stated_id_is_read_without_running_the_file(source: bytes, found: tuple[str, int] | None) -> None:
    assert stated_id(source) == found


ROLLS_BACK = {
    "a statement": "op.execute('CREATE TABLE beta (id int)')\nop.execute('ROLLBACK')",
    "several in one": "op.execute('CREATE TABLE beta (id int); ROLLBACK;')",
    "the connection": "op.execute('CREATE TABLE beta (id int)')\nop.get_bind().rollback()",
    "a session": "from sqlalchemy.orm import Session\ns = Session(op.get_bind())\n"
    "s.execute(sa.text('CREATE TABLE beta (id int)'))\ns.rollback()",
}


@pytest.mark.parametrize("body", ROLLS_BACK)
def test_a_revision_that_rolls_back_is_not_applied(tmp_path: Path, database: Server, body: str) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": ROLLS_BACK[body]})
    with pytest.raises(StepFailedError, match="revision beta") as caught:
        trees.run(tree, database.endpoint)
    assert "applied now: alpha  make alpha" in caught.value.evidence
    assert database.execute("SELECT version_num, to_regclass('beta') FROM alembic_version") == [("alpha", None)]


def test_a_revision_may_roll_back_and_go_on(tmp_path: Path, database: Server) -> None:
    body = """
op.execute("SAVEPOINT here")
op.execute("ROLLBACK TO SAVEPOINT here")
with op.get_bind().begin_nested() as savepoint:
    op.execute("CREATE TABLE gone (id int)")
    savepoint.rollback()
op.create_table("beta", sa.Column("id", sa.Integer))
with op.get_context().autocommit_block():
    op.create_index("ix", "beta", ["id"], postgresql_concurrently=True)
"""
    tree = trees.write(tmp_path, {"beta": body})
    trees.run(tree, database.endpoint)
    assert database.execute("SELECT to_regclass('beta')::text, to_regclass('gone'), to_regclass('ix')::text") == [
        ("beta", None, "ix")
    ]
