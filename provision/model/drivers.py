"""How drivers want the address of a server and the login: one URL, written in the way that each of them reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from provision.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SQLALCHEMY: Final = "psycopg psycopg2 psycopg2cffi psycopg_async asyncpg pg8000"
"""https://docs.sqlalchemy.org/en/20/dialects/postgresql.html"""
_PLAIN: Final = "libpq pg node-postgres postgres.js prisma pgx pq sqlx tokio-postgres ecto"
"""What reads a URL as libpq does: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS"""
JDBC: Final = "jdbc"
"""https://jdbc.postgresql.org/documentation/use/#connecting-to-the-database"""
DRIVERS: Final = (*_SQLALCHEMY.split(), JDBC, *_PLAIN.split())
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


def url(
    driver: str | None, where: Mapping[str, str | int], *, password: str, sslmode: str, sslrootcert: Path | None
) -> str:
    """Return a URL, percent-encoded; ``password`` is encoded already, or a mask.

    ``where`` has the ``host``, the ``port``, the ``user`` and the ``database``.

    Raises:
        UsageError: the driver is not known, or its URL cannot say how TLS is used.
    """
    if driver is not None:
        check(driver)
    user, database, name = (quote(str(where[each]), safe="") for each in ("user", "database", "host"))
    host = f"[{quote(str(where['host']), safe=':')}]" if ":" in str(where["host"]) else name
    given = _tls(driver, sslmode, sslrootcert) if sslmode != _DEFAULT_TLS else {}
    if driver == JDBC:
        query = "&".join(f"{key}={each}" for key, each in {"user": user, "password": password, **given}.items())
        return f"jdbc:postgresql://{host}:{where['port']}/{database}?{query}"
    query = "&".join(f"{key}={each}" for key, each in given.items())
    scheme = f"postgresql+{driver}" if driver in _SQLALCHEMY.split() else "postgresql"
    return f"{scheme}://{user}:{password}@{host}:{where['port']}/{database}{f'?{query}' if query else ''}"


def _tls(driver: str | None, sslmode: str, sslrootcert: Path | None) -> dict[str, str]:
    """Return the parameters for TLS; asyncpg takes the certificate from PGSSLROOTCERT."""
    if driver == _WITHOUT_TLS:
        raise UsageError(
            f"the URL of {driver} cannot say how TLS is used, and the spec has `sslmode: {sslmode}`",
            next_step="--driver psycopg",
        )
    if driver == "asyncpg":
        return {"ssl": sslmode}
    return {"sslmode": sslmode, **({"sslrootcert": quote(str(sslrootcert))} if sslrootcert else {})}
