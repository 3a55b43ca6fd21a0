"""Tenants that are migrated side by side: failures, kills, and what a project keeps in a process."""

from __future__ import annotations

import random
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import env_files

if TYPE_CHECKING:
    from tests.tenants.conftest import Tenants

pytestmark = pytest.mark.server
_PATIENCE = 120
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'provision migration%'"
_KEEPS_THE_FIRST = """
import builtins
import sqlalchemy as sa
from alembic import context

builtins.url = getattr(builtins, "url", None) or context.config.get_main_option("sqlalchemy.url")
with sa.create_engine(builtins.url).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_READS_SETTINGS = """
import sqlalchemy as sa
from alembic import context
from shop_settings import URL

with sa.create_engine(URL).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_FAILS = "op.execute('CREATE TABLE taken (id int)')"


@pytest.mark.parametrize(
    ("count", "kills"), [pytest.param(12, 2, id="12"), pytest.param(200, 10, id="200", marks=pytest.mark.long)]
)
def test_a_run_that_is_killed_is_continued(tenants: Tenants, count: int, kills: int) -> None:
    names, chosen = tenants.databases(count, f"k{count}"), random.Random(count)  # noqa: S311  # to be had again
    made = tenants.tree(8, tenants={"databases": names, "workers": 2})
    for _ in range(kills):
        run = made.begin()
        time.sleep(0.8 + chosen.random() * count / 12)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=_PATIENCE)
    made.apply()
    expected = [f"{number:04}" for number in range(1, 9)]
    assert [name for name in names if tenants.ran(name) != expected] == []
    made.settled()


@pytest.mark.parametrize("how", ["stop", "continue"])
def test_a_tenant_that_fails_keeps_what_it_had(tenants: Tenants, how: str) -> None:
    names = tenants.databases(6, f"f_{how}")
    broken = names[1]
    tenants.execute("CREATE TABLE taken (id int)", database=broken)
    made = tenants.tree(3, more=_FAILS, tenants={"databases": names, "workers": 1, "on_failure": how})
    said = made.run("apply", "--json", code=1).json()
    assert [each["tenant"] for each in said["tenants"]] == [broken]
    assert 'relation "taken" already exists' in " ".join(said["tenants"][0]["evidence"])
    assert tenants.ran(broken) == ["0001", "0002"]
    done = [name for name in names if tenants.execute("SELECT to_regclass('ran')", database=name) != [(None,)]]
    assert done == (names[:2] if how == "stop" else names)
    tenants.execute("DROP TABLE taken", database=broken)
    assert "error" not in made.apply().all
    made.settled()


def test_first_is_done_before_any_other_and_a_failure_is_said_in_text(tenants: Tenants) -> None:
    names = tenants.databases(4, "first")
    tenants.execute("CREATE TABLE taken (id int)", database=names[3])
    made = tenants.tree(2, more=_FAILS, tenants={"databases": names, "workers": 4, "first": [names[3]]})
    said = made.run("apply", code=1).all
    assert f"{names[3]}: revision 0002  step 2 failed" in said
    assert 'relation "taken" already exists' in said
    assert "not begun: 3 tenants (`on_failure: stop`)" in said
    assert tenants.execute("SELECT to_regclass('ran')", database=names[0]) == [(None,)]


def test_databases_of_tenants_are_neither_saved_nor_backed_up_first(tenants: Tenants) -> None:
    names = tenants.databases(2, "unsaved")
    made = tenants.tree(2, more='op.execute("DROP TABLE ran")', tenants={"databases": names})
    assert "`--snapshot` saves no databases of tenants" in made.run("apply", "--snapshot", code=1).err
    made.declare(backup={"before": ["destructive"]})
    refused = made.run("apply", code=1).err
    assert "no backup is made of the databases of tenants, and the spec asks for one" in refused
    assert "provision apply spec.yml --set backup=null" in refused
    assert tenants.execute("SELECT to_regclass('alembic_version')", database=names[0]) == [(None,)]
    made.run("apply", "--set", "backup=null")
    assert tenants.execute("SELECT version_num FROM alembic_version", database=names[0]) == [("0002",)]
    made.declare(backup=None)


def test_schemas_of_one_database_are_migrated_side_by_side(tenants: Tenants) -> None:
    names = [f"s{number}" for number in range(6)]
    tenants.execute(*[f"CREATE SCHEMA {name}" for name in names])
    made = tenants.tree(4, tenants={"schemas": names, "workers": 3})
    made.apply()
    for name in names:
        assert tenants.execute(f"SELECT count(*), max(revision) FROM {name}.ran") == [(4, "0004")]  # noqa: S608
        assert tenants.execute(f"SELECT version_num FROM {name}.alembic_version") == [("0004",)]  # noqa: S608
    assert tenants.execute("SELECT to_regclass('public.alembic_version')") == [(None,)]
    made.settled()


@pytest.mark.parametrize("env", [_KEEPS_THE_FIRST, _READS_SETTINGS], ids=["builtins", "settings"])
def test_what_a_project_keeps_does_not_lead_to_the_tenant_before(tenants: Tenants, env: str) -> None:
    names = tenants.databases(3, "keeps" if env == _KEEPS_THE_FIRST else "reads")
    variables = {"env": {"SHOP_URL": "postgresql://{user}:{password}@{host}:{port}/{database}"}}
    settings = Path(tenants.environment.directory, "shop_settings.py")
    settings.write_text("import os\nURL = os.environ['SHOP_URL']\n")
    made = tenants.tree(2, text=env, tenants={"databases": names, "workers": 1})
    made.declare(migrations=variables if env == _READS_SETTINGS else {}).apply()
    assert [tenants.ran(name) for name in names] == [["0001", "0002"]] * 3


@pytest.mark.parametrize("kind", ["databases", pytest.param("schemas", marks=pytest.mark.long)])
def test_an_asynchronous_env_py(tenants: Tenants, kind: str) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    names = tenants.databases(3, "async") if kind == "databases" else [f"async_{each}" for each in "abc"]
    if kind == "schemas":
        tenants.execute(*[f"CREATE SCHEMA {name}" for name in names])
    text = env_files.asynchronous("transaction_per_migration=True")
    made = tenants.tree(2, text=text, tenants={kind: names, "workers": 1}, url_driver="postgresql+asyncpg")
    made.apply()
    for name in names:
        where = {"database": name} if kind == "databases" else {}
        table = "alembic_version" if where else f"{name}.alembic_version"
        assert tenants.execute(f"SELECT version_num FROM {table}", **where) == [("0002",)]  # noqa: S608
    made.settled()


def test_an_interrupt_ends_what_runs_on_the_server_too(tenants: Tenants) -> None:
    names = tenants.databases(3, "slow")
    made = tenants.tree(1, tenants={"databases": names, "workers": 2})
    slow = Path(made.directory, "migrations", "slow")
    for each in (slow, Path(made.directory, "slow")):  # wherever the revisions run
        each.touch()
    run = made.begin()
    deadline = time.monotonic() + _PATIENCE
    while tenants.execute("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'") != [(2,)]:
        assert time.monotonic() < deadline
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    said, _ = run.communicate(timeout=30)
    assert run.returncode == 130, said
    assert tenants.execute(_SESSIONS) == [(0,)]
    for each in (slow, Path(made.directory, "slow")):
        each.unlink()
    made.apply()
    assert [tenants.ran(name) for name in names] == [["0001"]] * 3


_PLAIN = """
import sqlalchemy as sa
from alembic import context

engine = sa.create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=sa.NullPool)
with engine.connect() as connection:
    connection.execute(sa.text("CREATE TABLE IF NOT EXISTS holders (pid int, own bool)"))
    connection.commit()
    {within}
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_NOTES_HOLDER = '''op.execute("""
    INSERT INTO holders SELECT pid, pid = pg_backend_pid() FROM pg_locks
    WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")'''
_UNLOCKS = 'connection.execute(sa.text("SELECT pg_ad" "visory_unlock_all()"))'


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("within", ["pass", "engine.dispose()", "# DISCARD ALL", _UNLOCKS])
def test_the_lock_is_held_while_revisions_run(tenants: Tenants, driver: str, within: str) -> None:
    names = tenants.databases(2, f"held_{driver}_{len(within)}")
    text = _PLAIN.format(within=within)
    made = tenants.tree(
        1, text=text, more=_NOTES_HOLDER, tenants={"databases": names, "workers": 1}, url_driver=f"postgresql+{driver}"
    )
    made.apply()
    assert [tenants.ran(name) for name in names] == [["0001"]] * 2
    held = [tenants.execute("SELECT count(*), bool_or(own) FROM holders", database=name) for name in names]
    assert held == [[(1, False)]] * 2
    made.settled()


def test_two_runs_at_once_apply_nothing_twice(tenants: Tenants) -> None:
    names = tenants.databases(6, "twice")
    made = tenants.tree(8, tenants={"databases": names, "workers": 2})
    runs = [made.begin() for _ in range(2)]
    for run in runs:
        said, _ = run.communicate(timeout=_PATIENCE)
        assert run.returncode in (0, 75), said
    made.apply()
    assert [tenants.ran(name) for name in names] == [[f"{number:04}" for number in range(1, 9)]] * 6


def test_a_tenant_that_gets_no_lock_is_tried_again(tenants: Tenants) -> None:
    names = tenants.databases(2, "waits")
    tenants.execute("CREATE TABLE busy (id int)", database=names[0])
    tenants.execute("CREATE TABLE busy (id int)", database=names[1])
    made = tenants.tree(
        2,
        more='op.execute("ALTER TABLE busy ADD extra int")',
        tenants={"databases": names, "workers": 1},
        lock_timeout="300ms",
    )
    with closing(tenants.connect(names[0])) as holder:
        holder.cursor().execute("BEGIN; LOCK TABLE busy")
        run = made.begin()
        deadline = time.monotonic() + 30
        while tenants.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == [(0,)]:
            assert time.monotonic() < deadline
        time.sleep(1)
    said, _ = run.communicate(timeout=_PATIENCE)
    assert run.returncode == 0, said
    assert [tenants.ran(name) for name in names] == [["0001", "0002"]] * 2
