"""Many databases to the head: ours, plain Alembic for one after another in one process, and a process for each.

CPU counts, of the client and of the server together: what runs side by side is not cheaper for it. The server runs
without durability, so that no disk is measured. What is measured is a tenant's share, with the start of the programs.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.embedded import Embedded
from bench.peers import PASSWORD, Provision

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "200 databases, 20 revisions, CPU of each"
LOOP, EACH = "alembic in one process", "alembic each"
COUNT, REVISIONS = 200, 20
FEW = 20
"""Of those that get a process each, which takes minutes for all."""
_SETTINGS = "  settings: {fsync: off, synchronous_commit: off, full_page_writes: off}\n"
DATABASES, SCHEMAS, SCHEMA = "200 databases", "200 schemas", "1 schema"
TENANTS = {
    DATABASES: """databases: {query: "SELECT datname FROM pg_database WHERE datname LIKE 'shop\\\\_%'"}""",
    SCHEMAS: """schemas: {query: "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'shop\\\\_%'"}""",
    SCHEMA: "schemas: [shop_000]",
}
NOTHING = f"nothing to do, {DATABASES}", f"nothing to do, {SCHEMAS}"
ALLOWED, SECONDS = "2 s", 2.0
"""What nothing to do for all databases may take."""
_IN_ONE_PROCESS = """
import sys
from alembic import command
from alembic.config import Config

for url in sys.argv[2:]:
    config = Config(sys.argv[1])
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
"""
_TICKS = os.sysconf("SC_CLK_TCK")


class Tenants:
    """A server with many empty databases, and what brings them to the head."""

    def __init__(self, directory: Path, tree: Path, port: int) -> None:
        self._ours = Embedded(directory, tree, "", port)
        self._tree, self._port, self._directory = tree, port, directory
        self.apply, self.destroy = self._ours.apply, self._ours.finish

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what is measured, by its name."""
        return {Provision.name: self.apply, LOOP: self._loop, EACH: self._each}

    def start(self) -> None:
        """Make the server with as many schemas, and have the spec declare the databases from now on."""
        spec = self._directory / "spec.yml"
        text = spec.read_text()
        spec.write_text(text.replace("\nserver:\n", f"\nserver:\n{_SETTINGS}", 1))
        self.apply()
        with closing(self._connect("app")) as connection, connection.cursor() as cursor:
            for name in self._names:
                cursor.execute(f"CREATE SCHEMA {name}")
        self._without = spec.read_text().replace(
            f"{{script_location: {self._tree}}}", f"\n  script_location: {self._tree}"
        )
        self.declare(DATABASES)

    def declare(self, tenants: str) -> None:
        """Have the spec declare other tenants."""
        (self._directory / "spec.yml").write_text(f"{self._without}  tenants:\n    {TENANTS[tenants]}\n")

    def empty(self) -> None:
        """Make the databases again, empty."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            for name in self._names:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                cursor.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
            cursor.execute("CHECKPOINT")

    def cpu(self, name: str, action: Callable[[], None]) -> float:
        """Return the CPU seconds that an action takes for one database, here and in the server."""
        before = self._spent()
        action()
        time.sleep(0.5)  # sessions that have just been closed end
        return (self._spent() - before) / (FEW if name == EACH else COUNT)

    def _spent(self) -> float:
        with closing(self._connect()) as connection:
            leader = int(Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()[1])
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime + _of_server(leader)

    def _loop(self) -> None:
        self._run(sys.executable, "-c", _IN_ONE_PROCESS, str(self._tree / "alembic.ini"), *map(self._url, self._names))

    def _each(self) -> None:
        program = str(Path(sys.executable).with_name("alembic"))
        for name in self._names[:FEW]:
            self._run(program, "-c", str(self._tree / "alembic.ini"), "upgrade", "head", DATABASE_URL=self._url(name))

    def _run(self, *argv: str, **more: str) -> None:
        subprocess.run(argv, check=True, capture_output=True, env={**os.environ, **more})

    @property
    def _names(self) -> list[str]:
        return [f"shop_{number:03}" for number in range(COUNT)]

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{self._port}/{name}"

    def _connect(self, database: str = "postgres") -> Any:
        import psycopg2

        login = {"host": "127.0.0.1", "port": self._port, "user": "postgres", "password": PASSWORD}
        connection = psycopg2.connect(dbname=database, **login)
        connection.autocommit = True
        return connection


def _of_server(leader: int) -> float:
    """Return the CPU seconds of a server so far: its first process, those that have ended, and those that run."""
    found = 0
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                values = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(path.name) == leader:
                found += sum(map(int, values[11:15]))
            elif int(values[1]) == leader:
                found += sum(map(int, values[11:13]))
    return found / _TICKS
