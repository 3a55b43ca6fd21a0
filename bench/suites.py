"""Test suites of 200 tests, a database each: ours and pytest-postgresql's template databases, on the same server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bench.peers import PASSWORD, run

TESTS = 200
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "provision-bench"
_PEER = "pytest-postgresql>=8"
_WAITS = re.compile(r"waited for ([\d.]+) ms \(median\), (\d+) ms at most")

_COMMITS = """
import psycopg
import pytest


@pytest.mark.parametrize("number", range(%d))
def test_each(database_url, number):
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO t0001 (name) VALUES ('x')")
        connection.commit()
        assert connection.execute("SELECT count(*) FROM t0001").fetchone() == (1,)
"""
_ROLLED_BACK = """
import pytest
from sqlalchemy import text


@pytest.mark.parametrize("number", range(%d))
def test_each(db_connection, number):
    db_connection.execute(text("INSERT INTO t0001 (name) VALUES ('x')"))
    assert db_connection.scalar(text("SELECT count(*) FROM t0001")) == 1
"""
_PEERS = """
import pytest


@pytest.mark.parametrize("number", range(%d))
def test_each(database, number):
    database.execute("INSERT INTO t0001 (name) VALUES ('x')")
    database.commit()
    assert database.execute("SELECT count(*) FROM t0001").fetchone() == (1,)
"""
_PEERS_CONFTEST = """
import os

from alembic import command
from alembic.config import Config
from pytest_postgresql import factories


def migrate(host, port, user, dbname, password, **_):
    config = Config(os.environ["BENCH_TREE"] + "/alembic.ini")
    config.set_main_option("sqlalchemy.url", f"postgresql+psycopg://{user}:{password}@{host}:{port}/{dbname}")
    command.upgrade(config, "head")


made = factories.postgresql_noproc(load=[migrate])
database = factories.postgresql("made")
"""


class Suites:
    """One project with both suites, and a server in which they are run in turn."""

    def __init__(self, directory: Path, tree: Path, image: str, port: int) -> None:
        self._directory, self._tree, self._port = directory, tree, port
        self._provision = Path(sys.executable).with_name("provision")
        directory.mkdir()
        common = f"credentials: {{user: postgres, password: {PASSWORD}}}\n  database: app\n"
        migrations = f"migrations: {{script_location: {tree}}}\n"
        self._server = self._write(
            "server/provision.yml",
            f"name: bench-suites-{tree.name}\nserver:\n  image: {image}\n  port: {port}\n  runtime: docker\n"
            f"  settings: {{autovacuum: off}}\n  data: {{ephemeral: true}}\n  {common}",
        )
        self._spec = self._write(
            "ours/provision.yml",
            f"name: bench-suites-{tree.name}-tests\nserver:\n  image: {image}\n  port: {port}\n  host: 127.0.0.1\n"
            f"  runtime: external\n  {common}{migrations}",
        )
        self._write(
            "alone/provision.yml",
            f"name: bench-suites-{tree.name}-own\nserver:\n  image: {image}\n  port: auto\n  runtime: docker\n"
            f"  {common}{migrations}",
        )
        for name in ("ours", "alone"):
            self._write(f"{name}/test_commits.py", _COMMITS % TESTS)
            self._write(f"{name}/test_rolled_back.py", _ROLLED_BACK % TESTS)
            self._write(f"{name}/pytest.ini", "[pytest]\n")
        self._write("theirs/test_commits.py", _PEERS % TESTS)
        self._write("theirs/conftest.py", _PEERS_CONFTEST)
        self._write("theirs/pytest.ini", "[pytest]\n")
        self.waits: dict[str, str] = {}

    def _write(self, name: str, text: str) -> Path:
        path = self._directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def start(self) -> None:
        """Start the server."""
        run(self._provision, "apply", self._server)

    def destroy(self) -> None:
        """Remove the server."""
        run(self._provision, "destroy", "--data", "--yes", self._server)

    def forget(self) -> None:
        """Drop the template that an earlier run has left in the server."""
        run(self._provision, "clone", "--drop", "--all", self._spec)

    def ours(self, suite: str, directory: str = "ours") -> None:
        """Run a suite with ours."""
        out = self._pytest(Path(sys.executable), directory, suite, "provision.testing.plugin")
        if found := _WAITS.search(out):
            self.waits[f"{directory}/{suite}"] = found[0]

    def theirs(self) -> None:
        """Run the suite with theirs."""
        self._pytest(
            peer(),
            "theirs",
            "test_commits.py",
            "pytest_postgresql.plugin",
            f"--postgresql-port={self._port}",
            "--postgresql-host=127.0.0.1",
            "--postgresql-user=postgres",
            f"--postgresql-password={PASSWORD}",
        )

    def _pytest(self, python: Path, directory: str, suite: str, plugin: str, *more: str) -> str:
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            (str(python), "-m", "pytest", "-v", "-p", plugin, *more, suite),
            cwd=self._directory / directory,
            env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "BENCH_TREE": str(self._tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        if f"{TESTS} passed" not in done.stdout:
            raise SystemExit(f"{plugin}: {done.stdout}{done.stderr}")
        return done.stdout


def peer() -> Path:
    """Return the Python that has pytest-postgresql, in an environment that is made once."""
    return _CACHE / "pytest-postgresql" / "bin" / "python"


def is_available() -> bool:
    """Whether pytest-postgresql is there, or can be installed."""
    if peer().exists():
        return True
    place = peer().parents[1]
    install = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", _PEER, "psycopg[binary]", "alembic")
    for argv in ((sys.executable, "-m", "venv", "--clear", str(place)), (str(peer()), *install)):
        if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
            print(f"pytest-postgresql cannot be installed into {place}: its column is left out", file=sys.stderr)
            return False
    return True
