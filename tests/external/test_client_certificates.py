"""A client certificate in place of a password, or beside one, is shown by everything that connects."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.certificates import authority, openssl, signed
from support.foreign import PASSWORD, a_foreign_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign

_HBA = """
local   all  all                   trust
host    all  all    127.0.0.1/32   trust
hostssl all  plain  all            scram-sha-256
hostssl all  paired all            scram-sha-256 clientcert=verify-ca
hostssl all  all    all            cert
"""
_SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "/given/server.crt",
    "ssl_key_file": "/given/server.key",
    "ssl_ca_file": "/given/authority.crt",
    "hba_file": "/given/pg_hba.conf",
}


@dataclass(frozen=True)
class Guarded:
    """A server that asks for client certificates, and a directory with those of its authority and of a stranger."""

    server: Foreign
    place: Path

    def declare(
        self, environment: Environment, user: str, name: str = "", password: str | None = None, **more: Any
    ) -> Environment:
        """Have a spec that logs in as a user with the certificate of a name."""
        shown = {f"ssl{kind}": str(self.place / f"{name}.{end}") for kind, end in (("cert", "crt"), ("key", "key"))}
        self.server.declare(environment, host="127.0.0.1", sslmode="verify-full", **(shown if name else {}), **more)
        return environment.server(
            sslrootcert=str(self.place / "authority.crt"), credentials={"user": user, "password": password}
        )


@pytest.fixture(scope="module")
def guarded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    place = tmp_path_factory.mktemp("certificates")
    authority(place, "authority")
    authority(place, "stranger")
    signed(place, "authority", "server", "shop", "subjectAltName=IP:127.0.0.1")
    signed(place, "authority", "postgres", "postgres")
    signed(place, "stranger", "unknown", "postgres")
    files = {name: (place / name).read_text() for name in ("server.crt", "server.key", "authority.crt")}
    arguments = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with a_foreign_server(engine, 15, arguments=arguments, files={**files, "pg_hba.conf": _HBA}, ready=False) as server:
        _roles(server)
        yield Guarded(server, place)


def _roles(server: Foreign) -> None:
    """Make the roles, by the server's own socket: from here it lets nobody in without a certificate."""
    quoted = PASSWORD.replace("'", "''")
    sql = "".join(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{quoted}';" for name in ("plain", "paired"))
    ready = "until pg_isready -qh 127.0.0.1; do sleep 0.1; done"
    said = server.engine.run(server.name, "bash", "-c", f'{ready}; psql -qU postgres -h 127.0.0.1 -c "$1"', "-", sql)
    assert said == "", said


def test_a_certificate_is_all_that_a_login_needs(guarded: Guarded, environment: Environment) -> None:
    guarded.declare(environment, "postgres", "postgres").migrations("customers").apply()
    environment.settled()
    url = environment.url
    assert url.startswith("postgresql://postgres@127.0.0.1:")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchone() == ("/CN=postgres",)
    counted = environment.run("psql", "spec.yml", "--", "-Atc", "SELECT count(*) FROM customers", spec=False)
    assert counted.out == "0\n"
    exported = environment.run("env").out
    assert f"PGSSLCERT={guarded.place}/postgres.crt" in exported
    assert f"PGSSLKEY={guarded.place}/postgres.key" in exported
    script = "import psycopg2; print(psycopg2.connect('').info.user)"
    ran = environment.run("run", "spec.yml", "--", sys.executable, "-c", script, spec=False)
    assert ran.out == "postgres\n"
    script = "import asyncio, asyncpg\nasync def f():\n print((await asyncpg.connect())._params.user)\nasyncio.run(f())"
    ran = environment.run("run", "spec.yml", "--", sys.executable, "-c", script, spec=False)
    assert ran.out == "postgres\n", "asyncpg finds the certificate in the environment"
    made = environment.run("backup", "make", code=None)
    assert made.code == 0 or "was built without TLS" in made.err, "the one of the wheel was"


def test_a_certificate_beside_a_password(guarded: Guarded, environment: Environment) -> None:
    guarded.declare(environment, "paired", "postgres", password="${PW}").migrations("customers").apply()
    environment.settled()
    refused = environment.server(sslcert=None, sslkey=None).run("apply", code=69)
    assert "asks 'paired' for a client certificate" in refused.err
    assert "write `sslcert: ./client.crt` and `sslkey: ./client.key`" in refused.err


def test_a_certificate_for_another_role_and_one_of_another_authority(
    guarded: Guarded, environment: Environment
) -> None:
    refused = guarded.declare(environment, "plainer", "postgres").run("plan", code=69)
    assert "the certificate in `sslcert` is for another name than 'plainer'" in refused.err
    refused = guarded.declare(environment, "postgres", "unknown").run("plan", code=69)
    assert "does not accept the certificate in `sslcert`" in refused.err


def test_keys_that_cannot_be_used(guarded: Guarded, environment: Environment) -> None:
    guarded.declare(environment, "postgres", "postgres")
    key = environment.directory / "client.key"
    shutil.copy(guarded.place / "postgres.key", key)
    key.chmod(0o644)
    refused = environment.server(sslkey="./client.key").run("apply", code=69)
    assert "others may read the private key in `sslkey`" in refused.err
    assert f"next: chmod 600 {key}" in refused.err
    key.chmod(0o600)
    environment.apply()

    openssl(environment.directory, "pkey", "-aes256", "-passout", "pass:x", "-in", "client.key", "-out", "hidden.key")
    os.chmod(environment.directory / "hidden.key", 0o600)  # noqa: PTH101  # as the others
    refused = environment.server(sslkey="./hidden.key").run("plan", code=69)
    assert "is not a private key without a passphrase" in refused.err
    refused = environment.server(sslkey=str(guarded.place / "unknown.key")).run("plan", code=69)
    assert "does not belong to the certificate" in refused.err
    refused = environment.server(sslcert="./spec.yml", sslkey="./client.key").run("plan", code=69)
    assert "the file in `sslcert` is not a certificate" in refused.err


def test_channel_binding_options_and_keepalives_hold_everywhere(guarded: Guarded, environment: Environment) -> None:
    guarded.declare(environment, "plain", password="${PW}", channel_binding="require", connect_timeout="4s")
    environment.server(options="-c work_mem=7MB -c statement_timeout=4321", keepalives_idle="77s").migrations("seen")
    revision = environment.directory / "migrations" / "versions" / "r1.py"
    seen = "CREATE TABLE work AS SELECT current_setting('work_mem')"
    revision.write_text(revision.read_text().replace("def upgrade():", f'def upgrade():\n    op.execute("{seen}")'))
    environment.apply()
    environment.settled()
    assert environment.run("psql", "spec.yml", "--", "-Atc", "TABLE work; SHOW work_mem", spec=False).out.split() == [
        "7MB",
        "7MB",
    ]
    with closing(psycopg2.connect(environment.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("4321ms",)
        assert connection.get_dsn_parameters()["keepalives_idle"] == "77"
    exported = environment.run("env").out
    assert "PGCHANNELBINDING=require" in exported
    assert "PGCONNECT_TIMEOUT=4" in exported
    refused = guarded.declare(environment, "postgres", "postgres", channel_binding="require").run("plan", code=69)
    assert "`channel_binding: require` does not hold" in refused.err
