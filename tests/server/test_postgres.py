"""Questions to a real server: each is one message, can only read, and leaves the session as it was."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from provision.errors import UnavailableError
from provision.system.postgres import connect
from provision.system.read_only import ReadOnlyQuery
from provision.system.statements import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server


@pytest.fixture
def query(database: Server) -> Iterator[ReadOnlyQuery]:
    with closing(ReadOnlyQuery(database.endpoint)) as made:
        yield made


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id int)",
        "SELECT set_config('default_transaction_read_only', 'off', false), nextval('s')",
        "SELECT pg_notify('pg_settings', lo_create(0)::text)",
    ],
)
def test_a_question_cannot_write(database: Server, query: ReadOnlyQuery, statement: str) -> None:
    database.execute("CREATE SEQUENCE s")
    with pytest.raises(UnavailableError) as refused:
        query.rows(statement)
    assert "read-only transaction" in refused.value.evidence[0]
    assert query.rows("SELECT 1") == [(1,)]


def test_a_question_has_its_limits_and_the_session_keeps_none(query: ReadOnlyQuery) -> None:
    asked = "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
    assert query.rows(asked) == [("30s", "5s")]
    assert query.rows(f"{asked} FROM pg_settings LIMIT 1") == [("0", "0")]


def test_what_the_server_reports_is_what_it_would_answer(query: ReadOnlyQuery) -> None:
    for name in ("server_version", "is_superuser"):
        assert [(query.reported(name),)] == query.rows(f"SHOW {name}")


def test_runs_that_create_one_database_wait_for_each_other(database: Server) -> None:
    name, at = f"{database.endpoint.database}_twice", database.endpoint
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: execute(at, "postgres", (f'CREATE DATABASE "{name}"',)), range(8)))
    execute(at, "postgres", (f'DROP DATABASE "{name}"',))


def test_a_template_in_use_is_waited_for(database: Server) -> None:
    name, at = f"{database.endpoint.database}_later", database.endpoint
    client = connect(at, "template1", read_only=True)
    threading.Timer(6, client.close).start()  # the server itself waits for 5 s
    execute(at, "postgres", (f'CREATE DATABASE "{name}"', f'DROP DATABASE "{name}"'))
    assert client.closed
