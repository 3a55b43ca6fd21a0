"""A server that answers and takes no login, or only lets us read: each case has a sentence of its own."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

FEW = 4


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        settings = {"superuser_reserved_connections": 1, "max_wal_senders": 0}
        made.server(max_connections=FEW, settings=settings).apply()
        yield made


def session(environment: Embedded, database: str = "shop") -> Any:
    password = environment.environ["PW"]
    at = {"host": "127.0.0.1", "port": port_of(environment)}
    return psycopg2.connect(**at, user="postgres", password=password, dbname=database)


def port_of(environment: Embedded) -> int:
    return int((environment.data / "postmaster.pid").read_text().splitlines()[3])


def execute(environment: Embedded, statement: str, database: str = "postgres") -> None:
    connection = session(environment, database)
    connection.autocommit = True
    with closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_slots_that_are_kept_for_superusers_are_used(running: Embedded) -> None:
    execute(running, "CREATE ROLE app LOGIN PASSWORD 'x'")
    port = port_of(running)
    with ExitStack() as held:
        for _ in range(FEW - 1):
            app = psycopg2.connect(host="127.0.0.1", port=port, user="app", password="x", dbname="shop")
            held.enter_context(closing(app))
        running.settled()


def test_a_server_without_a_connection_left(running: Embedded) -> None:
    before = running.pid
    with ExitStack() as held:
        for _ in range(FEW):
            held.enter_context(closing(session(running)))
        for words in ("plan", "apply", "status", "verify"):
            told = running.run(words, code=69).err
            assert f"has no connection left: all {FEW} are taken" in told
            assert "sorry, too many clients already" in told
            assert "provision restart spec.yml" in told
        assert running.pid == before
        running.run("restart")
        running.settled()


def test_a_database_that_does_not_accept_connections(running: Embedded) -> None:
    execute(running, "ALTER DATABASE shop ALLOW_CONNECTIONS false")
    try:
        for words in ("plan", "apply"):
            told = running.run(words, code=69).err
            assert "the database 'shop' does not accept connections" in told
            assert 'ALTER DATABASE "shop" ALLOW_CONNECTIONS true' in told
    finally:
        execute(running, "ALTER DATABASE shop ALLOW_CONNECTIONS true")
    running.settled()


def test_a_login_that_may_only_read(running: Embedded) -> None:
    execute(running, "ALTER ROLE postgres SET default_transaction_read_only = on")
    try:
        running.server(database="second")
        told = running.run("apply", code=1).err
        assert "the server lets 'postgres' only read" in told
        assert "cannot execute CREATE DATABASE in a read-only transaction" in told
        assert "SHOW default_transaction_read_only" in told
    finally:
        running.server(database="shop")
        execute(running, "BEGIN READ WRITE; ALTER ROLE postgres RESET ALL; COMMIT")
    running.settled()


def test_what_is_said_of_a_login_that_is_refused(running: Embedded) -> None:
    told = running.run("plan", PW="another").out
    assert 'password authentication failed for user "postgres"' in told
    assert "connection to server" not in told


def test_a_server_that_was_stopped_is_not_missing(running: Embedded) -> None:
    running.run("stop")
    told = running.run("verify").out
    running.run("start")
    assert "does not run" in told
    assert "missing" not in told


def test_a_standby(running: Embedded) -> None:
    data = running.data
    running.run("stop")
    (data / "standby.signal").touch()
    running.run("start")
    for words in ("plan", "apply"):
        told = running.run(words, code=1).err
        assert "is a standby, which can only be read" in told
        assert "pg_promote" in told
    execute(running, "SELECT pg_promote()")
    running.settled()
