"""How drivers want the address of a server and the login: one URL, written in the way that each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from provision.errors import UsageError

_SQLALCHEMY: Final = "psycopg psycopg2 psycopg2cffi psycopg_async asyncpg pg8000"
"""https://docs.sqlalchemy.org/en/20/dialects/postgresql.html"""
_PLAIN: Final = "libpq pg node-postgres postgres.js prisma pgx pq sqlx tokio-postgres ecto"
"""What reads a URL as libpq does: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS"""
JDBC: Final = "jdbc"
"""https://jdbc.postgresql.org/documentation/use/#connecting-to-the-database"""
DRIVERS: Final = (*_SQLALCHEMY.split(), JDBC, *_PLAIN.split())
_OF_LIBPQ: Final = (None, "libpq", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async")
_OF_TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_OF_SEVERAL: Final = frozenset(("libpq", "postgres.js", "pgx", "tokio-postgres"))
"""Those of them that take several hosts in a URL, and ``target_session_attrs``."""
_DEFAULT_TLS: Final = "prefer"
_WITHOUT_TLS: Final = "pg8000"
_ALIKE: Final = 0.7


class Where(NamedTuple):
    """What a URL leads to; of several hosts it is the one that takes writes."""

    places: tuple[tuple[str, int], ...]
    user: str
    database: str


def check(driver: str, option: str = "--driver ") -> None:
    """Refuse a driver that is not known; ``option`` is how one is named.

    Raises:
        UsageError: it is not; the error lists those that are.
    """
    if driver in DRIVERS:
        return
    from difflib import get_close_matches

    near = get_close_matches(driver.lower().removeprefix("postgresql+"), DRIVERS, n=1, cutoff=_ALIKE)
    raise UsageError(
        f"no driver {driver!r} is known",
        evidence=[
            f"for SQLAlchemy: {', '.join(_SQLALCHEMY.split())}",
            f"for Java: {JDBC}",
            f"postgresql://…, as without a driver: {', '.join(_PLAIN.split())}",
        ],
        next_step=f"{option}{near[0] if near else DRIVERS[0]}",
    )


def url(driver: str | None, where: Where, given: Mapping[str, str], *, password: str) -> str:
    """Return a URL, percent-encoded; ``password`` is encoded already, or a mask, or empty: there is none.

    ``given`` are libpq's parameters.

    Raises:
        UsageError: the driver is not known, or its URL cannot say how TLS is used, or name several hosts.
    """
    if driver is not None:
        check(driver)
    user, database = (quote(each, safe="") for each in (where.user, where.database))
    login = {"user": user, **({"password": password} if password else {})}
    hosts, more = _hosts(driver, where.places)
    more |= _parameters(driver, given)
    if driver == JDBC:
        query = "&".join(f"{key}={each}" for key, each in {**login, **more}.items())
        return f"jdbc:postgresql://{hosts}/{database}?{query}"
    query = "&".join(f"{key}={each}" for key, each in more.items())
    scheme = f"postgresql+{driver}" if driver in _SQLALCHEMY.split() else "postgresql"
    return f"{scheme}://{':'.join(login.values())}@{hosts}/{database}{f'?{query}' if query else ''}"


def _host(name: str) -> str:
    return f"[{quote(name, safe=':')}]" if ":" in name else quote(name, safe="")


def _hosts(driver: str | None, places: tuple[tuple[str, int], ...]) -> tuple[str, dict[str, str]]:
    """Return what is written as the host of a URL; of several, also the parameters that lead to the one for writes.

    https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#specifying-multiple-fallback-hosts
    https://jdbc.postgresql.org/documentation/use/#connection-fail-over
    """
    hosts = ",".join([f"{_host(name)}:{port}" for name, port in places])
    if len(places) == 1:
        return hosts, {}
    if driver == JDBC:
        return hosts, {"targetServerType": "primary"}
    attrs = {"target_session_attrs": "read-write"}
    if driver is None or driver in _OF_SEVERAL:
        return hosts, attrs
    if driver not in _SQLALCHEMY.split() or driver == _WITHOUT_TLS:
        one = f"the URL of {driver} names one host, and the spec has {len(places)} in `server.hosts`"
        more = "or put a proxy before the cluster, such as HAProxy, and write its address as `server.host`"
        raise UsageError(
            one, evidence=[hosts], next_step=f"--driver {'psycopg' if driver == 'pg8000' else 'libpq'}; {more}"
        )
    names, ports = ",".join([quote(name, safe=":") for name, _ in places]), ",".join([str(port) for _, port in places])
    return "", {"host": names, "port": ports, **attrs}


def _parameters(driver: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """Return what a URL says of a connection, percent-encoded: of libpq's parameters those that the driver has.

    Other drivers than libpq's take what they do not know for a setting of the server. asyncpg takes certificates from
    the environment.
    """
    found = {name: value for name, value in given.items() if value}
    if found.get("sslmode") == _DEFAULT_TLS:
        del found["sslmode"]
    if driver == _WITHOUT_TLS and "sslmode" in found:
        raise UsageError(
            f"the URL of {driver} cannot say how TLS is used, and the spec has `sslmode: {found['sslmode']}`",
            next_step="--driver psycopg",
        )
    if driver == "asyncpg":
        found = {"ssl": found["sslmode"]} if "sslmode" in found else {}
    elif driver not in _OF_LIBPQ:
        found = {name: value for name, value in found.items() if name in _OF_TLS}
    return {name: quote(value, safe="/") for name, value in found.items()}
