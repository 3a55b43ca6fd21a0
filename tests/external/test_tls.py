"""What `sslmode` promises is kept: by the connections, the URL, psql, and by what a migration connects with."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg2
import pytest
from support.certificates import authority, signed
from support.foreign import a_foreign_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign

_HBA = """
local   all     all                 trust
host    all     all  127.0.0.1/32   trust
host    closed  all  all            reject
hostssl all     all  all            scram-sha-256
"""
_SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "/given/server.crt",
    "ssl_key_file": "/given/server.key",
    "hba_file": "/given/pg_hba.conf",
}


@dataclass(frozen=True)
class Secured:
    """A server that refuses logins without TLS, and the certificates of its authority and of a stranger."""

    server: Foreign
    authority: Path
    stranger: Path


@pytest.fixture(scope="module")
def secured(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    place = tmp_path_factory.mktemp("tls")
    trusted, stranger = authority(place, "authority"), authority(place, "stranger")
    signed(place, "authority", "server", "shop", "subjectAltName=IP:127.0.0.1")
    files = {name: (place / name).read_text() for name in ("server.crt", "server.key")}
    arguments = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with a_foreign_server(engine, 17, arguments=arguments, files={**files, "pg_hba.conf": _HBA}) as server:
        yield Secured(server, trusted, stranger)


def test_the_right_certificate_is_accepted_everywhere(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, sslmode="verify-full", sslrootcert=str(secured.authority))
    environment.migrations("customers").apply()
    environment.settled()
    url = environment.url
    assert url.endswith(f"?sslmode=verify-full&sslrootcert={secured.authority}")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == (True,)


@pytest.mark.parametrize("words", [("plan",), ("apply",), ("status",)])
def test_a_certificate_of_another_authority_is_refused(
    secured: Secured, environment: Environment, words: tuple[str, ...]
) -> None:
    secured.server.declare(environment, sslmode="verify-full", sslrootcert=str(secured.stranger))
    refused = environment.run(*words, code=69)
    assert "is not signed by the authority in `sslrootcert`" in refused.err
    assert "certificate verify failed" in refused.err


def test_a_certificate_for_another_name_is_refused(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, host="localhost", sslmode="verify-full", sslrootcert=str(secured.authority))
    assert "is for another name, so it is not trusted" in environment.run("apply", code=69).err
    environment.server(sslmode="verify-ca").apply()


def test_a_file_that_is_no_certificate(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, sslmode="verify-full", sslrootcert="./spec.yml")
    assert "the file in `sslrootcert` is not a certificate" in environment.run("apply", code=69).err


def test_a_missing_certificate_of_the_authority(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, sslmode="verify-full")
    refused = environment.run("apply", code=69, HOME="/nonexistent")
    assert "write `sslrootcert: ./ca.pem`" in refused.err


def test_without_tls_nobody_gets_in(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, sslmode="disable")
    refused = environment.run("apply", code=69)
    assert "does not let 'postgres' in without TLS from here" in refused.err


def test_a_server_that_does_not_let_us_in_at_all(secured: Secured, environment: Environment) -> None:
    secured.server.declare(environment, sslmode="require", database="closed")
    assert "does not let 'postgres' in from here" in environment.run("apply", code=69).err


def test_a_server_without_tls_is_refused_where_it_is_demanded(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, sslmode="require")
    refused = environment.run("apply", code=69)
    assert "does not speak TLS, and `sslmode: require` demands it" in refused.err


@pytest.mark.parametrize(("sslmode", "encrypted"), [("require", True), ("prefer", True), ("allow", False)])
def test_a_migration_connects_as_declared(
    secured: Secured,
    environment: Environment,
    sslmode: str,
    encrypted: bool,  # noqa: FBT001
) -> None:
    secured.server.engine.run(
        secured.server.name, "sh", "-c", "echo 'hostnossl all all all scram-sha-256' >> /given/pg_hba.conf"
    )
    secured.server.declare(environment, sslmode=sslmode).migrations("customers")
    revision = environment.directory / "migrations" / "versions" / "r1.py"
    seen = "CREATE TABLE seen AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    revision.write_text(revision.read_text().replace("def upgrade():", f'def upgrade():\n    op.execute("{seen}")'))
    secured.server.engine.run(secured.server.name, "sh", "-c", "kill -HUP 1")
    environment.apply()
    assert environment.query("SELECT ssl FROM seen") == [(encrypted,)]
