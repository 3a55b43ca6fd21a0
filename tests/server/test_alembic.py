"""Migrating for real: what is applied, what is refused, and what is said when it fails."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trees

from provision.alembic import state as tree_state
from provision.alembic.running.lock import CLASS_ID, OBJECT_ID
from provision.alembic.trees import load
from provision.errors import LockedError, MigrationsError, ProvisionError, StepFailedError
from provision.model import Secret
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from conftest import Server

    from provision.alembic.running.migrate import MigrationEvent
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

LOCK = f"SELECT pg_advisory_lock({CLASS_ID}, {OBJECT_ID})"


@pytest.fixture
def tree(tmp_path: Path) -> Migrations:
    return trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta", "gamma")})


def rows(database: Server, name: str = "alembic_version") -> list[str]:
    return sorted(row[0] for row in database.execute(f"SELECT version_num FROM {name}"))  # noqa: S608


def told(error: ProvisionError) -> str:
    return "\n".join([error.sentence, *error.evidence, error.next_step or ""])


def failure(tree: Migrations, database: Server) -> ProvisionError:
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    return caught.value


# --- Reaching a target -------------------------------------------------------------------------------------------


def test_an_upgrade_runs_what_is_pending_and_says_so(tree: Migrations, database: Server) -> None:
    events: list[MigrationEvent] = []
    assert trees.run(tree, database.endpoint, "bet").after == ("beta",)
    assert rows(database) == ["beta"]
    done = trees.run(tree, database.endpoint, "head", events)
    assert [name for name, _seconds in done.revisions] == ["gamma"]
    assert [(each.what, each.subject, each.message) for each in events] == [
        ("started", "gamma", "make gamma"),
        ("done", "gamma", "make gamma"),
    ]


def test_a_second_upgrade_finds_nothing_to_do(tree: Migrations, database: Server) -> None:
    events: list[MigrationEvent] = []
    trees.run(tree, database.endpoint)
    assert trees.run(tree, database.endpoint, events=events).revisions == ()
    assert [each.what for each in events] == ["nothing"]


def test_a_downgrade_to_base_leaves_nothing(tree: Migrations, database: Server) -> None:
    trees.run(tree, database.endpoint)
    assert [name for name, _ in trees.undo(tree, database.endpoint, "base").revisions] == ["gamma", "beta", "alpha"]
    assert rows(database) == []


def test_the_version_table_is_where_the_spec_says(tree: Migrations, database: Server) -> None:
    database.execute('CREATE SCHEMA "Odd %"')
    tree = replace(tree, version_table="Ver sion", version_table_schema="Odd %")
    trees.run(tree, database.endpoint)
    assert rows(database, '"Odd %"."Ver sion"') == ["gamma"]


def test_another_role_with_an_odd_password(tree: Migrations, database: Server) -> None:
    name, password = "us er%@:/ü", "100%s @:/?#[]'\"\\ü€ ${x}"
    quoted = password.replace("'", "''")
    database.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{quoted}'", f'GRANT ALL ON SCHEMA public TO "{name}"')
    endpoint = replace(database.endpoint, user=name, password=Secret(password))
    try:
        assert trees.run(tree, endpoint).after == ("gamma",)
    finally:
        database.execute(f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"')


def test_a_password_that_is_also_the_name_of_a_revision(tree: Migrations, database: Server) -> None:
    database.execute("CREATE ROLE shop LOGIN PASSWORD 'alpha'", "GRANT ALL ON SCHEMA public TO shop")
    events: list[MigrationEvent] = []
    try:
        done = trees.run(tree, replace(database.endpoint, user="shop", password=Secret("alpha")), events=events)
    finally:
        database.execute("DROP OWNED BY shop", "DROP ROLE shop")
    assert [name for name, _ in done.revisions] == ["alpha", "beta", "gamma"]
    assert [each.subject for each in events if each.what == "done"] == ["alpha", "beta", "gamma"]


def test_a_session_of_another_role_that_is_called_like_ours_is_let_be(tree: Migrations, database: Server) -> None:
    database.execute("CREATE ROLE shop LOGIN PASSWORD 'x'", "GRANT ALL ON SCHEMA public TO shop")
    try:
        with closing(database.connect()) as other, other.cursor() as cursor:
            cursor.execute("SET application_name = 'provision migration'")
            assert trees.run(tree, replace(database.endpoint, user="shop", password=Secret("x"))).after == ("gamma",)
            cursor.execute("SELECT 1")
    finally:
        database.execute("DROP OWNED BY shop", "DROP ROLE shop")


def test_several_heads_and_a_head_that_depends_on_another(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    versions = tmp_path / "migrations" / "versions"
    body = "def upgrade(): pass\ndef downgrade(): pass\n"
    (versions / "b.py").write_text(f"revision = 'left'\ndown_revision = 'alpha'\n{body}")
    (versions / "c.py").write_text(f"revision = 'right'\ndown_revision = None\ndepends_on = 'left'\n{body}")
    (versions / "d.py").write_text(f"revision = 'third'\ndown_revision = 'alpha'\n{body}")
    assert trees.run(tree, database.endpoint, "heads").after == ("right", "third")
    assert rows(database) == ["right", "third"]
    with pytest.raises(MigrationsError, match="3 heads"):
        trees.run(tree, database.endpoint, "head")


def test_an_ini_file_with_a_script_location_of_its_own(tree: Migrations, tmp_path: Path, database: Server) -> None:
    ini = tmp_path / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = migrations\nsqlalchemy.url = driver://user:pass@localhost/dbname\n")
    tree = replace(tree, script_location=None, config=ini)
    assert trees.run(tree, database.endpoint).after == ("gamma",)


def test_a_pyproject_with_tool_alembic(tree: Migrations, tmp_path: Path, database: Server) -> None:
    toml = tmp_path / "pyproject.toml"
    toml.write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    tree = replace(tree, script_location=None, config=toml)
    assert trees.run(tree, database.endpoint).after == ("gamma",)


def test_what_env_py_prints_and_reads_is_its_own_affair(tmp_path: Path, database: Server) -> None:
    noisy = 'import os, sys\nprint("hello"); os.write(1, b"world\\n")\nassert sys.stdin.read() == ""\n' + trees.ENV
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=noisy)
    assert trees.run(tree, database.endpoint).after == ("alpha",)


def test_a_folder_that_shadows_the_standard_library(tree: Migrations, tmp_path: Path, database: Server) -> None:
    for name in ("types", "logging", "queue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('shadowed')")
    assert trees.run(tree, database.endpoint).after == ("gamma",)


def test_an_index_is_built_concurrently_under_the_lock(tmp_path: Path, database: Server) -> None:
    concurrently = """
        with op.get_context().autocommit_block():
            op.create_index("ix", "alpha", ["id"], postgresql_concurrently=True)
    """
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": concurrently})
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _n: trees.run(tree, database.endpoint), range(4)))
    assert sorted(len(each.revisions) for each in done) == [0, 0, 0, 2]


# --- The lock ----------------------------------------------------------------------------------------------------


def test_of_eight_at_once_one_migrates_and_seven_have_nothing_to_do(tree: Migrations, database: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda _n: trees.run(tree, database.endpoint), range(8)))
    assert sorted(len(each.revisions) for each in done) == [0] * 7 + [3]
    assert rows(database) == ["gamma"]


def test_a_lock_that_is_held_is_waited_for_and_its_holder_is_named(tree: Migrations, database: Server) -> None:
    events: list[MigrationEvent] = []
    with closing(database.connect()) as other, other.cursor() as cursor:
        cursor.execute("SET application_name = 'the other one'")
        cursor.execute(LOCK)
        with pytest.raises(LockedError) as caught:
            trees.run(replace(tree, timeout=0.5), database.endpoint, events=events)
        assert "the other one" in told(caught.value)
        assert f"pid {other.info.backend_pid}" in told(caught.value)
        assert caught.value.exit_code == 75
        assert [each.what for each in events] == ["waiting"]
        threading.Timer(0.3, other.close).start()
        assert trees.run(tree, database.endpoint).after == ("gamma",)


# --- Failures ----------------------------------------------------------------------------------------------------


def test_a_revision_that_fails_is_named_with_its_line_and_what_is_applied(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": 'op.execute("SELECT 1 / 0")', "gamma": "pass"})
    error = failure(tree, database)
    assert error.sentence == "revision beta  make beta failed"
    assert error.evidence == (
        "division by zero",
        "statement: SELECT 1 / 0",
        f"at {tmp_path}/migrations/versions/beta.py:7",
        "applied now: alpha  make alpha",
    )
    assert "Traceback" in error.__notes__[0]
    assert rows(database) == ["alpha"]


def test_a_revision_that_cannot_be_imported(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    path = tmp_path / "migrations/versions/alpha.py"
    path.write_text("import nowhere_at_all\n" + path.read_text())
    error = failure(tree, database)
    assert error.sentence.startswith("a revision file cannot be loaded: ModuleNotFoundError")
    assert f"at {path}:1" in error.evidence


def test_an_env_py_that_fails(tree: Migrations, tmp_path: Path, database: Server) -> None:
    (tmp_path / "migrations/env.py").write_text("import os\nos.environ['SURELY_NOT_SET']\n")
    error = failure(tree, database)
    assert error.sentence == "env.py failed: KeyError: 'SURELY_NOT_SET'"
    assert f"at {tmp_path}/migrations/env.py:2" in error.evidence
    assert "applied now: nothing" in error.evidence


def test_an_env_py_that_migrates_a_file_of_its_own(tree: Migrations, tmp_path: Path, database: Server) -> None:
    file = tmp_path / "own.db"
    own = trees.ENV.replace('context.config.get_main_option("sqlalchemy.url")', f'"sqlite:///{file}"')
    (tmp_path / "migrations/env.py").write_text(own)
    error = failure(tree, database)
    assert error.sentence == f"the migrations would go to another database: env.py connected to sqlite ({file})"
    assert "get_main_option" in str(error.next_step)
    assert not file.exists() or file.stat().st_size == 0


def test_an_env_py_that_goes_to_another_database_of_the_server(
    tree: Migrations, tmp_path: Path, database: Server
) -> None:
    other = 'create_engine(__import__("sqlalchemy").make_url(context.config.get_main_option("sqlalchemy.url"))'
    env = trees.ENV.replace(
        'create_engine(context.config.get_main_option("sqlalchemy.url")', f'{other}.set(database="postgres")'
    )
    (tmp_path / "migrations/env.py").write_text(env)
    assert "database postgres" in failure(tree, database).sentence
    postgres = replace(database.endpoint, database="postgres").database
    assert database.execute("SELECT to_regclass('alembic_version')", database=postgres) == [(None,)]


def test_an_env_py_that_does_nothing(tree: Migrations, tmp_path: Path, database: Server) -> None:
    (tmp_path / "migrations/env.py").write_text("print('nothing to see')\n")
    error = failure(tree, database)
    assert "does not hold what it should" in error.sentence
    assert "found: no such table" in error.evidence


def test_an_env_py_with_a_version_table_of_its_own(tree: Migrations, tmp_path: Path, database: Server) -> None:
    env = trees.ENV.replace("connection=connection", "connection=connection, version_table='mine'")
    (tmp_path / "migrations/env.py").write_text(env)
    error = failure(tree, database)
    assert error.sentence == "env.py keeps its revisions in the table mine, and the spec says alembic_version"
    assert error.next_step == "write under `migrations`: version_table: mine"
    assert database.execute("SELECT to_regclass('alpha'), to_regclass('mine')") == [(None, None)]
    assert trees.run(replace(tree, version_table="mine"), database.endpoint).after == ("gamma",)


def test_an_env_py_with_a_schema_for_its_version_table(tree: Migrations, tmp_path: Path, database: Server) -> None:
    database.execute("CREATE SCHEMA shop")
    env = trees.ENV.replace("connection=connection", "connection=connection, version_table_schema='shop'")
    (tmp_path / "migrations/env.py").write_text(env)
    error = failure(tree, database)
    way = "version_table: alembic_version, version_table_schema: shop"
    assert error.next_step == f"write under `migrations`: {way}"
    assert trees.run(replace(tree, version_table_schema="shop"), database.endpoint).after == ("gamma",)


def test_the_password_is_in_no_error(tree: Migrations, tmp_path: Path, database: Server) -> None:
    url = 'context.config.get_main_option("sqlalchemy.url")'
    (tmp_path / "migrations/env.py").write_text(f"from alembic import context\nraise RuntimeError({url})\n")
    error = failure(tree, database)
    everything = told(error) + "".join(error.__notes__)
    assert "********" in everything
    assert database.endpoint.password.reveal() not in everything
    assert "ss%25" not in everything


def test_an_interpreter_that_is_not_there(tree: Migrations, database: Server) -> None:
    error = failure(replace(tree, python=Path("/nowhere/python")), database)
    assert "/nowhere/python" in error.sentence
    assert "migrations.python" in str(error.next_step)


def test_an_interpreter_without_alembic(tree: Migrations, tmp_path: Path, database: Server) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {Path(sys.executable).resolve()} -I -S "$@"\n')
    bare.chmod(0o755)
    error = failure(replace(tree, python=bare), database)
    assert "cannot load Alembic: No module named 'alembic'" in error.sentence


SLEEP = 'op.execute("SELECT pg_sleep(60)")'
ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


def test_time_is_bounded_and_the_statement_is_cancelled(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": SLEEP})
    error = failure(replace(tree, timeout=5), database)
    assert "cancelled in revision beta" in error.sentence
    assert "applied now: alpha  make alpha" in error.evidence
    assert database.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(60)%'") == [(1,)]


def test_an_interrupt_cancels_the_statement(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": SLEEP})
    with trees.interrupted_asleep(database):
        trees.run(tree, database.endpoint)


def test_a_child_that_is_killed(tmp_path: Path, database: Server) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": kill})
    error = failure(tree, database)
    assert error.sentence == "the migration process was ended by signal 9"
    assert "applied now: alpha  make alpha" in error.evidence


def test_a_run_that_was_killed_leaves_nothing_in_the_way(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "op.execute('CREATE TABLE alpha ()'); " + SLEEP})
    with trees.running(tree, database.endpoint) as other:
        while database.execute(ASLEEP) == [(0,)]:
            assert other.poll() is None
            time.sleep(0.05)
        other.kill()
    trees.write(tmp_path, {"alpha": trees.table("alpha")})
    assert trees.run(tree, database.endpoint).after == ("alpha",)
    assert database.execute(ASLEEP) == [(0,)]


# --- What is observed --------------------------------------------------------------------------------------------


def observed(tree: Migrations, database: Server) -> object:
    query = ReadOnlyQuery(database.endpoint)
    with closing(query):
        return tree_state.observed(tree, load(tree)[0], query)


def test_what_is_observed_at_every_stage(tree: Migrations, database: Server) -> None:
    assert observed(tree, database) == tree_state.Revisions(())
    trees.run(tree, database.endpoint, "beta")
    assert observed(tree, database) == tree_state.Revisions(("beta",))
    database.execute("DROP TABLE alembic_version")
    assert observed(tree, database) == tree_state.Revisions((), ('"alpha"', '"beta"'))


class Interleaved(ReadOnlyQuery):
    """Lets another run migrate just before the question that would find its tables."""

    def __init__(self, tree: Migrations, database: Server) -> None:
        super().__init__(database.endpoint)
        self._other = (tree, database.endpoint)

    def rows(self, sql: str, *args: Any, **more: Any) -> list[tuple[Any, ...]]:
        if "unnest" in sql:
            trees.run(*self._other, "beta")
        return super().rows(sql, *args, **more)


@pytest.mark.parametrize("has_ledger", [True, False])
def test_tables_of_a_run_that_has_just_begun_are_not_stranded(
    tree: Migrations, database: Server, *, has_ledger: bool
) -> None:
    tree = replace(tree, ledger=has_ledger)
    with closing(Interleaved(tree, database)) as query:
        assert tree_state.observed(tree, load(tree)[0], query) == tree_state.Revisions(("beta",))
