"""A project whose tests use the plugin, and pytest run on it as its developer would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from provision.system.waiting import attempts
from support.environment import ENV

if TYPE_CHECKING:
    from collections.abc import Mapping

_REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "r1", None


def upgrade():
    for number in range(20):
        op.create_table(f"t{number}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(200)))


def downgrade():
    raise NotImplementedError
"""
_TIMEOUT = 240
COMMITS = """
import psycopg2
import pytest


@pytest.mark.parametrize("number", range({count}))
def test_each(database_url, number):
    connection = psycopg2.connect(database_url)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO t0 (name) VALUES ('x')")
    connection.commit()
    cursor.execute("SELECT count(*) FROM t0")
    assert cursor.fetchone() == (1,)
    connection.close()
"""
"""Tests that each commit a row, and see that it is the only one."""
FIXTURES = """
import asyncio

import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

ADD, COUNT = "INSERT INTO t0 (name) VALUES ('x')", "SELECT count(*) FROM t0"


@pytest.mark.parametrize("driver", [psycopg2, psycopg, psycopg])
def test_each_has_its_own(database_url, driver):
    connection = driver.connect(database_url)
    cursor = connection.cursor()
    cursor.execute(ADD)
    connection.commit()
    cursor.execute("SELECT count(*), current_user, current_setting('work_mem'), current_setting('autovacuum') FROM t0")
    assert cursor.fetchone() == (1, "app", "9MB", "off")
    connection.close()


@pytest.mark.parametrize("number", [1, 2])
def test_asyncpg(database_url, number):
    async def go():
        connection = await asyncpg.connect(database_url)
        await connection.execute(ADD)
        found = await connection.fetchval(COUNT)
        await connection.close()
        return found

    assert asyncio.run(go()) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_async_engine(async_engine, async_database_url, number):
    assert async_engine.url.drivername == async_database_url.partition(":")[0] == "postgresql+asyncpg"

    async def go():
        async with async_engine.begin() as connection:
            await connection.execute(sa.text(ADD))
            return await connection.scalar(sa.text(COUNT))

    assert asyncio.run(go()) == 1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_a_session_commits_is_rolled_back(db_connection, number):
    with Session(db_connection) as session:
        session.execute(sa.text(ADD))
        session.commit()
        session.execute(sa.text(ADD))
        session.rollback()
    assert db_connection.scalar(sa.text(COUNT)) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_commit_costs_a_new_database(db_connection, number):
    db_connection.execute(sa.text(ADD))
    db_connection.commit()
    assert db_connection.scalar(sa.text(COUNT)) == 1


def test_all_lead_to_the_same(database_url, async_engine, db_engine, db_connection):
    with db_engine.connect() as connection:
        name = connection.scalar(sa.text("SELECT current_database()"))
    assert name == db_connection.scalar(sa.text("SELECT current_database()")) == async_engine.url.database
    assert database_url.endswith(name)


def test_one_more(provision_env, database_url):
    with provision_env.clone() as clone:
        assert clone.url != database_url
        psycopg2.connect(clone.url).close()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(clone.url)
    assert provision_env.status().server == "running"


def test_nothing_is_needed():
    pass
"""
"""15 tests, with each fixture and driver."""


class Suite:
    """A directory with a spec of 20 tables and files of tests."""

    def __init__(self, directory: Path, name: str, **server: Any) -> None:
        self.directory, self.name, self.python = directory, name, Path(sys.executable)
        versions = directory / "migrations" / "versions"
        versions.mkdir(parents=True)
        (versions.parent / "env.py").write_text(ENV)
        (versions / "r1.py").write_text(_REVISION)
        self.environ = {key: text for key, text in os.environ.items() if not key.startswith(("PYTEST", "PG", "CI"))}
        self.document: dict[str, Any] = {
            "name": name,
            "server": {"port": "auto", **server},
            "roles": {"app": {"login": True}},
            "databases": {"shop": {"owner": "app", "settings": {"work_mem": "9MB"}, "connect": ["app"]}},
            "migrations": {"script_location": "./migrations", "as": "app"},
        }
        self.write("provision.yml", yaml.safe_dump(self.document))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def begin(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start pytest, in a process group of its own, and do not wait for it."""
        return subprocess.Popen(
            (self.python, "-m", "pytest", "-p", "no:cacheprovider", *words),
            cwd=self.directory,
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, passed: int | None = None, code: int = 0, **environ: str) -> str:
        """Run pytest and return what it printed; so many tests must have ``passed``."""
        done = self.begin(*words, **environ)
        out, _ = done.communicate(timeout=_TIMEOUT)
        assert done.returncode == code, out
        if passed is not None:
            assert re.search(rf"\b{passed} passed\b", out), out
        return out

    def homes(self) -> list[str]:
        """Return what there is in ``.provision/``."""
        place = self.directory / ".provision"
        return sorted(each.name for each in place.iterdir()) if place.is_dir() else []

    def has_begun(self, seconds: float = 60) -> None:
        """Wait until a database for a test was made."""
        for _ in attempts(seconds, 0.1):
            if any(state.stat().st_size for state in self.directory.glob(".provision/*-tests/*.run")):
                return
        raise AssertionError(self.homes())


def processes(text: str) -> Mapping[int, str]:
    """Return the processes of this machine whose command line has a text."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found[int(path.parent.name)] = line
    return found
