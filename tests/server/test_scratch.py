"""Scratch databases: made beside the declared one, known as ours, and gone when their run is over, however it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trees
from rehearsals import scratch_databases, tried

from provision.errors import ProvisionError, RefusedError, UnavailableError
from provision.model import Secret
from provision.system import scratch

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def test_a_leftover_is_dropped_and_what_lives_or_is_not_ours_stays(database: Server) -> None:
    left, other = "provision_scratch_shop_0a1b2c3d", "provision_scratch_of_somebody"
    with scratch.database(database.endpoint, "Shop-Dev!") as living:
        assert living.database.startswith("provision_scratch_shop_dev_")
        database.execute(f"CREATE DATABASE {left}", f"CREATE DATABASE {other}")
        try:
            with scratch.database(database.endpoint, "x" * 80) as second:
                assert set(scratch_databases(database)) == {living.database, second.database, other}
        finally:
            database.execute(f"DROP DATABASE {other}", f"DROP DATABASE IF EXISTS {left}")
    assert scratch_databases(database) == []


def test_what_is_set_for_the_database_holds_in_the_copy_too(database: Server) -> None:
    name = database.endpoint.database
    database.execute(f'ALTER DATABASE "{name}" SET search_path = \'a b\', "$user", public', "CREATE TABLE kept (n int)")
    for copied in (False, True):
        with scratch.database(database.endpoint, "shop", copied=copied) as copy:
            assert database.execute("SHOW search_path", database=copy.database) == [('"a b", "$user", public',)]
            there = database.execute("SELECT to_regclass('public.kept') IS NOT NULL", database=copy.database)
            assert there == [(copied,)]


def test_a_database_in_use_is_not_cloned(database: Server) -> None:
    assert scratch.source(database.endpoint).obstacle is None
    with closing(database.connect()):
        assert "a client is connected" in (scratch.source(database.endpoint).obstacle or "")
        with (
            pytest.raises(RefusedError, match="cannot be copied while a client is connected"),
            scratch.database(database.endpoint, "shop", copied=True),
        ):
            pass
        assert database.execute("SELECT 1") == [(1,)]
    assert scratch_databases(database) == []


def test_a_login_that_may_make_no_database_is_told_so(database: Server) -> None:
    database.execute("CREATE ROLE scratch_reader LOGIN PASSWORD 'x'")
    try:
        weak = replace(database.endpoint, user="scratch_reader", password=Secret("x"))
        with pytest.raises(RefusedError, match="may not create") as caught, scratch.database(weak, "shop"):
            pass
        assert "CREATEDB" in (caught.value.next_step or "")
        database.execute("ALTER ROLE scratch_reader CREATEDB")
        assert "another role owns it" in (scratch.source(weak).obstacle or "")
        with scratch.database(weak, "shop") as made:
            assert scratch_databases(database) == [made.database]
    finally:
        database.execute("DROP ROLE scratch_reader")


END_OURS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'provision'"


def test_a_server_that_goes_away_is_an_error_and_hides_no_other(database: Server) -> None:
    def lose(error: ProvisionError | None = None) -> None:
        with scratch.database(database.endpoint, "shop"):
            database.execute(END_OURS)
            if error is not None:
                raise error

    with pytest.raises(UnavailableError, match="could not be dropped"):
        lose()
    with pytest.raises(ProvisionError, match="the first"):
        lose(ProvisionError("the first"))
    with scratch.database(database.endpoint, "shop") as made:
        assert scratch_databases(database) == [made.database]


PROGRAM = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import trees
from provision.alembic.verbs.laws import try_laws
from provision.model import Endpoint, Secret
from rehearsals import tree_of
home = Path({home!r})
declared = trees.write(home, {{"alpha": "op.execute('SELECT pg_sleep(100)')"}})
endpoint = Endpoint({host!r}, {port!r}, {user!r}, Secret({password!r}), {database!r})
try_laws(tree_of(home, declared), endpoint, print)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_was_ended(number: signal.Signals, tmp_path: Path, database: Server) -> None:
    here = database.endpoint
    values = {"host": here.host, "port": here.port, "user": here.user, "password": here.password.reveal()}
    tests = str(ROOT / "tests" / "server")
    script = tmp_path / "run.py"
    script.write_text(PROGRAM.format(tests=tests, home=str(tmp_path), database=here.database, **values))
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(100)%' AND state = 'active'"
    with subprocess.Popen((sys.executable, str(script)), cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + PATIENCE
        while database.execute(sleeping) != [(2,)]:
            assert time.monotonic() < deadline, "the revisions do not run"
            assert run.poll() is None, run.stderr
            time.sleep(0.05)
        assert len(scratch_databases(database)) == 2
        run.send_signal(number)
        _, said = run.communicate(timeout=PATIENCE)
    if number is signal.SIGINT:
        assert said.strip().endswith("KeyboardInterrupt")
    else:
        assert len(scratch_databases(database)) == 2
        empty = trees.write(tmp_path / "other", {"beta": "pass"})
        tried(tmp_path / "other", database, empty)
    assert scratch_databases(database) == []
    assert database.execute(sleeping) == [(0,)]
