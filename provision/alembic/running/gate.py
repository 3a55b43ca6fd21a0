"""Sees the locks of a statement that runs ``CONCURRENTLY``, which are gone when it has ended.

Such a statement waits at its end for every session that could still need what was there before. One that reads all
tables, and looks at them as they were when it began, is waited for in any case: so the statement stands still in a
place where all of its locks can be seen, and goes on at once.
https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from provision.errors import UnavailableError, command
from provision.system.postgres import connect

if TYPE_CHECKING:
    import psycopg2.extensions

    from provision.alembic.running.process import Child
    from provision.model import Endpoint

_PATIENCE = 30.0
_POLL = 0.005
_SHORT = "2s"

_TABLES = """
SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname !~ '^(pg_|information_schema$)'
  AND has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')
"""
_SEEN = """
SELECT format('%%I.%%I', nspname, relname), mode FROM pg_locks
JOIN pg_class ON pg_class.oid = relation JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pid = %(pid)s AND granted AND locktype = 'relation' AND relkind IN ('r', 'p', 'm')
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND nspname !~ '^(pg_|information_schema$)'
"""
_WAITS = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE pid = %(pid)s AND NOT granted)"


def locks_of(endpoint: Endpoint, pid: int, child: Child) -> set[tuple[str, str]]:
    """Let a child go on that is about to run such a statement; return the tables that it locks, and the modes.

    ``pid`` is the child's session on the server. The child speaks as soon as the statement has ended.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    import psycopg2

    with closing(connect(endpoint, read_only=False)) as gate, closing(connect(endpoint, read_only=True)) as eyes:
        try:
            _shut(gate)
            child.go_on()
            with eyes.cursor() as look:
                return _watched(look, pid, child)
        except psycopg2.Error as error:
            raise UnavailableError(
                "the server went away while a statement ran",
                evidence=str(error).splitlines(),
                next_step=command("status"),
            ) from error


def _shut(gate: psycopg2.extensions.connection) -> None:
    """Read all tables that we may read; where one is locked by somebody else, the statement finds the gate open.

    It may be locked by the migration itself, in another session, and then nobody would ever go on.
    """
    from psycopg2.errors import InsufficientPrivilege, LockNotAvailable

    gate.set_session(isolation_level="REPEATABLE READ", autocommit=False)
    with gate.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = ", ".join(name for (name,) in cursor.fetchall())
        if tables:
            cursor.execute(f"SET LOCAL lock_timeout = '{_SHORT}'")
            try:
                cursor.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
            except (LockNotAvailable, InsufficientPrivilege):
                gate.rollback()


def _watched(look: psycopg2.extensions.cursor, pid: int, child: Child) -> set[tuple[str, str]]:
    """Return what a session locks until it waits, or has ended its statement."""
    seen: set[tuple[str, str]] = set()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        look.execute(_WAITS, {"pid": pid})
        (is_waiting,) = look.fetchone() or (False,)
        look.execute(_SEEN, {"pid": pid})  # after it, so that nothing is missed when it waits
        seen |= {(str(name), str(mode)) for name, mode in look.fetchall()}
        if is_waiting or child.has_spoken(within=_POLL):
            break
    return seen
