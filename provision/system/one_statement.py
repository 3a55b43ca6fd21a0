"""A statement that a spec has, asked by the extended query protocol, which takes one statement and no more.

psycopg2 has only the simple protocol, in which ``SELECT 1; COMMIT; DROP …`` leaves the read-only transaction. libpq is
loaded with it, and gives the other one: https://www.postgresql.org/docs/current/libpq-exec.html#LIBPQ-PQEXECPARAMS
"""

from __future__ import annotations

import ctypes
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from provision.model.sql import identifier
from provision.system import postgres

if TYPE_CHECKING:
    import psycopg2.extensions

    from provision.model import Endpoint

_TUPLES_OK = 2  # PGRES_TUPLES_OK of libpq-fe.h
_FIELDS = {"state": "C", "message": "M", "hint": "H"}  # PG_DIAG_…, of postgres_ext.h
_BEGIN = "BEGIN READ ONLY; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'"
# A role that reaches no file and no program of the server, for a login that does: one of those asked for, in their
# order, else the one that every server has and that may only read.
_HARMLESS = """
SELECT set_config('role', rolname, true) FROM pg_roles AS r
WHERE rolname = ANY (%(names)s) AND NOT rolsuper AND NOT EXISTS (
    SELECT FROM pg_roles AS f
    WHERE f.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
        AND pg_has_role(r.oid, f.oid, 'MEMBER'))
ORDER BY array_position(%(names)s, rolname::text) LIMIT 1
"""
_READER = "pg_read_all_data"


class StatementError(Exception):
    """The server refused it: its SQLSTATE (empty where it sent rows no list can be made of), its words, its hint."""

    def __init__(self, state: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.state, self.message, self.hint = state, message, hint


class Answer(NamedTuple):
    """The names of the columns, and the rows as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def ask(at: Endpoint, sql: str, *, role: str | None) -> Answer:
    """Return what a statement answers, in a transaction that only reads and is rolled back.

    A superuser's session is set to ``role`` for it, or to another one that reaches no file or program of the server.

    Raises:
        StatementError: the server refuses the statement, or it returns no rows.
        LoginError: the login fails.
        RefusedError: a pooler in statement mode takes no transaction.
    """
    with closing(_begun(at)) as connection:
        if connection.info.parameter_status("is_superuser") == "on":
            connection.cursor().execute(_HARMLESS, {"names": [*([role] if role else []), _READER]})
        try:
            return _answer(connection, sql)
        finally:
            postgres.refusal(connection, "ROLLBACK")


def _begun(at: Endpoint) -> psycopg2.extensions.connection:
    """Log in and begin; a pooler that gives no session may be between, as one transaction is all that this takes."""
    import psycopg2

    connection = postgres.connect(at, read_only=True) if at.is_ours else postgres.open_session(at, None)
    connection.autocommit = True
    try:
        connection.set_client_encoding("UTF8")
        connection.cursor().execute(_BEGIN + (f"; SET LOCAL ROLE {identifier(at.role)}" if at.role else ""))
    except psycopg2.Error as error:
        postgres.connect(at, read_only=True).close()  # refuses a pooler in statement mode: it takes no transaction
        raise postgres.LoginError(postgres.classify(str(error)), at, str(error)) from error
    return connection


def _answer(connection: psycopg2.extensions.connection, sql: str) -> Answer:
    libpq = _libpq()
    result = ctypes.c_void_p(
        libpq.PQexecParams(ctypes.c_void_p(connection.pgconn_ptr), sql.encode(), 0, None, None, None, None, 0)
    )
    try:
        if libpq.PQresultStatus(result) != _TUPLES_OK:
            said = {name: _text(libpq.PQresultErrorField(result, ord(field))) for name, field in _FIELDS.items()}
            if said["message"] is None:  # it ran, and was no question; or the connection is gone
                message = _text(libpq.PQresultErrorMessage(result)) or "it returns no rows"
                raise StatementError("", message.strip())
            raise StatementError(said["state"] or "", said["message"], said["hint"] or "")
        width = range(libpq.PQnfields(result))
        rows = [
            tuple([_value(libpq, result, row, column) for column in width]) for row in range(libpq.PQntuples(result))
        ]
        return Answer(tuple([_text(libpq.PQfname(result, column)) or "" for column in width]), tuple(rows))
    finally:
        libpq.PQclear(result)


def _value(libpq: Any, result: Any, row: int, column: int) -> str | None:
    return None if libpq.PQgetisnull(result, row, column) else _text(libpq.PQgetvalue(result, row, column))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _libpq() -> Any:
    """Return the libpq that psycopg2 uses: its symbols are found through the module that is linked with it."""
    from psycopg2 import _psycopg

    found = ctypes.CDLL(_psycopg.__file__)
    found.PQexecParams.restype = ctypes.c_void_p
    for name in ("PQresultErrorField", "PQresultErrorMessage", "PQgetvalue", "PQfname"):
        getattr(found, name).restype = ctypes.c_char_p
    return found
