"""What needs SQLAlchemy: engines, and connections whose changes are rolled back."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy
    from sqlalchemy.ext.asyncio import AsyncEngine

    from provision.testing.database import Database

_SYNC = ("psycopg", "psycopg2", "pg8000")
_ASYNC = ("asyncpg", "psycopg")


def drivers(declared: Sequence[str]) -> tuple[str, str]:
    """Return the drivers of a sync and an async engine: those of ``url_driver`` in the spec, else what is installed.

    >>> drivers(["postgresql+psycopg2"])[0]
    'psycopg2'
    """
    named = [each.rpartition("+")[2] for each in declared]
    return _chosen(_SYNC, named), _chosen(_ASYNC, named)


def _chosen(known: Sequence[str], named: Sequence[str]) -> str:
    wanted = [each for each in named if each in known]
    there = [each for each in known if find_spec(each) is not None]
    return next(iter([*wanted, *there]), known[0])


def create(database: Database) -> sqlalchemy.Engine:
    """Return an engine on a database; the caller disposes of it."""
    _insist("sqlalchemy")
    from sqlalchemy import create_engine

    return create_engine(database.sync_url())


@contextmanager
def engine(database: Database) -> Iterator[sqlalchemy.Engine]:
    """Have an engine on a database."""
    made = create(database)
    try:
        yield made
    finally:
        made.dispose()


def async_engine(database: Database) -> AsyncEngine:
    """Return an async engine that closes each connection when it is given back, so that no event loop has to end it."""
    _insist("sqlalchemy")
    _insist("greenlet")  # SQLAlchemy 2.1 no longer brings it
    _insist(database.drivers[1])
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    return create_async_engine(database.async_url(), poolclass=NullPool)


@contextmanager
def rolled_back(
    engine: sqlalchemy.Engine, committed: Callable[[], None] | None = None
) -> Iterator[sqlalchemy.Connection]:
    """Have a connection within a transaction and a savepoint, so that a Session on it commits only its own savepoint.

    ``committed`` is called when the transaction itself is committed.
    https://docs.sqlalchemy.org/en/20/orm/session_transaction.html#joining-a-session-into-an-external-transaction-such-as-for-test-suites
    """
    from sqlalchemy import event

    with engine.connect() as connection:
        if committed is not None:
            event.listen(connection, "commit", lambda _: committed())
        outermost = connection.begin()
        connection.begin_nested()
        yield connection
        if outermost.is_active:
            outermost.rollback()


def _insist(module: str) -> None:
    if find_spec(module) is None:
        pytest.fail(f"this fixture needs {module}, which is not installed: pip install {module}", pytrace=False)
