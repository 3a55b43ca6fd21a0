"""How drivers want the address of a server and the login: one URL, written in the way that each of them reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from provision.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SQLALCHEMY: Final = "psycopg psycopg2 psycopg2cffi psycopg_async asyncpg pg8000"
"""https://docs.sqlalchemy.org/en/20/dialects/postgresql.html"""
_PLAIN: Final = "libpq pg node-postgres postgres.js prisma pgx pq sqlx tokio-postgres ecto"
"""What reads a URL as libpq does: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS"""
JDBC: Final = "jdbc"
"""https://jdbc.postgresql.org/documentation/use/#connecting-to-the-database"""
DRIVERS: Final = (*_SQLALCHEMY.split(), JDBC, *_PLAIN.split())
_OF_LIBPQ: Final = (None, "libpq", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async")
_OF_TLS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_DEFAULT_TLS: Final = "prefer"
_WITHOUT_TLS: Final = "pg8000"


def check(driver: str) -> None:
    """Refuse a driver that is not known.

    Raises:
        UsageError: it is not; the error lists those that are.
    """
    if driver in DRIVERS:
        return
    from difflib import get_close_matches

    near = get_close_matches(driver.lower().removeprefix("postgresql+"), DRIVERS, n=1)
    raise UsageError(
        f"no driver {driver!r} is known",
        evidence=[
            f"for SQLAlchemy: {', '.join(_SQLALCHEMY.split())}",
            f"for Java: {JDBC}",
            f"postgresql://…, as without a driver: {', '.join(_PLAIN.split())}",
        ],
        next_step=f"--driver {near[0] if near else DRIVERS[0]}",
    )


def url(driver: str | None, where: Mapping[str, str | int], given: Mapping[str, str], *, password: str) -> str:
    """Return a URL, percent-encoded; ``password`` is encoded already, or a mask, or empty: there is none.

    ``where`` has the ``host``, the ``port``, the ``user`` and the ``database``; ``given`` are libpq's parameters.

    Raises:
        UsageError: the driver is not known, or its URL cannot say how TLS is used.
    """
    if driver is not None:
        check(driver)
    user, database, name = (quote(str(where[each]), safe="") for each in ("user", "database", "host"))
    host = f"[{quote(str(where['host']), safe=':')}]" if ":" in str(where["host"]) else name
    login = {"user": user, **({"password": password} if password else {})}
    more = _parameters(driver, given)
    if driver == JDBC:
        query = "&".join(f"{key}={each}" for key, each in {**login, **more}.items())
        return f"jdbc:postgresql://{host}:{where['port']}/{database}?{query}"
    query = "&".join(f"{key}={each}" for key, each in more.items())
    scheme = f"postgresql+{driver}" if driver in _SQLALCHEMY.split() else "postgresql"
    return f"{scheme}://{':'.join(login.values())}@{host}:{where['port']}/{database}{f'?{query}' if query else ''}"


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
