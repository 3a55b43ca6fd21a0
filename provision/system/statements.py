"""Statements that change something, each in a transaction of its own."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from provision.errors import StepFailedError, command, translated
from provision.system.driver_errors import failed_statement
from provision.system.postgres import NAME, UNLOGGED, LoginError, connect, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg2.extensions

    from provision.model import Endpoint, Secret

_IN_USE, _TEMPLATE_TIMEOUT = "55006", 60.0
"""SQLSTATE object_in_use, after the server itself waited 5 s; and how long a template in use is waited for."""
_CREATED_MEANWHILE = ("42P04", "23505")
"""SQLSTATE of duplicate_database, and of the unique index on names, where two sessions create one database at once."""


def execute(endpoint: Endpoint, database: str, statements: Sequence[str]) -> None:
    """Run statements, each in a transaction of its own.

    Raises:
        StepFailedError: the server refused one, with its words.
    """
    import psycopg2
    from psycopg2.errors import ReadOnlySqlTransaction

    with closing(connect(endpoint, database, read_only=False)) as connection, connection.cursor() as cursor:
        for statement in statements:
            reading = StepFailedError(
                f"the server lets {endpoint.user!r} only read, so nothing was changed",
                evidence=[statement],
                next_step=command("psql", "-- -c 'SHOW default_transaction_read_only'") + "   (who has set that?)",
            )
            try:
                with translated(ReadOnlySqlTransaction, into=reading):
                    _run(cursor, statement)
            except psycopg2.Error as error:
                raise failed_statement(error, statement) from error


def run_unlogged(endpoint: Endpoint, database: str, script: Secret, *more: str) -> bool:
    """Run statements that no log may show, and tell whether the server did; it is not said why it did not."""
    import psycopg2

    try:
        with closing(open_session(endpoint, database, options=UNLOGGED, application_name=NAME)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for each in (script.reveal(), *more):
                    cursor.execute(each)
    except (LoginError, psycopg2.Error):
        return False
    return True


def _run(cursor: psycopg2.extensions.cursor, statement: str) -> None:
    """Run a statement; a database that another run creates meanwhile is there, and a template in use is waited for."""
    import psycopg2

    creates, deadline = statement.startswith("CREATE DATABASE "), time.monotonic() + _TEMPLATE_TIMEOUT
    while True:
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            if creates and error.pgcode in _CREATED_MEANWHILE:
                return  # the server answers once the other run's database is there
            if not creates or error.pgcode != _IN_USE or time.monotonic() > deadline:
                raise
        else:
            return
