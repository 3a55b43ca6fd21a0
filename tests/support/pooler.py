"""PgBouncer of Debian in front of a server, in a mode of its own; its log tells what it was asked for."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provision.model import Endpoint

_SYSTEM_USER = "nobody"
_PATIENCE = 10.0


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer that runs; ``endpoint`` is the superuser's of the server behind it."""

    endpoint: Endpoint
    port: int
    log: Path

    def connect(self, database: str, **more: Any) -> Any:
        """Open a connection through it, in autocommit mode."""
        here = self.endpoint
        more = {"user": here.user, "password": here.password.reveal(), "connect_timeout": 20, **more}
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, dbname=database, **more)
        connection.autocommit = True
        return connection

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@contextmanager
def a_pooler(directory: Path, endpoint: Endpoint, mode: str, **more: Any) -> Iterator[Pooler]:
    """Have PgBouncer in front of a server; ``more`` are lines of its section ``[pgbouncer]``."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    if found is None:
        pytest.skip("pgbouncer is not installed (.ci/run installs it)")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    users, log, file = directory / "users.txt", directory / "pgbouncer.log", directory / "pgbouncer.ini"
    users.write_text(f"{_quoted(endpoint.user)} {_quoted(endpoint.password.reveal())}\n", encoding="utf-8")
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": users,
        "auth_user": endpoint.user,
        "pool_mode": mode,
        **more,
    }
    lines = ["[databases]", f"* = host={endpoint.host} port={endpoint.port}", "[pgbouncer]"]
    file.write_text("\n".join([*lines, *[f"{name} = {value}" for name, value in settings.items()], ""]))
    user = ("-u", _SYSTEM_USER) if os.geteuid() == 0 else ()
    with log.open("wb") as output:
        process = subprocess.Popen((found, *user, str(file)), stdout=output, stderr=output, cwd="/")
    try:
        _wait(port, process, log)
        yield Pooler(endpoint, port, log)
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
            return
        time.sleep(0.02)
    raise AssertionError(log.read_text(errors="replace"))
