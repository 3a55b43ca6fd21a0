"""A server that is killed while it migrates or starts: the error says that, and blames nothing else."""

from __future__ import annotations

import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.env_files import asynchronous
from support.environment import PASSWORD

from provision.errors import StepFailedError
from provision.model import Endpoint, Secret
from provision.system import statements

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment

LOSE = textwrap.dedent(
    '''
    """lose the server"""
    from alembic import op
    revision = "r2"
    down_revision = "r1"

    def upgrade():
        op.execute({statement!r})

    def downgrade():
        pass
    '''
)
ASYNC = asynchronous("transaction_per_migration=True")


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    made = shared().migrations("one")
    made.apply()
    return made


def lost(environment: Environment, statement: str, driver: str = "psycopg2") -> str:
    """Apply a revision that loses its server, and return the error."""
    versions = environment.directory / "migrations" / "versions"
    usual = (versions.parent / "env.py").read_text()
    (versions / "r2.py").write_text(LOSE.format(statement=statement))
    if driver == "asyncpg":
        (versions.parent / "env.py").write_text(ASYNC)
        environment.declare(migrations={"url_driver": "postgresql+asyncpg"})
    try:
        ran = environment.run("apply", code=None)
    finally:
        (versions / "r2.py").unlink()
        (versions.parent / "env.py").write_text(usual)
        environment.declare(migrations={"url_driver": None})
    assert ran.code == 1, ran.all
    assert "was lost" in ran.err
    assert "correct" not in ran.err
    return ran.err


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_a_revision_is_not_blamed_for_a_process_that_was_killed(running: Environment, driver: str) -> None:
    if driver == "asyncpg":
        pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    told = lost(running, "COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'", driver)
    assert "the connection to the server was lost while revision r2  lose the server ran" in told
    assert "a process of the server was killed (signal 9)" in told
    assert "give the server more memory" in told
    running.apply()


def test_a_revision_is_not_blamed_for_a_container_that_was_killed(running: Environment) -> None:
    def kill() -> None:
        while not running.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%' AND state = 'active'"
                                " AND pid <> pg_backend_pid()"):  # fmt: skip
            time.sleep(0.1)
        running.engine.client.kill(running.name)

    killer = threading.Thread(target=kill)
    killer.start()
    told = lost(running, "SELECT pg_sleep(60)")
    killer.join()
    assert f"the container '{running.name}' was killed (exit code 137)" in told
    running.apply()


def test_settings_are_not_blamed_for_a_server_without_memory(environment: Environment) -> None:
    environment.server(resources={"memory": "20m"}, settings={"shared_buffers": "1GB"})
    told = environment.run("apply", code=1).err
    assert "was killed" in told
    assert "give the server more memory" in told
    assert "correct" not in told


def test_a_statement_is_not_blamed_for_a_process_that_was_killed(running: Environment) -> None:
    at = Endpoint("127.0.0.1", running.port, "postgres", Secret(PASSWORD), "postgres")
    with pytest.raises(StepFailedError, match="was lost while the server ran: COPY") as caught:
        statements.execute(at, "postgres", ["COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'"])
    assert caught.value.server_is_gone
