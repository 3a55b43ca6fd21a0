"""Connections to PostgreSQL: one that can only read, for observing, and one that acts.

libpq parameters: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

from __future__ import annotations

import re
import time
from contextlib import closing, suppress
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, StepFailedError, UnavailableError, command, translated
from provision.model import MAINTENANCE, Proof
from provision.model.sql import identifier
from provision.model.value import replace
from provision.system import libpq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg2.extensions

    from provision.model import Endpoint, Secret


# Whether an error means that the server, or its connection, went away: then the statement is not to blame.
#
# https://www.postgresql.org/docs/current/errcodes-appendix.html ; drivers have words of their own for a socket that
# was closed, and no SQLSTATE.


_STATES = r"08...|57P0[1-5]"
_CLOSED = (
    r"(?i)server closed the connection|server terminated abnormally"
    r"|terminating connection (?:because|due to administrator)"
    r"|connection (?:is |was |has been )?(?:already )?(?:closed|lost|reset)|no connection to the server"
    r"|connection not open|could not (?:receive data from|send data to) server|SSL SYSCALL error|Broken pipe"
    r"|network error on|the database system is (?:in recovery mode|shutting down|starting up|not yet accepting)"
)
_REFUSED = r"(?i)Connection refused|Connect call failed|is the server running"


def is_lost(sqlstate: str | None, message: str) -> bool:
    """Whether a connection that worked was lost; ``message`` is the driver's.

    >>> is_lost("57P01", ""), is_lost("25P03", "terminating connection due to idle-in-transaction timeout")
    (True, False)
    >>> is_lost(None, "connection was closed in the middle of operation")
    True
    """
    return bool(re.fullmatch(_STATES, sqlstate)) if sqlstate else bool(re.search(_CLOSED, message))


def is_refused(message: str) -> bool:
    """Whether nothing listens where a driver wanted to connect: no server, or another address."""
    return bool(re.search(_REFUSED, message))


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
_VARIABLES = {
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}
_NO_FILE = "/dev/null/none"
"""In place of ``~/.pgpass``, which libpq reads where the password is empty."""
_READING_SESSION = {"default_transaction_read_only": "on", "statement_timeout": "30s", "lock_timeout": "5s"}
_READ_ONLY = " ".join([f"-c {name}={value}" for name, value in _READING_SESSION.items()])
_RETRY_EVERY = 0.5
_READING = "SET TRANSACTION READ ONLY; "
_LIMITS = "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '5s'; "


_IN_USE, _TEMPLATE_TIMEOUT = "55006", 60.0
"""SQLSTATE object_in_use, after the server itself waited 5 s; and how long a template in use is waited for."""
_CREATED_MEANWHILE = ("42P04", "23505")
"""SQLSTATE of duplicate_database, and of the unique index on names, where two sessions create one database at once."""


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
_PROOFS = (
    (r"password authentication failed", Proof.WRONG),
    (r"server requested a hashed password", Proof.MD5),  # pg_hba.conf says md5, and so does the catalog
    ((r"is not permitted to log in|too many connections for (role|database)|permission denied for database"
                r"|database \".*\" (does not exist|is not currently accepting)"), Proof.RIGHT),
)  # fmt: skip


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
    connection = _open(endpoint, database, application_name=NAME, client_encoding="UTF8", **more)
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
        _open(endpoint, database).close()


def _foreign(endpoint: Endpoint, database: str | None, *, read_only: bool) -> psycopg2.extensions.connection:
    """Open a session on a server that others run, through a pooler as well, where that gives sessions."""
    import psycopg2

    from provision.system import poolers

    settings = {"application_name": NAME, **(_READING_SESSION if read_only else {})}
    log_in = partial(_open, endpoint, database)
    if endpoint.hosts and read_only:
        log_in = partial(log_in, target_session_attrs="primary")  # a session that only reads is none that can write
    try:
        return poolers.session(endpoint, database, settings, log_in)
    except psycopg2.Error as error:
        raise LoginError(classify(str(error)), endpoint, str(error)) from error


def _open(
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


def refusal(connection: psycopg2.extensions.connection, sql: str, parameters: Any = None) -> str:
    """Run statements; return the server's words where it refuses them or went away, else nothing."""
    import psycopg2

    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
    except psycopg2.Error as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return ""


def tls(endpoint: Endpoint) -> dict[str, str]:
    """Return the variables that make libpq, and asyncpg, connect as it was declared; there is none for keepalives.

    https://www.postgresql.org/docs/current/libpq-envars.html
    """
    root = {"PGSSLROOTCERT": str(endpoint.sslrootcert)} if endpoint.sslrootcert else {}
    declared = {_VARIABLES[name]: value for name, value in endpoint.connection if name in _VARIABLES}
    options = {"PGOPTIONS": endpoint.options} if endpoint.declared_options else {}
    return {"PGSSLMODE": endpoint.sslmode, **root, **declared, **options}


def keepalives(endpoint: Endpoint) -> dict[str, str]:
    """Return libpq's parameters for which there is no variable of the environment."""
    return {name: value for name, value in endpoint.connection if name.startswith("keepalives_")}


def attrs(endpoint: Endpoint) -> dict[str, str]:
    """Return the variable that leads libpq to the host of a cluster that takes writes."""
    return {"PGTARGETSESSIONATTRS": "primary"} if endpoint.hosts else {}


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
            f"the server at {self._endpoint.address} did not answer a question",
            next_step=command("status"),
        )
        with translated(psycopg2.Error, into=silent), translated(InsufficientPrivilege, into=refused):
            connection = self._connection(name)
            return rows(connection, f"{_READING}{limits}{self._roles.get(name, '')}{sql}", parameters or None)

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
            _open(at, None, renews=False, require_auth=libpq.by_scram(), **self._names).close()
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
            poolers.find(self._endpoint, database, connection, partial(_open, self._endpoint, database))

    def _connection(self, database: str) -> psycopg2.extensions.connection:
        if database not in self._connections:
            connection = _open(self._endpoint, database, **self._options(database), **self._names)
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
                raise _failure(error, statement) from error


def run_unlogged(endpoint: Endpoint, database: str, script: Secret, *more: str) -> bool:
    """Run statements that no log may show, and tell whether the server did; it is not said why it did not."""
    import psycopg2

    try:
        with closing(_open(endpoint, database, options=UNLOGGED, application_name=NAME)) as connection:
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


def failure(error: Exception) -> StepFailedError | None:
    """Return our error for one that the driver raised; None: it is not the driver's."""
    import psycopg2

    return _failure(error) if isinstance(error, psycopg2.Error) else None


def _failure(error: psycopg2.Error, statement: str = "") -> StepFailedError:
    if is_lost(error.pgcode, str(error)):
        return gone(error, f"the server ran: {statement}" if statement else "it was asked for something")
    lines = [each for each in (statement, *str(error).splitlines()) if each]
    return StepFailedError("the server refused a statement", evidence=lines)


def gone(error: BaseException, doing: str) -> StepFailedError:
    """Return the error for a connection that was lost in the middle of something."""
    failure = StepFailedError(
        f"the connection to the server was lost while {doing}",
        evidence=str(error).splitlines(),
        next_step=command("status") + "   # whether it runs; then the same command again",
    )
    failure.server_is_gone = True
    return failure
