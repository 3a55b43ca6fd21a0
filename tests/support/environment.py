"""One environment in a directory of its own: its spec, the program run on it as a user would, and its server."""

from __future__ import annotations

import os
import re
import textwrap
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import psycopg2
import psycopg2.extensions
import yaml

from provision.system.waiting import attempts
from support import program

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.engine import Engine
    from support.program import Ran

PASSWORD = "pä$s${x}%20@:/'\"\\wörd"
_STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]+): (.*)")


class Environment:
    """A spec that is written with :meth:`declare`, and what the program makes of it."""

    def __init__(self, engine: Engine, directory: Path, name: str) -> None:
        self.engine, self.directory, self.name = engine, directory, name
        self.spec = directory / "spec.yml"
        self.home = directory / ".provision" / name
        self.environ = {
            **{key: text for key, text in os.environ.items() if not key.startswith("PG")},
            "PW": PASSWORD,
            "NO_COLOR": "1",
            "XDG_STATE_HOME": str(directory.parent / f"{directory.name}-state"),
        }
        self.before: tuple[str, ...] = ()
        """What each command begins with."""
        directory.mkdir(parents=True, exist_ok=True)
        self.document: dict[str, Any] = {}
        self._kept: dict[str, Any] = {}
        self.declare(version=1, name=name, server=_SERVER)

    def declare(self, changes: Mapping[str, Any] | None = None, **more: Any) -> Environment:
        """Merge changes into the spec and write it; None takes a key away."""
        self.document = _merged(self.document, {**(changes or {}), **more})
        self.spec.write_text(yaml.safe_dump(self.document, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return self

    def keep(self) -> Environment:
        """Apply, and remember the spec for :meth:`back`."""
        self.apply()
        self._kept = self.document
        return self

    def back(self) -> None:
        """Bring everything back to the remembered spec: the next test does not see what this one changed."""
        self.document = self._kept
        self.declare().apply()

    def server(self, **changes: Any) -> Environment:
        """Merge changes into the section ``server``."""
        return self.declare(server=changes)

    def migrations(self, *tables: str) -> Environment:
        """Have a line of revisions ``r1``, ``r2`` …, each of which makes a table."""
        versions = self.directory / "migrations" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        (versions.parent / "env.py").write_text(ENV)
        for number, table in enumerate(tables, 1):
            before = f"r{number - 1}" if number > 1 else None
            text = _REVISION.format(table=table, number=number, before=before)
            (versions / f"r{number}.py").write_text(text)
        return self.declare(migrations={"script_location": "./migrations"})

    # --- the program ---

    def run(self, *words: str, code: int | None = 0, spec: bool = True, **environ: str) -> Ran:
        """Run the program on the spec and return what it printed; ``code`` is the exit code it must have."""
        given = (*words, *((self.spec.name,) if spec else ()))
        argv = program.started_by(self.before)
        ran = program.run(*given, cwd=self.directory, environ={**self.environ, **environ}, argv=argv)
        assert code is None or ran.code == code, f"{' '.join(words)} exited with {ran.code}\n{ran.all}{self.evidence()}"
        return ran

    def begin(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a command, an apply by default, and do not wait for it."""
        given = (*(words or ("apply",)), self.spec.name)
        return program.begin(*given, cwd=self.directory, environ={**self.environ, **environ})

    def apply(self, **environ: str) -> Ran:
        """Apply, and see that it says that all went well."""
        return self.run("apply", **environ)

    def settled(self) -> Ran:
        """See that nothing is left to do."""
        ran = self.run("plan", "--detailed-exitcode")
        assert "nothing to do" in ran.out, ran.all
        return ran

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps of the plan."""
        found: list[dict[str, Any]] = self.run("plan", "--json").json()["steps"]
        return found

    def actions(self) -> list[str]:
        """Return ``action address`` for each step of the plan that is not a file."""
        return [f"{each['action']} {each['address']}" for each in self.steps() if "file/" not in each["address"]]

    # --- the server ---

    @property
    def container(self) -> dict[str, Any]:
        """What the engine shows of the container."""
        return self.engine.inspect(self.name)

    @property
    def port(self) -> int:
        """The published port."""
        (binding,) = self.container["HostConfig"]["PortBindings"]["5432/tcp"]
        return int(binding["HostPort"])

    @property
    def url(self) -> str:
        """The URL with its password."""
        return self.run("url").out.strip()

    def answers(self) -> None:
        """Wait until the server that something else has started takes connections."""
        for _ in attempts(60, 0.05):
            with suppress(psycopg2.OperationalError):
                self.query("SELECT 1")
                return
        self.query("SELECT 1")

    def query(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as a user would, by the printed URL, and return its rows."""
        return self._ask(self.connection(), statement, parameters)

    def superuser(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, and return its rows."""
        return self._ask(self.connection(superuser=True), statement, parameters)

    @staticmethod
    def _ask(opened: psycopg2.extensions.connection, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        with closing(opened) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def connection(self, database: str | None = None, *, superuser: bool = False) -> psycopg2.extensions.connection:
        """Open a connection by the printed URL, to its database or another one."""
        parts = urlsplit(self.run("url", "--superuser").out.strip() if superuser else self.url)
        return psycopg2.connect(
            host=parts.hostname,
            port=parts.port,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            dbname=database or unquote(parts.path[1:]),
            connect_timeout=5,
        )

    def setting(self, name: str) -> str:
        """Return a setting as the server shows it."""
        return str(self.query(f"SHOW {name}")[0][0])

    def started(self) -> str:
        """Return when the server's first process was started."""
        return str(self.query("SELECT pg_postmaster_start_time()")[0][0])

    def log(self) -> list[str]:
        """Return the lines of the server's log."""
        return self.engine.client.logs(self.name).decode(errors="replace").splitlines()

    def statements(self, skip: int = 0) -> list[str]:
        """Return the statements in the server's log (with ``log_statement: all``), without its first lines."""
        entries: list[str] = []
        for line in self.log()[skip:]:
            if entries and line.startswith(("\t", " ")):
                entries[-1] += f" {line.strip()}"
            else:
                entries.append(line)
        return [match[1].strip() for entry in entries if (match := _STATEMENT.search(entry))]

    # --- the file system ---

    def files(self) -> dict[str, tuple[int, int, bytes]]:
        """Return every path below the spec's directory with its mode, its time of change and its content."""
        return {
            str(path.relative_to(self.directory)): (
                path.lstat().st_mode,
                path.lstat().st_mtime_ns,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in sorted(self.directory.rglob("*"))
            if "__pycache__" not in path.parts
        }

    def evidence(self) -> str:
        """Return what helps to understand a failure: the container's state and its last words."""
        try:
            seen, log = self.container["State"], "\n".join(self.log()[-20:])
        except Exception as error:  # noqa: BLE001  # whatever it is, the test fails for another reason
            return f"\n(no container to show: {error})"
        return f"\n--- the container is {seen['Status']}, exit code {seen['ExitCode']}; its last words:\n{log}"


@contextmanager
def an_environment(engine: Engine, directory: Path) -> Iterator[Environment]:
    """Have an environment of a name of its own, and remove what it made."""
    made = Environment(engine, directory, f"t-{uuid4().hex[:8]}")
    try:
        yield made
    finally:
        engine.remove_all(made.name)


def _merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(old)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


_SERVER: dict[str, Any] = {
    "runtime": "docker",
    "image": "postgres:17",
    "port": "auto",
    "credentials": {"password": "${PW}"},
    "database": "shop",
    "ready_timeout": "60s",
}

ENV = textwrap.dedent(
    """
    from alembic import context
    from sqlalchemy import create_engine, pool

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
    """
)

_REVISION = textwrap.dedent(
    '''
    """make {table}"""
    import sqlalchemy as sa
    from alembic import op
    revision = "r{number}"
    down_revision = {before!r}

    def upgrade():
        op.create_table("{table}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(200)))

    def downgrade():
        op.drop_table("{table}")
    '''
)
