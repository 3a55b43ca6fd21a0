"""Forty revisions, and the twentieth is broken off: the next apply continues after the last commit."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
import psycopg2
import pytest
import trees
from support.embedded import is_alive

from provision.alembic.running.lock import LockConnection
from provision.errors import UnavailableError
from provision.model import Secret

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server

ASLEEP = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
_PATIENCE = 60.0


TABLES = "SELECT count(*) FROM pg_tables WHERE tablename ~ '^r[0-9]+$'"


def tool(apply: subprocess.Popen[str], _database: Server) -> int:
    return apply.pid


def child(apply: subprocess.Popen[str], _database: Server) -> int:
    (found,) = psutil.Process(apply.pid).children()
    return found.pid


def server(_apply: subprocess.Popen[str], database: Server) -> int:
    """Return a session of the server: when one is killed, all of them end, and the server recovers from its log."""
    ((pid,),) = database.execute(ASLEEP)
    return int(pid)


def answers(database: Server) -> bool:
    with suppress(psycopg2.OperationalError):
        return database.execute("SELECT 1") == [(1,)]
    return False


def until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("victim", [tool, child], ids=lambda each: each.__name__)
def test_what_was_broken_off_is_gone_on_with(victim: object, tmp_path: Path, database: Server) -> None:
    assert callable(victim)
    names = [f"r{number:02}" for number in range(40)]
    bodies = {name: trees.table(name) for name in names}
    trees.write(tmp_path, {**bodies, "r19": trees.table("r19") + '\nop.execute("SELECT pg_sleep(60)")'})
    spec = tmp_path / "spec.yml"
    first = trees.provision_apply(spec, database, "broken-off", "-m", "provision", "apply")
    until(lambda: database.execute(ASLEEP))
    os.kill(victim(first, database), signal.SIGKILL)
    said, _ = first.communicate(timeout=_PATIENCE)
    assert first.returncode != 0
    if victim is not tool:
        assert "applied now: r18" in said
        assert "Traceback" not in said
    until(lambda: answers(database))
    assert database.execute("SELECT version_num FROM alembic_version") == [("r18",)]
    trees.write(tmp_path, bodies)
    second = trees.provision_apply(spec, database, "broken-off")
    said, _ = second.communicate(timeout=_PATIENCE)
    assert second.returncode == 0, said
    assert [name for name in names if f"{name}  make {name}" in said] == names[19:]
    assert database.execute("SELECT version_num FROM alembic_version") == [("r39",)]
    assert database.execute(TABLES) == [(40,)]


def test_a_server_that_crashes_and_recovers_is_waited_for(tmp_path: Path, database: Server) -> None:
    once = tmp_path / "once"
    sleeps = f"""
    import pathlib
    if not pathlib.Path({str(once)!r}).exists():
        pathlib.Path({str(once)!r}).touch()
        op.execute("SELECT pg_sleep(60)")
    """
    names = [f"r{number:02}" for number in range(40)]
    bodies = {name: trees.table(name) for name in names}
    trees.write(tmp_path, {**bodies, "r19": trees.table("r19") + textwrap.dedent(sleeps)})
    apply = trees.provision_apply(tmp_path / "spec.yml", database, "recovered", "-m", "provision", "apply")
    until(lambda: database.execute(ASLEEP))
    os.kill(server(apply, database), signal.SIGKILL)
    said, _ = apply.communicate(timeout=_PATIENCE)
    assert apply.returncode == 0, said
    assert "the server went away in revision r19  make r19; " in said
    assert "r19 runs again" in said
    assert database.execute("SELECT version_num FROM alembic_version") == [("r39",)]
    assert database.execute(TABLES) == [(40,)]


def test_what_a_revision_has_started_ends_with_it(tmp_path: Path, database: Server) -> None:
    left = tmp_path / "left"
    starts = f"""
    import pathlib, subprocess
    pathlib.Path({str(left)!r}).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    """
    tree = trees.write(tmp_path, {"alpha": textwrap.dedent(starts)})
    assert trees.run(tree, database.endpoint).after == ("alpha",)
    until(lambda: not is_alive(int(left.read_text())))


def test_a_connection_whose_first_question_fails_is_closed(database: Server) -> None:
    role = f"lock_{uuid4().hex[:8]}"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'", "REVOKE EXECUTE ON FUNCTION pg_backend_pid() FROM public"
    )
    try:
        with pytest.raises(UnavailableError, match="was lost") as caught:
            LockConnection(replace(database.endpoint, user=role, password=Secret("x")))
        assert "permission denied for function pg_backend_pid" in caught.value.evidence
        until(lambda: (role,) not in database.execute("SELECT usename::text FROM pg_stat_activity"))
    finally:
        database.execute(f"DROP ROLE {role}")
