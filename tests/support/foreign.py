"""A PostgreSQL that provision knows nothing of: a container that a test starts and stops itself."""

from __future__ import annotations

import io
import socket
import tarfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from support.engine import Engine
    from support.environment import Environment

PASSWORD = "fo'reign @%/ pä"
_POSTGRES = 999  # the user id of the image's postgres
_TIMEOUT = 60


@dataclass(frozen=True)
class Foreign:
    """A server that runs, and its superuser's login."""

    engine: Engine
    name: str
    major: int
    port: int

    def execute(self, *statements: str, database: str = "postgres", user: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction of its own, and return the rows of the last."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=user, password=PASSWORD, dbname=database, connect_timeout=2
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def role(self, *options: str) -> str:
        """Make a role that logs in with the same password, and return its name."""
        name = f"r_{uuid4().hex[:8]}"
        quoted = PASSWORD.replace("'", "''")
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{quoted}' {' '.join(options)}")
        return name

    def declare(self, environment: Environment, **server: Any) -> Environment:
        """Have a spec for this server, with a database that no other test has."""
        environment.environ["PW"] = PASSWORD
        return environment.server(
            **{
                "runtime": "external",
                "image": f"postgres:{self.major}",
                "host": "127.0.0.1",
                "port": self.port,
                "database": f"shop_{environment.name[2:]}",
                "ready_timeout": "2s",
                **server,
            }
        )

    def restart(self) -> None:
        """Do what only its operator can."""
        self.engine.client.restart(self.name, timeout=20)
        self.wait()

    def wait(self) -> None:
        """Wait until it answers over TCP, which only the final server does."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg2.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


@contextmanager
def a_foreign_server(
    engine: Engine,
    major: int,
    *,
    arguments: Sequence[str] = ("-c", "fsync=off"),
    files: Mapping[str, str] | None = None,
    password: str = PASSWORD,
    ready: bool = True,
) -> Iterator[Foreign]:
    """Start a server; ``files`` (name → text) are copied to ``/given`` and belong to the image's user.

    Without ``ready`` it is handed out while it may still be starting, as the service of a pipeline is.
    """
    client, name = engine.client, f"t-foreign-{uuid4().hex[:8]}"
    port = _free_port()  # one of the engine's choice would be another one after a restart
    made = client.create_container(
        f"postgres:{major}",
        ["postgres", *arguments],
        name=name,
        environment={"POSTGRES_PASSWORD": password},
        ports=[5432],
        host_config=client.create_host_config(port_bindings={5432: ("127.0.0.1", port)}),
    )
    try:
        if files:
            client.put_archive(name, "/", _archive(files))
        client.start(name)
        found = Foreign(engine, name, major, port)
        if ready:
            found.wait()
        yield found
    finally:
        client.remove_container(made["Id"], force=True, v=True)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _archive(files: Mapping[str, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        directory = tarfile.TarInfo("given")
        directory.type, directory.mode, directory.uid = tarfile.DIRTYPE, 0o755, _POSTGRES
        archive.addfile(directory)
        for name, text in files.items():
            each = tarfile.TarInfo(f"given/{name}")
            each.size, each.mode, each.uid, each.gid = len(text.encode()), 0o600, _POSTGRES, _POSTGRES
            archive.addfile(each, io.BytesIO(text.encode()))
    return stream.getvalue()
