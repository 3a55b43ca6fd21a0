"""Alembic trees for the tests, written where a test wants them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from provision.alembic.running.migrate import migrate
from provision.alembic.tree.targets import resolve
from provision.alembic.trees import load
from provision.model.effects import Migrate
from provision.spec.model import Migrations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import Server

    from provision.alembic.running.migrate import Migrated, MigrationEvent
    from provision.model import Endpoint

ENV = """
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def table(name: str) -> str:
    """Return the body of an upgrade that makes a table."""
    return f'op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True))'


def write(home: Path, revisions: Mapping[str, str], *, env: str = ENV) -> Migrations:
    """Write a line of revisions (id → body of ``upgrade``) and return the tree; its downgrades drop table ``id``."""
    versions = home / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions.parent / "env.py").write_text(textwrap.dedent(env))
    before = None
    for name, body in revisions.items():
        text = (
            f'"""make {name}"""\nimport sqlalchemy as sa\nfrom alembic import op\n'
            f"revision = {name!r}\ndown_revision = {before!r}\n"
            f"def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            f"def downgrade():\n    op.drop_table({name!r})\n"
        )
        (versions / f"{name}.py").write_text(text)
        before = name
    return Migrations("app", versions.parent, None, "head", False, None, "alembic_version", None, 60.0)


def provision_apply(
    spec: Path, database: Server, name: str, *words: str, more: str = "", password: str | None = None
) -> subprocess.Popen[str]:
    """Start an apply of a spec that declares the server as external, and the tree beside the spec.

    ``words`` take the place of the command, ``more`` is what the spec adds to the tree.
    """
    at = database.endpoint
    spec.write_text(
        f"name: {name}\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\n"
        f"migrations: {{script_location: ./migrations{more}}}\n"
    )
    argv = (sys.executable, *(words or ("-m", "provision", "apply", "-v")), str(spec))
    environ = {**os.environ, "PW": password or at.password.reveal()}
    return subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(
    tree: Migrations, endpoint: Endpoint, target: str = "head", events: list[MigrationEvent] | None = None
) -> Migrated:
    """Upgrade to a target."""
    files = load(tree)
    rows = files[0].version_rows(resolve(files[0], target))
    told = events if events is not None else []
    return migrate(tree, files, endpoint, Migrate(tree.name, rows), told.append)


@contextmanager
def interrupted_asleep(database: Server) -> Iterator[None]:
    """Send this process Ctrl-C as soon as a statement sleeps in the database, and see that it ends what runs here."""
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"

    def interrupt() -> None:
        while database.execute(asleep) == [(0,)]:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    thread.join()
    assert database.execute(asleep) == [(0,)]


def undo(tree: Migrations, endpoint: Endpoint, target: str) -> Migrated:
    """Downgrade to a target."""
    files = load(tree)
    effect = Migrate(tree.name, files[0].version_rows(resolve(files[0], target)), "downgrade")
    return migrate(replace(tree, allow_downgrade=True), files, endpoint, effect, lambda _event: None)


@contextmanager
def running(tree: Migrations, here: Endpoint) -> Iterator[subprocess.Popen[bytes]]:
    """Upgrade in a process of its own."""
    program = (
        "import sys; from pathlib import Path; import trees;"
        "from provision.model import Endpoint, Secret; from provision.spec.model import Migrations;"
        f"tree = Migrations('app', Path({str(tree.script_location)!r}), None, 'head', False, None,"
        f" 'alembic_version', None, 60.0, ledger={tree.ledger});"
        f"trees.run(tree, Endpoint({here.host!r}, {here.port}, {here.user!r}, Secret(sys.stdin.read()),"
        f" {here.database!r}))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, env=env) as process:
        assert process.stdin is not None
        process.stdin.write(here.password.reveal().encode())
        process.stdin.close()
        yield process
