"""Logins to PostgreSQL: how each is made, also through a pooler or to a cluster, and in which way one failed.

libpq parameters: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.errors import UnavailableError
from provision.model import MAINTENANCE, Endpoint
from provision.model.value import replace
from provision.system import libpq

if TYPE_CHECKING:
    import psycopg2.extensions


NAME = "provision"
"""The application name of our sessions, which tells them from those of clients."""
QUIET = {
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    "pg_stat_statements.track_utility": "off",
}
"""The settings with which a statement is in no log; that of transactions counts when one begins."""
UNLOGGED = " ".join(["-c role=none", *[f"-c {name}={value}" for name, value in QUIET.items()]])
"""Options of a superuser's session whose statements are not for the log, nor for the views of that extension."""
_CONNECT_TIMEOUT = 5
_NO_FILE = "/dev/null/none"
"""In place of ``~/.pgpass``, which libpq reads where the password is empty."""
_READING_SESSION = {"default_transaction_read_only": "on", "statement_timeout": "30s", "lock_timeout": "5s"}
_READ_ONLY = " ".join([f"-c {name}={value}" for name, value in _READING_SESSION.items()])
_RETRY_EVERY = 0.5


class Login(Enum):
    """What became of an attempt to log in."""

    OK = "ok"
    NO_SERVER = "nothing accepts connections there"
    STARTING = "the server is starting up"
    STANDBY = "none takes writes"
    NO_DATABASE = "the database does not exist"
    FULL = "the server has no connection left"
    CLOSED = "the database does not accept connections"
    REFUSED = "the server refuses this login"
    REMEMBERED = "a pooler remembers a login that failed, and does not ask the server"


# libpq gives no SQLSTATE for a connection that fails, so the server's words have to do.
_ANSWERS = (
    # PgBouncer repeats the words of the server as well; https://www.pgbouncer.org/config.html#server_login_retry
    (r"server_login_retry", Login.REMEMBERED),
    (r"too many (clients|connections)|connection slots are reserved|no more connections allowed", Login.FULL),
    (r'database ".*" is not currently accepting connections', Login.CLOSED),
    (r'database ".*" does not exist', Login.NO_DATABASE),
    ((r"authentication failed for user|SASL authentication failed|no such user|no password supplied"
                r"|no pg_hba.conf entry|pg_hba.conf rejects"
                r"|role \".*\" (does not exist|is not permitted)|permission denied (to set role|for database)"
                r"|requires a valid client certificate"), Login.REFUSED),
    (r"the database system is (starting up|in recovery|shutting down|not yet accepting)", Login.STARTING),
    (r"session is read-only|server is in hot standby mode", Login.STANDBY),  # of libpq, for `target_session_attrs`
)  # fmt: skip
_OF_PRIMARY = (Login.NO_DATABASE, Login.REFUSED, Login.FULL, Login.CLOSED)
"""What only the answer of a primary means: a standby can lag, and have other limits."""
_WITHOUT_WORD = {
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""A host that is switched off closes no connection: in seconds, the last one in milliseconds."""


_MAY_HAVE_EXPIRED = r"(?<!certificate )authentication failed for user|SASL authentication failed|(?i:token)"
"""PAM and LDAP, by which cloud services take tokens, have the word too: auth_failed() in auth.c."""


_BEFORE = r"^.*?\b(?:FATAL|ERROR): +"


class LoginError(UnavailableError):
    """A login failed; ``login`` says in which of the ways that matter."""

    def __init__(self, login: Login, endpoint: Endpoint, message: str) -> None:
        super().__init__(
            f"cannot log in to {endpoint.address} as {endpoint.user!r}: {login.value}",
            evidence=[*endpoint.complaints(), *(line for line in message.splitlines() if line.strip())],
        )
        self.login = login
        self.server_is_gone = login in (Login.NO_SERVER, Login.STARTING, Login.STANDBY)

    @property
    def words(self) -> str:
        """What the server itself said, without what libpq puts before it."""
        said = self.evidence[-1] if self.evidence else self.login.value
        return re.sub(_BEFORE, "", said)


def classify(message: str) -> Login:
    """Tell from libpq's message how a login failed."""
    return next((login for pattern, login in _ANSWERS if re.search(pattern, message)), Login.NO_SERVER)


def connect(
    endpoint: Endpoint, database: str | None = None, *, read_only: bool, is_async: bool = False
) -> psycopg2.extensions.connection:
    """Open a session in autocommit mode. One that ``is_async`` has to be polled, also until it is open.

    Raises:
        LoginError: it failed, and how.
        RefusedError: a pooler gives no session.
    """
    if not endpoint.is_ours and not is_async:
        return _foreign(endpoint, database, read_only=read_only)
    more: dict[str, Any] = {"async_": 1} if is_async else {"options": _READ_ONLY if read_only else ""}
    connection = open_session(endpoint, database, application_name=NAME, client_encoding="UTF8", **more)
    if not is_async:
        connection.autocommit = True
    return connection


def log_in(endpoint: Endpoint, database: str | None = None) -> None:
    """See that a login works, which is all that happens; a pooler may be between.

    Raises:
        LoginError: it failed, and how.
    """
    if endpoint.is_ours:
        connect(endpoint, database, read_only=True).close()
    else:
        open_session(endpoint, database).close()


def _foreign(endpoint: Endpoint, database: str | None, *, read_only: bool) -> psycopg2.extensions.connection:
    """Open a session on a server that others run, through a pooler as well, where that gives sessions."""
    import psycopg2

    from provision.system import poolers

    settings = {"application_name": NAME, **(_READING_SESSION if read_only else {})}
    log_in = partial(open_session, endpoint, database)
    if endpoint.hosts and read_only:
        log_in = partial(log_in, target_session_attrs="primary")  # a session that only reads is none that can write
    try:
        return poolers.session(endpoint, database, settings, log_in)
    except psycopg2.Error as error:
        raise LoginError(classify(str(error)), endpoint, str(error)) from error


def open_session(
    endpoint: Endpoint, database: str | None, *, renews: bool = True, **parameters: Any
) -> psycopg2.extensions.connection:
    """Log in; a password that is refused is asked for once more where that ``renews`` it: tokens expire.

    On a server of ours a refused one is set there, see :mod:`provision.kinds.login`.
    """
    password = endpoint.password.reveal()
    parameters = {"target_session_attrs": endpoint.session_attrs, **parameters}
    try:
        return _found(endpoint, database, password, **parameters)
    except LoginError as error:
        may_renew = renews and not endpoint.is_ours and re.search(_MAY_HAVE_EXPIRED, "\n".join(error.evidence))
        if not may_renew or not endpoint.password.renew(password):
            raise
    return _found(endpoint, database, endpoint.password.reveal(), **parameters)


def _found(
    endpoint: Endpoint, database: str | None, password: str, **parameters: Any
) -> psycopg2.extensions.connection:
    """Log in to the host that takes writes: libpq tries no other one after one that has answered with an error."""
    try:
        return _connected(endpoint, database, password, **parameters)
    except LoginError as error:
        if error.login not in _OF_PRIMARY:
            raise
        for host, port in endpoint.hosts:
            with suppress(LoginError):
                at = replace(endpoint, host=host, port=port, hosts=())
                return _connected(at, database, password, **parameters)
        if endpoint.hosts and error.login is Login.NO_DATABASE:  # or is there no primary at all?
            _connected(endpoint, MAINTENANCE, password, **parameters).close()
        raise


def _connected(
    endpoint: Endpoint, database: str | None, password: str, **parameters: Any
) -> psycopg2.extensions.connection:
    """Log in; a pooler that remembers a login that failed is waited for."""
    if endpoint.is_ours:
        return _connected_once(endpoint, database, password, _CONNECT_TIMEOUT, **parameters)
    from provision.system import poolers

    deadline = time.monotonic() + poolers.PATIENCE
    while True:
        try:
            seconds = poolers.PATIENCE if poolers.is_there(endpoint) else _CONNECT_TIMEOUT
            return _connected_once(endpoint, database, password, seconds, **parameters)
        except LoginError as error:
            if error.login is not Login.REMEMBERED or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_EVERY)


def _connected_once(
    endpoint: Endpoint, database: str | None, password: str, seconds: int, *, options: str = "", **parameters: Any
) -> psycopg2.extensions.connection:
    import psycopg2

    own = endpoint.options if endpoint.is_ours else endpoint.declared_options  # a pooler would refuse others
    try:
        return libpq.connect(
            host=endpoint.host_list,
            port=endpoint.port_list,
            user=endpoint.user,
            password=password,
            passfile=_NO_FILE,
            dbname=database or endpoint.database,
            gssencmode="disable",
            sslmode=endpoint.sslmode,
            sslrootcert=str(endpoint.sslrootcert) if endpoint.sslrootcert else None,
            **{
                "connect_timeout": seconds,
                **({} if endpoint.is_ours else _WITHOUT_WORD),
                **dict(endpoint.connection),
                "options": f"{own} {options}".strip(),
                **parameters,
            },
        )
    except psycopg2.OperationalError as error:
        raise LoginError(classify(str(error)), endpoint, str(error)) from error


def rows(connection: psycopg2.extensions.connection, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Return the rows of one statement, in whatever transaction the connection is.

    Raises:
        psycopg2.Error: the server refuses it, or went away.
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def settled(connection: psycopg2.extensions.connection, at: Endpoint) -> Endpoint:
    """Return an endpoint with the host that a connection leads to, where a cluster has several."""
    info = connection.info
    return replace(at, host=info.host, port=info.port, hosts=()) if at.hosts else at


def refusal(connection: psycopg2.extensions.connection, sql: str, parameters: Any = None) -> str:
    """Run statements; return the server's words where it refuses them or went away, else nothing."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except psycopg2.Error as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return ""


def role_of_programs(endpoint: Endpoint) -> dict[str, str]:
    """Return the variable by which libpq sets the role of each session; no form of a URL suits all drivers.

    Raises:
        RefusedError: a pooler takes no such options.
    """
    if endpoint.role is None:
        return {}
    refuse_pooler(endpoint, f"takes no `options`, so sessions of a program cannot become the role {endpoint.role!r}")
    return {"PGOPTIONS": endpoint.options}


def refuse_pooler(endpoint: Endpoint, why: str) -> None:
    """Refuse what goes through no pooler, where one was seen; ``why`` follows "the pooler".

    Raises:
        RefusedError: there is one.
    """
    if not endpoint.is_ours:
        from provision.system import poolers

        poolers.insist_on_server(endpoint, why)


def through_pooler(endpoint: Endpoint) -> bool:
    """Whether logins go through a pooler, as far as that was found out."""
    if endpoint.is_ours:
        return False
    from provision.system import poolers

    return poolers.is_there(endpoint)
