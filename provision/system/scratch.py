"""Databases that are there for one run: made beside the declared one, on the same server, and dropped at its end.

A run that is killed leaves its database behind. The next one tells it from that of a run that is under way by an
advisory lock, which dies with its holder, and drops it. The name says whose it is.
https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

import re
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, StepFailedError, UnavailableError, command, translated
from provision.model import MAINTENANCE, SCRATCH as PREFIX, Endpoint
from provision.model.sql import identifier
from provision.model.value import dataclass, replace
from provision.system.database_copy import new_name
from provision.system.database_properties import set_value
from provision.system.postgres import connect, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg2.extensions


_NAME = rf"{PREFIX}.*_([0-9a-f]{{8}})"
_CLASS_ID = 0x73637261  # "scra"; the other half of the key is the random end of the name
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


_GRANTS = """
SELECT format('REVOKE ALL ON {kind} %%I FROM PUBLIC, %%I', name, owner), 3 FROM s WHERE acl IS NOT NULL
UNION ALL
SELECT format('GRANT %%s ON {kind} %%I TO %%s%%s', privilege_type, name,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END), 4
FROM s, aclexplode(acl)
"""
_LIKE_DATABASE = f"""
WITH s AS (SELECT %(name)s AS name, pg_get_userbyid(datdba) AS owner, datacl AS acl
           FROM pg_database WHERE datname = %(source)s)
{_GRANTS.format(kind="DATABASE")} ORDER BY 2
"""  # noqa: S608  # from constants only
_LIKE_INSIDE = f"""
WITH e AS (SELECT extname, extversion, extnamespace FROM pg_extension WHERE extname = ANY (%(extensions)s::text[])),
s AS (SELECT oid, nspname AS name, pg_get_userbyid(nspowner) AS owner, nspacl AS acl FROM pg_namespace
      WHERE nspname !~ '^pg_' AND (nspname = ANY (%(schemas)s::text[]) OR oid IN (SELECT extnamespace FROM e)))
SELECT format('CREATE SCHEMA IF NOT EXISTS %%I', name), 1 FROM s
UNION ALL
SELECT format('ALTER SCHEMA %%I OWNER TO %%I', name, owner), 2 FROM s
UNION ALL
{_GRANTS.format(kind="SCHEMA")}
UNION ALL
SELECT format('CREATE EXTENSION IF NOT EXISTS %%I SCHEMA %%I VERSION %%L CASCADE', extname, name, extversion), 5
FROM e JOIN s ON s.oid = extnamespace
ORDER BY 2
"""  # noqa: S608  # from constants only
_ROLE_SETTINGS = """
SELECT rolname::text, split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_db_role_setting JOIN pg_roles ON pg_roles.oid = setrole, unnest(setconfig) AS setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Likeness:
    """What a scratch database has in common with the declared one, where a role of less power runs the revisions.

    That is the owner, the privileges and the settings of roles, and these schemas and extensions, where they are there.
    """

    schemas: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()


@dataclass(frozen=True)
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
        found = _rows(connection, _SOURCE, (endpoint.database,))
    if not found:
        raise UnavailableError(f"there is no database {endpoint.database!r} yet", next_step=command("apply"))
    return Source(*found[0])


@contextmanager
def database(
    endpoint: Endpoint, whose: str, *, copied: bool = False, like: Likeness | None = None
) -> Iterator[Endpoint]:
    """Have a scratch database for the environment ``whose``: empty, or a copy of the one of the endpoint.

    It is ``like`` that one where this is given; else our login owns it.

    Raises:
        RefusedError: the role may not create databases, or a client is connected to the one to be copied.
        UnavailableError: the server cannot be reached, or its database `postgres` not entered.
    """
    with closing(connect(endpoint, MAINTENANCE, read_only=False)) as connection:
        _rows(connection, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        drop_leftovers(connection)
        name = new_name(PREFIX, whose)
        _take(connection, name)
        try:
            _make(connection, endpoint, name, endpoint.database if copied else None, like)
            yield replace(endpoint, database=name)
        except BaseException:
            with suppress(UnavailableError):  # what failed first is reported; the next run drops what is left
                _drop(connection, name)
            raise
        _drop(connection, name)


def renew(server: Endpoint, endpoint: Endpoint, like: Likeness | None = None) -> None:
    """Make a scratch database empty again; ``server`` leads to the declared one.

    Raises:
        StepFailedError: it cannot be made.
        UnavailableError: the server cannot be reached.
    """
    with closing(connect(server, MAINTENANCE, read_only=False)) as connection:
        _drop(connection, endpoint.database)
        _make(connection, server, endpoint.database, None, like)


def drop_leftovers(connection: psycopg2.extensions.connection) -> tuple[str, ...]:
    """Drop the scratch databases of runs that are over, and return their names."""
    dropped = []
    for (name,) in _rows(connection, _OURS, (PREFIX,)):
        if re.fullmatch(_NAME, name) and _take(connection, name):
            _drop(connection, name)
            _rows(connection, "SELECT pg_advisory_unlock(%s, %s)", _key(name))
            dropped.append(name)
    return tuple(dropped)


def _key(name: str) -> tuple[int, int]:
    end = int(name[-8:], 16)
    return _CLASS_ID, end - (1 << 32) if end >> 31 else end  # PostgreSQL's integers have a sign


def _take(connection: psycopg2.extensions.connection, name: str) -> bool:
    return _rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", _key(name)) == [(True,)]


def _make(
    connection: psycopg2.extensions.connection, source: Endpoint, name: str, template: str | None, like: Likeness | None
) -> None:
    """Create a database, with the settings of the source, and what else it is to have in common with that."""
    if like is None:
        _create(connection, name, template)
    else:
        owned = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        ((owner,),) = _rows(connection, owned, (source.database,))
        _create(connection, name, template, owner)
        _liken(connection, source, name, like if template is None else Likeness())
    with suppress(_errors()):  # what cannot be set for it is not in force for our role either
        _copy_settings(source, name)


def _liken(connection: psycopg2.extensions.connection, source: Endpoint, name: str, like: Likeness) -> None:
    """Give a new database the privileges, schemas and extensions, and the settings of roles, of its source.

    Raises:
        StepFailedError: the server refuses one.
    """
    outside = [each for each, _ in _rows(connection, _LIKE_DATABASE, {"name": name, "source": source.database})]
    with closing(connect(source, read_only=False)) as here:
        asked = {"schemas": list(like.schemas), "extensions": list(like.extensions)}
        inside = [each for each, _ in _rows(here, _LIKE_INSIDE, asked)]
        with closing(connect(source, name, read_only=False)) as there:
            _run(connection, outside)
            _run(there, inside)
        _copy_role_settings(here, name)


def _run(connection: psycopg2.extensions.connection, statements: Sequence[str]) -> None:
    for statement in statements:
        failed = StepFailedError(
            "the scratch database cannot be made like the declared one",
            evidence=[statement],
            next_step="correct what it says, and run the same command again",
        )
        with translated(_errors(), into=failed), connection.cursor() as cursor:
            cursor.execute(statement)


def _copy_role_settings(connection: psycopg2.extensions.connection, name: str) -> None:
    """Have in force what ``ALTER ROLE … IN DATABASE`` has set."""
    for role, setting, value in _rows(connection, _ROLE_SETTINGS):
        alter = f"ALTER ROLE {identifier(role)} IN DATABASE {identifier(name)} SET {identifier(setting)}"
        with suppress(_errors()), connection.cursor() as cursor:
            set_value(cursor, alter, setting, value, is_local=False)


def _create(
    connection: psycopg2.extensions.connection, name: str, template: str | None, owner: str | None = None
) -> None:
    from psycopg2 import errors

    statement, login = f"CREATE DATABASE {identifier(name)}", identifier(connection.info.user)
    if owner is not None:
        statement += f" OWNER {identifier(owner)}"
    if template is not None:
        statement += f" TEMPLATE {identifier(template)}"
    grant = f"ALTER ROLE {login} CREATEDB" + (f"; GRANT {identifier(owner)} TO {login}" if owner else "")
    refused = RefusedError(
        "the role may not create the scratch database that this needs",
        next_step=f"as an administrator: {grant}; or use a server that is there for tests",
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
        for (setting,) in rows(connection, _SETTINGS):
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
    with translated(_errors(), into=silent):
        return rows(connection, question, parameters)


def _errors() -> type[Exception]:
    import psycopg2

    return psycopg2.Error
