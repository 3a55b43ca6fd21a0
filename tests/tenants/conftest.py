"""One server for the tests of tenants, in which each test makes databases or schemas of its own."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory
from support.environment import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENV = """
import sqlalchemy as sa
from alembic import context

with sa.create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = '''"""step {number}"""
import os
from alembic import op

revision, down_revision = "{number:04}", {before}


def upgrade():
    op.execute("CREATE TABLE IF NOT EXISTS ran (revision text)")
    op.execute("INSERT INTO ran VALUES ('{number:04}')")
    if os.path.exists("slow"):
        op.execute("SELECT pg_sleep(60)")
    {more}


def downgrade():
    op.execute("DELETE FROM ran WHERE revision = '{number:04}'")
'''


class Tenants:
    """Databases or schemas of one server, and the tree that is for them."""

    def __init__(self, environment: Embedded) -> None:
        self.environment = environment
        self._login = environment.connection().info.dsn_parameters

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements in autocommit mode, and return the rows of the last."""
        with closing(self.connect(database or self._login["dbname"])) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str) -> Any:
        """Open a connection in autocommit mode."""
        login = {key: self._login[key] for key in ("host", "port", "user")}
        connection = psycopg2.connect(**login, password=PASSWORD, dbname=database)
        connection.autocommit = True
        return connection

    def tree(self, revisions: int, *, text: str = _ENV, more: str = "pass", **keys: Any) -> Embedded:
        """Write a tree; ``more`` is a statement of its last revision, ``keys`` are those of ``migrations``."""
        versions = self.environment.directory / "migrations" / "versions"
        shutil.rmtree(versions, ignore_errors=True)  # of another test
        versions.mkdir(parents=True)
        (versions.parent / "env.py").write_text(text)
        for number in range(1, revisions + 1):
            before = f'"{number - 1:04}"' if number > 1 else None
            revision = _REVISION.format(number=number, before=before, more=more if number == revisions else "pass")
            (versions / f"r{number}.py").write_text(revision)
        self.environment.declare(migrations=None)
        return self.environment.declare(migrations={"script_location": "./migrations", **keys})  # type: ignore[return-value]

    def databases(self, count: int, prefix: str) -> list[str]:
        """Make databases."""
        names = [f"{prefix}_{number:03}" for number in range(count)]
        self.execute(*[f"CREATE DATABASE {name} STRATEGY FILE_COPY" for name in names])
        return names

    def ran(self, name: str) -> list[str]:
        """Return what ran in a database, in order."""
        return [revision for (revision,) in self.execute("SELECT revision FROM ran ORDER BY 1", database=name)]


@pytest.fixture(scope="module")
def server() -> Iterator[Embedded]:
    settings = {"fsync": "off", "synchronous_commit": "off", "max_connections": 100}
    with an_open_directory() as directory, an_embedded_environment(directory / "env", settings=settings) as made:
        made.apply()
        yield made


@pytest.fixture
def tenants(server: Embedded) -> Tenants:
    return Tenants(server)
