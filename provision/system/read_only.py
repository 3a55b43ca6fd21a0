"""Questions to a server, over connections that can only read: this is how it is observed."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, UnavailableError, command, translated
from provision.model import Endpoint, Proof, Secret
from provision.model.sql import identifier
from provision.model.value import replace
from provision.system import libpq
from provision.system.postgres import NAME, LoginError, open_session, rows, through_pooler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg2.extensions


_READING = "SET TRANSACTION READ ONLY; "
_LIMITS = "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'; "
_PROOFS = (
    (r"password authentication failed", Proof.WRONG),
    (r"server requested a hashed password", Proof.MD5),  # pg_hba.conf says md5, and so does the catalog
    ((r"is not permitted to log in|too many connections for (role|database)|permission denied for database"
                r"|database \".*\" (does not exist|is not currently accepting)"), Proof.RIGHT),
)  # fmt: skip


class ReadOnlyQuery:
    """Implements :class:`provision.model.Query` with one connection per database, opened when asked.

    Each question is a read-only transaction of its own, and one message: the server makes a transaction of all that it
    gets at once. Nothing is set for the session (``pg_settings`` would show that in place of what the server was
    configured with), so that a connection pooler may stand between, too. Where our sessions are ``named``, they can be
    left out when clients are counted.
    https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
    """

    def __init__(self, endpoint: Endpoint, *, named: bool = False) -> None:
        libpq.load()
        self._endpoint = endpoint
        self._names: dict[str, Any] = {"application_name": NAME} if named else {}
        self._connections: dict[str, psycopg2.extensions.connection] = {}
        self._roles: dict[str, str] = {}

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement.

        Raises:
            LoginError: the login fails.
            RefusedError: our role may not ask this.
            UnavailableError: the server went away, or does not answer.
        """
        import psycopg2
        from psycopg2.errors import InsufficientPrivilege

        name = database or self._endpoint.database
        limits = "" if "pg_settings" in sql else _LIMITS
        refused = RefusedError(
            f"the role {self._endpoint.user!r} lacks a privilege in the database {name!r}",
            next_step="as an administrator: grant it, or have this role own the database and what is in it",
        )
        silent = UnavailableError(
            f"the server at {self._endpoint.address} did not answer a question", next_step=command("status")
        )
        try:
            with translated(psycopg2.Error, into=silent), translated(InsufficientPrivilege, into=refused):
                connection = self._connection(name)
                return rows(connection, f"{_READING}{limits}{self._roles.get(name, '')}{sql}", parameters or None)
        except UnavailableError as error:
            if error is silent:
                _judge(error)
            raise

    def reported(self, name: str, *, database: str | None = None) -> str:
        """Return what the server tells everybody who logs in, without being asked.

        https://www.postgresql.org/docs/current/libpq-status.html#LIBPQ-PQPARAMETERSTATUS

        Raises:
            LoginError: the login fails.
        """
        return self._connection(database or self._endpoint.database).info.parameter_status(name) or ""

    def proves(self, role: str, password: Secret) -> Proof:
        """Log in as another role, and return what that shows of its password.

        The server first looks at the password, so any other refusal comes after one that was right.
        """
        at = replace(self._endpoint, user=role, password=password)
        if through_pooler(self._endpoint):  # it has passwords of its own
            return Proof.UNKNOWN
        try:
            open_session(at, None, renews=False, require_auth=libpq.by_scram(), **self._names).close()
        except LoginError as error:
            words = "\n".join(error.evidence)
            return next((proof for pattern, proof in _PROOFS if re.search(pattern, words)), Proof.UNKNOWN)
        return Proof.RIGHT

    def recognise_pooler(self, pid: int, *, database: str) -> None:
        """Find out whether a pooler is between us and the backend that has answered; ``poolers`` remembers it.

        Raises:
            UnavailableError: the server went away.
        """
        import psycopg2

        from provision.system import poolers

        connection = self._connection(database)
        if pid == connection.info.backend_pid:
            poolers.note_direct(self._endpoint)
            return
        silent = UnavailableError(f"the pooler at {self._endpoint.address} did not answer a question")
        with translated(psycopg2.Error, into=silent):
            poolers.find(self._endpoint, database, connection, partial(open_session, self._endpoint, database))

    def _connection(self, database: str) -> psycopg2.extensions.connection:
        if database not in self._connections:
            connection = open_session(self._endpoint, database, **self._options(database), **self._names)
            connection.autocommit = True
            if connection.encoding != "UTF8":
                connection.set_client_encoding("UTF8")
            self._connections[database] = connection
        return self._connections[database]

    def _options(self, database: str) -> dict[str, Any]:
        """Return what says the role at the login, or have each question say it, where a pooler may be between."""
        if self._endpoint.is_ours or self._endpoint.role is None:
            return {}
        from provision.system import poolers

        if poolers.known(self._endpoint, database) == poolers.DIRECT:
            return {"options": self._endpoint.role_option}
        self._roles[database] = f"SET LOCAL ROLE {identifier(self._endpoint.role)}; "
        return {}

    def close(self) -> None:
        """Close every connection."""
        while self._connections:
            self._connections.popitem()[1].close()


def _judge(error: UnavailableError) -> None:
    """Note whether a question has no answer because the server went away."""
    from provision.system.driver_errors import failure

    found = failure(error.__cause__) if isinstance(error.__cause__, Exception) else None
    error.server_is_gone = found is not None and found.server_is_gone
