"""Databases that are there for one run: made beside the declared one, on the same server, and dropped at its end.

A run that is killed leaves its database behind. The next one tells it from that of a run that is under way by an
advisory lock, which dies with its holder, and drops it. The name says whose it is.
https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

import re
import secrets
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, StepFailedError, UnavailableError, command, translated
from provision.model import MAINTENANCE
from provision.model.sql import identifier
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg2.extensions

    from provision.model import Endpoint

PREFIX = "provision_scratch_"
_NAME = re.compile(rf"{PREFIX}.*_([0-9a-f]{{8}})")
_CLASS_ID = 0x73637261  # "scra"; the other half of the key is the random end of the name
_LONGEST = 63
_LARGEST_CLONE = 256 << 20

_OURS = """
SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND pg_has_role(datdba, 'MEMBER') ORDER BY 1
"""
_SOURCE = """
SELECT pg_database_size(datname), (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datname = d.datname
                                   AND pid <> pg_backend_pid()
                                   AND coalesce(backend_type, 'client backend') = 'client backend'),
       pg_has_role(datdba, 'USAGE') OR datistemplate
FROM pg_database AS d WHERE datname = %s
"""
_SETTINGS = """
SELECT split_part(setting, '=', 1) FROM pg_db_role_setting, unnest(setconfig) AS setting
WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A database that could be copied: its size in bytes, and how many clients are connected to it.

    ``is_ours`` says whether our role may copy it.
    """

    size: int
    clients: int
    is_ours: bool = True

    @property
    def obstacle(self) -> str | None:
        """Why it is not copied as a whole; None where it can be.

        A copy keeps others from logging in while it is made, so it has to be short.
        """
        if not self.is_ours:
            return "another role owns it, and PostgreSQL lets only its owner copy a database"
        if self.clients:
            who = "a client is" if self.clients == 1 else f"{self.clients} clients are"
            return f"{who} connected to it, and PostgreSQL copies a database only when no client is"
        if self.size > _LARGEST_CLONE:
            return f"it holds {self.size >> 20} MB, and no client could log in while more than 256 MB are copied"
        return None


def source(endpoint: Endpoint) -> Source:
    """Look whether the database of an endpoint could be copied.

    Raises:
        UnavailableError: the server cannot be reached, or its database `postgres` not entered.
    """
    with closing(connect(endpoint, MAINTENANCE, read_only=True)) as connection:
        ((size, clients, is_ours),) = _rows(connection, _SOURCE, (endpoint.database,))
    return Source(size, clients, is_ours)


@contextmanager
def database(endpoint: Endpoint, whose: str, *, copied: bool = False) -> Iterator[Endpoint]:
    """Have a scratch database for the environment ``whose``: empty, or a copy of the one of the endpoint.

    Raises:
        RefusedError: the role may not create databases, or a client is connected to the one to be copied.
        UnavailableError: the server cannot be reached, or its database `postgres` not entered.
    """
    with closing(connect(endpoint, MAINTENANCE, read_only=False)) as connection:
        _rows(connection, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        drop_leftovers(connection)
        name = _new_name(whose)
        _take(connection, name)
        try:
            _create(connection, name, endpoint.database if copied else None)
            with suppress(_errors()):  # what cannot be set for it is not in force for our role either
                _copy_settings(endpoint, name)
            yield replace(endpoint, database=name)
        except BaseException:
            with suppress(UnavailableError):  # what failed first is reported; the next run drops what is left
                _drop(connection, name)
            raise
        _drop(connection, name)


def renew(server: Endpoint, endpoint: Endpoint) -> None:
    """Make a scratch database empty again; ``server`` leads to the declared one.

    Raises:
        StepFailedError: it cannot be made.
        UnavailableError: the server cannot be reached.
    """
    with closing(connect(server, MAINTENANCE, read_only=False)) as connection:
        _drop(connection, endpoint.database)
        _create(connection, endpoint.database, None)
        with suppress(_errors()):
            _copy_settings(server, endpoint.database)


def drop_leftovers(connection: psycopg2.extensions.connection) -> tuple[str, ...]:
    """Drop the scratch databases of runs that are over, and return their names."""
    dropped = []
    for (name,) in _rows(connection, _OURS, (PREFIX,)):
        if _NAME.fullmatch(name) and _take(connection, name):
            _drop(connection, name)
            _rows(connection, "SELECT pg_advisory_unlock(%s, %s)", _key(name))
            dropped.append(name)
    return tuple(dropped)


def _new_name(whose: str) -> str:
    end = secrets.token_hex(4)
    room = _LONGEST - len(PREFIX) - len(end) - 1
    plain = re.sub(r"[^a-z0-9]+", "_", whose.lower()).strip("_")
    return f"{PREFIX}{plain[:room]}_{end}"


def _key(name: str) -> tuple[int, int]:
    end = int(name[-8:], 16)
    return _CLASS_ID, end - (1 << 32) if end >> 31 else end  # PostgreSQL's integers have a sign


def _take(connection: psycopg2.extensions.connection, name: str) -> bool:
    return _rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", _key(name)) == [(True,)]


def _create(connection: psycopg2.extensions.connection, name: str, template: str | None) -> None:
    from psycopg2 import errors

    statement = f"CREATE DATABASE {identifier(name)}"
    if template is not None:
        statement += f" TEMPLATE {identifier(template)}"
    refused = RefusedError(
        "the role may not create the scratch database that this needs",
        next_step=f'as an administrator: ALTER ROLE "{connection.info.user}" CREATEDB; '
        "or use a server that is there for tests",
    )
    in_use = RefusedError(
        f"{template or 'template1'} cannot be copied while a client is connected to it",
        next_step="run the same command again",
    )
    failed = StepFailedError(
        "the scratch database cannot be made", next_step="correct what it says, and run the same command again"
    )
    with (
        translated(_errors(), into=failed),
        translated(errors.ObjectInUse, into=in_use),
        translated(errors.InsufficientPrivilege, into=refused),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def _copy_settings(endpoint: Endpoint, name: str) -> None:
    """Have in force what ``ALTER DATABASE`` has set for the declared database: it is no part of a copy."""
    with closing(connect(endpoint, read_only=False)) as connection, connection.cursor() as cursor:
        cursor.execute(_SETTINGS)
        for (setting,) in cursor.fetchall():
            cursor.execute(f"ALTER DATABASE {identifier(name)} SET {identifier(setting)} FROM CURRENT")


def _drop(connection: psycopg2.extensions.connection, name: str) -> None:
    failed = UnavailableError(
        f"the scratch database {name} could not be dropped",
        next_step="run the same command again: it drops what earlier runs have left",
    )
    with translated(_errors(), into=failed), connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {identifier(name)} WITH (FORCE)")


def _rows(connection: psycopg2.extensions.connection, question: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    silent = UnavailableError(
        "the server did not answer a question about scratch databases", next_step=command("status")
    )
    with translated(_errors(), into=silent), connection.cursor() as cursor:
        cursor.execute(question, parameters)
        return cursor.fetchall()


def _errors() -> type[Exception]:
    import psycopg2

    return psycopg2.Error
