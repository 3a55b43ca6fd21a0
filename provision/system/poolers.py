"""Connection poolers between us and a server: whether one answers, and whether a client keeps its backend there.

At a login the server says the number of its backend, and a pooler says one that it made up, because it makes the keys
for cancelling itself. So the two numbers, that of the login and ``pg_backend_pid()``, tell of a pooler, also where it
is idle and gives the same backend each time. Whether two clients can get one backend is tried: see :func:`_shares`.
https://www.postgresql.org/docs/current/libpq-status.html#LIBPQ-PQBACKENDPID, https://www.pgbouncer.org/features.html
"""

from __future__ import annotations

import ipaddress
import select
import time
from contextlib import closing, suppress
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psycopg2.extensions

    from provision.model import Endpoint

PATIENCE = 20
"""How long a login through a pooler is waited for, in seconds: a little longer than it remembers one that failed."""
_ROUNDS, _TURN = 6, 2.0
_BACKEND = "SELECT pg_backend_pid()"
_SERVER = "SELECT pg_backend_pid(), host(inet_server_addr()), inet_server_port()"


class Mode(StrEnum):
    """What is between us and the backend. TRANSACTION is statement mode, too: a client keeps no backend."""

    NONE = ""
    SESSION = "session"
    TRANSACTION = "transaction"


@dataclass(frozen=True)
class Way:
    """How a login reaches its backend, and where a pooler itself reaches the server."""

    mode: Mode
    host: str = ""
    port: int = 0


DIRECT = Way(Mode.NONE)
_found: dict[tuple[str, str], dict[tuple[str, str], Way]] = {}
"""By address, and then by user and database: each pair of them is a pool, which can have a mode of its own."""


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.host_list, str(endpoint.port_list)


def known(endpoint: Endpoint, database: str | None = None) -> Way | None:
    """Return what was found out about a login by this process; one without a pooler tells of all at its address."""
    if endpoint.is_ours:
        return DIRECT
    pools = _found.get(_place(endpoint))
    if pools is None:
        return None
    return DIRECT if DIRECT in pools.values() else pools.get((endpoint.user, database or endpoint.database))


def is_known(endpoint: Endpoint) -> bool:
    """Whether something was found out about the address."""
    return _place(endpoint) in _found


def is_there(endpoint: Endpoint) -> bool:
    """Whether a pooler was seen at the address."""
    return not endpoint.is_ours and _pooler(endpoint) is not None


def sharing(endpoint: Endpoint) -> Way | None:
    """Return the pooler that was seen at the address, where it gives no session in some database."""
    pools = _found.get(_place(endpoint), {})
    return next((way for way in pools.values() if way.mode is Mode.TRANSACTION), None)


def note_direct(endpoint: Endpoint) -> None:
    """Remember that a backend itself answers at an address."""
    _found.setdefault(_place(endpoint), {})[endpoint.user, endpoint.database] = DIRECT


def find(
    endpoint: Endpoint,
    database: str | None,
    connection: psycopg2.extensions.connection,
    log_in: Callable[..., psycopg2.extensions.connection],
) -> Way:
    """Find out how a login reaches its backend, and remember it; nothing is set, locked or named.

    ``connection`` is in autocommit mode; ``log_in`` opens another one, with parameters of libpq's.

    Raises:
        psycopg2.Error: the server went away.
    """
    if (way := known(endpoint, database)) is not None:
        return way
    with connection.cursor() as cursor:
        cursor.execute(_SERVER)
        ((pid, host, port),) = cursor.fetchall()
    way = DIRECT
    if pid != connection.info.backend_pid:
        with closing(log_in(async_=1)) as other:
            mode = Mode.TRANSACTION if _shares(connection, other) else Mode.SESSION
        way = Way(mode, _reachable(host) or endpoint.host, port or 0)
    _found.setdefault(_place(endpoint), {})[endpoint.user, database or endpoint.database] = way
    return way


def session(
    endpoint: Endpoint,
    database: str | None,
    settings: Mapping[str, str],
    log_in: Callable[..., psycopg2.extensions.connection],
) -> psycopg2.extensions.connection:
    """Open a session with settings of its own. Nothing is sent with a login before it is known to be no pooler's.

    Through a pooler they are statements, because it takes no ``options``, and they are taken back at the end.

    Raises:
        RefusedError: a pooler gives no session.
        psycopg2.Error: the server refuses a setting, or went away.
    """
    way = known(endpoint, database)
    if way is None:
        with closing(log_in()) as connection:
            connection.autocommit = True
            way = find(endpoint, database, connection, log_in)
    if way.mode is Mode.TRANSACTION:
        raise refusal(endpoint, way)
    if way.mode is Mode.NONE:
        options = " ".join([endpoint.role_option, *[f"-c {name}={value}" for name, value in settings.items()]])
        connection = log_in(options=options, client_encoding="UTF8")
        connection.autocommit = True
        return connection
    connection = log_in(connection_factory=_cleaning())
    connection.autocommit = True
    try:
        connection.set_client_encoding("UTF8")
        role = {"role": endpoint.role} if endpoint.role is not None else {}
        with connection.cursor() as cursor:
            for each in {**settings, **role}.items():
                cursor.execute("SELECT set_config(%s, %s, false)", each)
    except BaseException:
        connection.close()
        raise
    return connection


def _shares(one: psycopg2.extensions.connection, other: psycopg2.extensions.connection) -> bool:
    """Whether two clients get one backend, or one of them gets another one than before: then none keeps its own.

    A pool that is idle gives the backend that was used last, or each in turn (``server_round_robin``): both show in
    the first round. Who has to wait for a backend waits behind all others, so one that is answered before has its own.
    """
    seen: set[int] = set()
    for _ in range(_ROUNDS):
        seen |= {_pid(one), _pid(one)}
        answer = _pid_soon(other)
        if len(seen) > 1 or answer in seen:
            return True
        if answer is None:
            seen.add(_pid(one))
            return len(seen) > 1
    return False


def _pid(connection: psycopg2.extensions.connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_BACKEND)
        return int(cursor.fetchall()[0][0])


def _pid_soon(connection: psycopg2.extensions.connection) -> int | None:
    """Return the backend of an asynchronous connection; None where it gets none in time."""
    deadline = time.monotonic() + _TURN
    if not wait(connection, _TURN):
        return None
    with connection.cursor() as cursor:
        cursor.execute(_BACKEND)
        return int(cursor.fetchall()[0][0]) if wait(connection, deadline - time.monotonic()) else None


def wait(connection: psycopg2.extensions.connection, seconds: float) -> bool:
    """Whether a connection that does not block is ready, now or within a time.

    Raises:
        psycopg2.Error: the server refused what it was asked, or went away.
    """
    from psycopg2.extensions import POLL_OK, POLL_WRITE

    deadline = time.monotonic() + seconds
    while (state := connection.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        here = [connection.fileno()]
        select.select([] if state == POLL_WRITE else here, here if state == POLL_WRITE else [], [], left)
    return True


def _reachable(host: str | None) -> str:
    """Return the address of a server as its pooler sees it, unless that is the pooler's own machine."""
    return "" if host is None or ipaddress.ip_address(host).is_loopback else host


def refusal(endpoint: Endpoint, way: Way) -> RefusedError:
    """Return the error for what needs a session, through a pooler that gives none."""
    return RefusedError(
        f"a connection pooler answers at {endpoint.address}, in transaction or statement mode: "
        "it gives a client no session of its own",
        evidence=[
            "two logins were answered by one backend of the server, or one login by several",
            "locks and settings would stay there for other clients, and two migrations would not wait for each other",
        ],
        next_step=f"write the address of the server itself into the spec: {advice(way)}",
    )


def advice(way: Way) -> str:
    """Return the line of the spec that leads past a pooler, with the address at which that reaches the server."""
    return f"`server: {{direct: {{host: {way.host}, port: {way.port or 5432}}}}}`"


def insist(endpoint: Endpoint) -> None:
    """Refuse to act through a pooler that gives no session, as far as one was seen.

    Raises:
        RefusedError: there is one.
    """
    if (way := sharing(endpoint)) is not None:
        raise refusal(endpoint, way)


def insist_on_server(endpoint: Endpoint, why: str) -> None:
    """Refuse what no pooler can do, in whatever mode; ``why`` is the rest of a sentence that begins with "the pooler".

    Raises:
        RefusedError: there is one.
    """
    if (way := _pooler(endpoint)) is not None:
        raise RefusedError(
            f"the pooler at {endpoint.address} {why}",
            next_step=f"write the address of the server itself into the spec: {advice(way)}",
        )


def _pooler(endpoint: Endpoint) -> Way | None:
    pools = _found.get(_place(endpoint), {})
    return next((way for way in pools.values() if way.mode is not Mode.NONE), None)


@cache
def _cleaning() -> Any:
    """Return the class of connections that leave nothing on a pooled backend, whatever its pooler does with it.

    https://www.postgresql.org/docs/current/sql-discard.html
    """
    import psycopg2
    from psycopg2.extensions import connection

    class Cleaning(connection):
        def close(self) -> None:
            if not self.closed:
                with suppress(psycopg2.Error):
                    self.rollback()
                    self.autocommit = True
                    with self.cursor() as cursor:
                        cursor.execute("DISCARD ALL")
            super().close()

    return Cleaning
