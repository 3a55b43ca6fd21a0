"""The models of ``env.py`` against a real database: what is compared, what is written, and what is left behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rehearsals
import trees
from environments import ASYNC, BOTH, CONFIGURED, MAKO, MODELS, ONLINE

from provision.alembic import Revisions
from provision.alembic.running.ask import Written, ask_comparison, ask_revision
from provision.alembic.trees import load
from provision.alembic.verbs.writing import compare_models, refuse_pending
from provision.errors import RefusedError, StepFailedError

if TYPE_CHECKING:
    from conftest import Server

    from provision.spec.model import Migrations

pytestmark = pytest.mark.server


def compare(tree: Migrations, database: Server) -> tuple[str, ...]:
    return ask_comparison(tree, *load(tree), database.endpoint).differences


def write(tree: Migrations, database: Server | None = None, **given: object) -> Written | None:
    absent = dict.fromkeys(("branch_label", "version_path", "rev_id", "depends_on"))
    asked = {"message": "new one", "autogenerate": False, "head": "head", "splice": False, **absent, **given}
    empty = bool(asked.pop("allow_empty", False))
    endpoint = database.endpoint if database else None
    return ask_revision((tree, *load(tree)), asked, allow_empty=empty, endpoint=endpoint)


@pytest.mark.parametrize("env", [ONLINE, BOTH, ASYNC], ids=["online", "both", "async"])
def test_models_are_compared_without_our_own_schema_and_without_writing(
    tmp_path: Path, database: Server, env: str
) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=env)
    trees.run(replace(tree, ledger=True), database.endpoint)
    database.execute("CREATE TABLE stray (id int)", "CREATE SCHEMA other", "CREATE TABLE other.thing (id int)")
    database.execute("CREATE TABLE zulu (id int)", "CREATE TABLE echo (id int)")
    before = database.execute("SELECT count(*) FROM pg_class")
    tables = [f"- table {name}" for name in ("echo", "other.thing", "stray", "zulu")]
    assert compare(tree, database) == ("+ column alpha.name (VARCHAR(20))", *tables), "in a stable order"
    database.execute("DROP TABLE zulu, echo")
    database.execute("ALTER TABLE alpha ADD name varchar(10) NOT NULL", "DROP TABLE stray, other.thing")
    assert compare(tree, database) == ("~ column alpha.name: type VARCHAR(10) → VARCHAR(20), NOT NULL → NULL",)
    database.execute("ALTER TABLE alpha ALTER name TYPE varchar(20), ALTER name DROP NOT NULL")
    assert compare(tree, database) == ()
    database.execute("CREATE TABLE their_versions (version_num text)")
    for schema in (None, "public"):
        assert not ask_comparison(tree, *load(tree), database.endpoint, [(schema, "their_versions")]).differences
    assert ask_comparison(tree, *load(tree), database.endpoint, [("other", "their_versions")]).differences
    database.execute("DROP TABLE their_versions")
    assert before[0][0] - database.execute("SELECT count(*) FROM pg_class")[0][0] == 4
    assert database.execute("SELECT to_regclass('provision.applied_revisions')::text") != [(None,)]


@pytest.mark.parametrize("env", [ONLINE, ASYNC], ids=["online", "async"])
@pytest.mark.parametrize("then", ["pass", "connection.commit()", "connection.begin_nested().commit()"])
def test_a_comparison_leaves_nothing(tmp_path: Path, database: Server, env: str, then: str) -> None:
    hook = f"""
def hook(context, revision, directives):
    connection = context.connection
    connection.execute(sa.text("CREATE TABLE x ()"))
    {then}
    assert connection.execute(sa.text("SELECT 1")).scalar() == 1
"""
    env = env.replace(CONFIGURED, f"{CONFIGURED}, process_revision_directives=hook").replace(MODELS, MODELS + hook)
    assert compare(trees.write(tmp_path, {}, env=env), database) == ("+ table alpha",)
    assert database.execute("SELECT to_regclass('x'), to_regclass('alembic_version')") == [(None, None)]


def test_a_second_connection_of_a_comparator_commits_nothing_either(tmp_path: Path, database: Server) -> None:
    hook = """
def hook(context, revision, directives):
    with context.connection.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE x ()"))
"""
    env = ONLINE.replace(CONFIGURED, f"{CONFIGURED}, process_revision_directives=hook").replace(MODELS, MODELS + hook)
    assert compare(trees.write(tmp_path, {}, env=env), database) == ("+ table alpha",)
    assert database.execute("SELECT to_regclass('x')") == [(None,)]


@pytest.mark.parametrize("sql", ["COMMIT", "select 1; commit;"])
def test_a_comparison_refuses_to_commit(tmp_path: Path, database: Server, sql: str) -> None:
    hook = f"lambda context, revision, directives: context.connection.exec_driver_sql({sql!r})"
    env = ONLINE.replace(CONFIGURED, f"{CONFIGURED}, process_revision_directives={hook}")
    with pytest.raises(StepFailedError, match="a comparison commits nothing"):
        compare(trees.write(tmp_path, {}, env=env), database)


def test_a_comparison_in_autocommit_only_reads(tmp_path: Path, database: Server) -> None:
    hook = "lambda context, revision, directives: context.connection.exec_driver_sql('CREATE TABLE x ()')"
    env = ONLINE.replace(CONFIGURED, f"{CONFIGURED}, process_revision_directives={hook}")
    env = env.replace(".connect()", '.connect().execution_options(isolation_level="AUTOCOMMIT")')
    with pytest.raises(StepFailedError, match="cannot execute CREATE TABLE in a read-only transaction"):
        compare(trees.write(tmp_path, {}, env=env), database)
    assert database.execute("SELECT to_regclass('x')") == [(None,)]


VIEWS = """
from alembic.autogenerate import comparators
from alembic.operations import ops

class MakeView(ops.ExecuteSQLOp):
    def reverse(self):
        return ops.ExecuteSQLOp("DROP VIEW few")

@comparators.dispatch_for("schema")
def views(autogen_context, upgrade_ops, _schemas):
    connection, wanted = autogen_context.connection, "CREATE VIEW few AS SELECT id FROM alpha"
    there = connection.execute(sa.text("SELECT to_regclass('few') IS NOT NULL")).scalar()
    with connection.begin_nested() as savepoint:
        connection.execute(sa.text("DROP VIEW IF EXISTS few"))
        connection.execute(sa.text(wanted))
        savepoint.rollback()
    if not there:
        upgrade_ops.ops.append(MakeView(wanted))
"""


def test_a_comparator_may_write_and_roll_back(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=ONLINE.replace(MODELS, MODELS + VIEWS))
    (tmp_path / "migrations/script.py.mako").write_text(MAKO)
    trees.run(tree, database.endpoint)
    database.execute("ALTER TABLE alpha ADD name varchar(20)")
    assert compare(tree, database) == ("~ SQL: CREATE VIEW few AS SELECT id FROM alpha",)
    assert write(tree, database, autogenerate=True, rev_id="beta") is not None
    assert database.execute("SELECT to_regclass('few')") == [(None,)]
    trees.run(tree, database.endpoint)
    assert compare(tree, database) == ()


EMPTY = ONLINE.replace("sa.Table(", "if False: sa.Table(")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("shop/models.py", "from shop.base import Base\nclass A(Base):\n    __tablename__ = 'a'\n"),
        ("models.py", "from sqlmodel import SQLModel\nclass A(SQLModel, table=True):\n    id: int\n"),
        ("tables.py", "import sqlalchemy as sa\nmetadata = sa.MetaData()\na = sa.Table('a', metadata)\n"),
    ],
)
def test_models_without_tables_beside_files_with_tables_are_an_error(
    tmp_path: Path, database: Server, file: str, text: str
) -> None:
    declared = replace(trees.write(tmp_path, {}, env=EMPTY), cwd=tmp_path)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/base.py").write_text("from sqlalchemy.orm import declarative_base\nBase = declarative_base()\n")
    tree = rehearsals.tree_of(tmp_path, declared)
    assert compare_models(tree, database.endpoint).tables == 0
    (tmp_path / file).write_text(text)
    module = file.removesuffix(".py").replace("/", ".")
    with pytest.raises(StepFailedError, match="have no tables") as caught:
        compare_models(tree, database.endpoint)
    assert f"the module {module} has tables" in caught.value.evidence
    assert f"import {module}" in str(caught.value.next_step)


def test_modules_are_named_from_above_the_package_that_env_py_runs_in(tmp_path: Path, database: Server) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    declared = replace(trees.write(package, {}, env=EMPTY), cwd=package)
    (package / "models.py").write_text(
        "import sqlalchemy as sa\nmetadata = sa.MetaData()\na = sa.Table('a', metadata)\n"
    )
    with pytest.raises(StepFailedError) as caught:
        compare_models(rehearsals.tree_of(tmp_path, declared), database.endpoint)
    assert "import shop.models`" in str(caught.value.next_step)


def test_partitions_and_tables_of_extensions_are_no_difference(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {}, env=ONLINE)
    database.execute(
        "CREATE TABLE alpha (id int PRIMARY KEY, name varchar(20)) PARTITION BY RANGE (id)",
        "CREATE TABLE alpha_1 PARTITION OF alpha FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (id)",
        "CREATE TABLE alpha_1_1 PARTITION OF alpha_1 FOR VALUES FROM (0) TO (5)",
        "CREATE TABLE owned (id int)",
        "CREATE EXTENSION citext",
        "ALTER EXTENSION citext ADD TABLE owned",
    )
    assert compare(tree, database) == ()
    declared = 'sa.Table("alpha_1_1", target_metadata, sa.Column("id", sa.Integer, primary_key=True))\n'
    (tmp_path / "migrations/env.py").write_text(ONLINE.replace(MODELS, MODELS + declared))
    assert compare(tree, database) == ("- column alpha_1_1.name",)


OWN_TYPE = """
class Money(sa.types.UserDefinedType):
    cache_ok = True
    def get_col_spec(self):
        return "numeric(12, 2)"
"""


def test_what_a_new_revision_uses_is_imported_in_it(tmp_path: Path, database: Server) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/kinds.py").write_text("import sqlalchemy as sa\n" + OWN_TYPE)
    columns = 'sa.Column("a", shop.kinds.Money()), sa.Column("b", sa.dialects.postgresql.ARRAY(shop.kinds.Money()))'
    env = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport shop.kinds\nimport sqlalchemy.dialects.postgresql\n"
    )
    tree = trees.write(tmp_path, {}, env=env + ONLINE.replace('sa.Column("name", sa.String(20))', columns))
    mako = tmp_path / "migrations/script.py.mako"
    mako.write_text(MAKO)
    done = write(tree, database, autogenerate=True, rev_id="beta")
    assert done is not None
    text = Path(done.files[0][1]).read_text()
    assert text.count("import shop") == 1, text
    assert "import shop.kinds\n" in text
    trees.run(replace(tree, cwd=tmp_path), database.endpoint)
    assert compare(tree, database) == ()


def test_who_migrates_meanwhile_does_not_end_a_comparison(tmp_path: Path, database: Server) -> None:
    waits = (
        f"    import pathlib, time\n    pathlib.Path({str(tmp_path / 'asks')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n"
        "    connection.exec_driver_sql('SELECT 1')\n    connection.rollback()\n    context.configure("
    )
    connected = "    connection.exec_driver_sql('SELECT 1')\n" + waits
    asking = trees.write(tmp_path / "asking", {}, env=ONLINE.replace("    context.configure(", connected))
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(compare, asking, database)
        while not (tmp_path / "asks").exists():
            assert not found.done(), found.result()
            time.sleep(0.02)
        try:
            other = trees.write(tmp_path / "other", {"alpha": trees.table("beta")})
            trees.run(replace(other, version_table="other_versions"), database.endpoint)
        finally:
            (tmp_path / "go").touch()
        assert "+ table alpha" in found.result()


def test_what_cannot_be_compared_is_said(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    with pytest.raises(StepFailedError, match=r"env\.py names no models") as caught:
        compare(tree, database)
    assert f"{tmp_path}/migrations/env.py" in str(caught.value.next_step)
    url = 'context.config.get_main_option("sqlalchemy.url")'
    other = f'sa.engine.make_url({url}).set(database="postgres")'
    (tmp_path / "migrations/env.py").write_text(ONLINE.replace(url, other))
    with pytest.raises(StepFailedError, match="another database"):
        compare(tree, database)


def test_a_revision_holds_what_was_found_and_none_is_written_of_nothing(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=ONLINE)
    (tmp_path / "migrations/script.py.mako").write_text(MAKO)
    trees.run(tree, database.endpoint)
    done = write(tree, database, autogenerate=True, rev_id="beta")
    assert done is not None
    assert done.operations == ("+ column alpha.name (VARCHAR(20))",)
    assert [name for name, _path in done.files] == ["beta"]
    trees.run(tree, database.endpoint)
    assert compare(tree, database) == ()
    files = sorted((tmp_path / "migrations/versions").glob("*.py"))
    assert write(tree, database, autogenerate=True) == Written((), ())
    assert sorted((tmp_path / "migrations/versions").glob("*.py")) == files
    empty = write(tree, database, autogenerate=True, allow_empty=True, rev_id="gamma")
    assert empty is not None
    assert [name for name, _path in empty.files] == ["gamma"]


def test_files_are_written_without_a_server(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"}, env="raise SystemExit('is not run')\n")
    (tmp_path / "migrations/script.py.mako").write_text(
        '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    for name in ("left", "right"):
        assert write(tree, rev_id=name, head="alpha", splice=True) is not None
    assert write(tree, rev_id="joined", head=["left", "right"]) is not None
    graph, _ = load(tree)
    assert graph.heads == ("joined",)
    assert graph["joined"].down == ("left", "right")
    with pytest.raises(StepFailedError, match=r"cannot be written: .*not a head"):
        write(tree, head="alpha")
    ini = tmp_path / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = migrations\nrevision_environment = true\n")
    assert write(replace(tree, script_location=None, config=ini)) is None  # env.py is run, so it needs the server


@pytest.mark.parametrize(
    ("template", "hook", "told", "advice"),
    [
        ("pass", "a-formatter-that-is-not-there", "a post-write hook failed: FileNotFoundError", "post_write_hooks"),
        ("nowhere()", "true", "it cannot be loaded: NameError: name 'nowhere' is not defined", "correct the file"),
    ],
)
def test_what_fails_after_a_file_is_written_says_that_it_is_there(
    template: str, hook: str, told: str, advice: str, tmp_path: Path
) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    (tmp_path / "migrations/script.py.mako").write_text(
        f"revision = ${{repr(up_revision)}}\ndown_revision = ${{repr(down_revision)}}\n{template}\n"
    )
    ini = tmp_path / "alembic.ini"
    hooks = f"[post_write_hooks]\nhooks = shape\nshape.type = exec\nshape.executable = {hook}\nshape.options = -x\n"
    ini.write_text(f"[alembic]\nscript_location = migrations\n{hooks}")
    with pytest.raises(StepFailedError) as caught:
        write(replace(tree, script_location=None, config=ini), rev_id="beta")
    (made,) = tmp_path.glob("migrations/versions/beta*.py")
    assert caught.value.sentence.startswith(f"{made} was written, and {told}")
    assert advice in str(caught.value.next_step)


def test_a_branch_target_is_compared_at_the_head_of_its_branch(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=ONLINE)
    versions = tmp_path / "migrations" / "versions"
    labelled = (versions / "alpha.py").read_text() + "branch_labels = ('shop',)\n"
    (versions / "alpha.py").write_text(labelled)
    (versions / "other.py").write_text(labelled.replace("alpha", "other").replace("shop", "mail"))
    graph, _ = load(tree)
    chosen = rehearsals.tree_of(tmp_path, replace(tree, target="shop@head"))
    for rows, refused in (((), True), (("alpha",), False), (("alpha", "other"), False), (("other",), True)):
        if refused:
            with pytest.raises(RefusedError) as caught:
                refuse_pending(chosen, Revisions(rows))
            assert caught.value.next_step == "provision migrate upgrade shop@head"
        else:
            refuse_pending(chosen, Revisions(rows))
    assert len(graph.heads) == 2
    with pytest.raises(RefusedError, match="not at heads"):
        refuse_pending(rehearsals.tree_of(tmp_path, tree), Revisions(("alpha",)))
