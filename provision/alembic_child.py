"""Runs one Alembic migration in a process of its own: the side that is the user's.

``env.py`` and the revisions are somebody's code: they print, change the logging of the whole process, read settings
and import the application. So this file runs under the project's interpreter and needs nothing of ours, only Python
3.8, Alembic 1.8 and SQLAlchemy 1.4. It imports them at once and says ``ready``, so that it can be started while the
server is still coming up; then it reads one request from its standard input (the only way for a password to come in)
and answers with one JSON event a line. Standard output is a private channel: whatever the user's code prints goes to
standard error.

How TLS is used goes into the environment (``PGSSLMODE``), where psycopg and asyncpg look, and not into the URL:
``env.py`` may exchange the driver of the URL, and drivers do not agree on its query.

Before the first revision runs, the connection that ``env.py`` made is asked whether it sees the lock that our parent
holds. Only a connection to the same database of the same server can, so nothing else is ever migrated by mistake.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120  # nothing is imported from beside this file
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]  # noqa: PTH100

import contextlib  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
import traceback  # noqa: E402
from typing import IO, TYPE_CHECKING, Any  # noqa: E402
from urllib.parse import quote, quote_plus  # noqa: E402

DRIVERS = (("psycopg2", "psycopg2", 1), ("psycopg", "psycopg", 2), ("asyncpg", "asyncpg", 1), ("pg8000", "pg8000", 1))
"""Module, SQLAlchemy's name for it, and the first major version of SQLAlchemy that knows it, best first."""

SEES_OUR_LOCK = """
SELECT pg_backend_pid(), current_database(), EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND pg_locks.pid = {pid}
      AND classid = {classid} AND objid = {objid} AND datname = current_database())
"""

if TYPE_CHECKING:
    from collections.abc import Iterator

    Request = dict[str, Any]


class ElsewhereError(Exception):
    """``env.py`` is connected to another database than the one that shall be migrated."""


class Channel:
    """The way back to the parent: one JSON object a line, with no secret in it."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._masked: list[str] = []

    def hide(self, secret: str) -> None:
        """Mask a text from now on, also the way it looks inside a URL."""
        quoted = {quote(secret, safe=safe) for safe in ("/", "", " +")} | {quote_plus(secret)}  # " +" is SQLAlchemy's
        forms = {secret, repr(secret)[1:-1], *quoted, *(each.replace("%", "%%") for each in quoted)}
        self._masked = sorted((form for form in forms if form), key=len, reverse=True)

    def mask(self, text: str) -> str:
        """Return the text without the secret."""
        for form in self._masked:
            text = text.replace(form, "********")
        return text

    def say(self, event: str, **values: Any) -> None:
        """Send one event."""
        shown = {key: self.mask(value) if isinstance(value, str) else value for key, value in values.items()}
        self._stream.write(json.dumps({"event": event, **shown}) + "\n")
        self._stream.flush()


class Progress:
    """Which revision is running, since when, and where its file is."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.stage = "config"
        self.revision: str | None = None
        self.since = 0.0

    def start(self, step: Any) -> None:
        """Say that a revision starts."""
        self.stage, self.revision, self.since = "revision", step.revision.revision, time.monotonic()
        self.channel.say("revision-start", revision=self.revision, message=_first_line(step.doc))

    def done(self, step: Any) -> None:
        """Say that it is applied, and written down."""
        seconds = round(time.monotonic() - self.since, 4)
        self.channel.say("revision-done", revision=self.revision, message=_first_line(step.doc), seconds=seconds)
        self.stage, self.revision = "env", None


def main() -> int:
    """Serve one request."""
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    progress = Progress(channel)
    progress.stage = "import"
    try:
        channel.say("ready", **versions())
        line = sys.stdin.readline()
        if not line:
            return 0
        request: Request = json.loads(line)
        channel.hide(request["password"])
        os.environ.update(request["tls"])
        _die_with_parent()
        progress.stage = "config"
        migrate(request, progress)
    except BaseException as error:  # noqa: BLE001  # SystemExit from env.py is an answer too
        channel.say("error", **describe(error, progress))
        return 1
    channel.say("finished")
    return 0


def versions() -> dict[str, Any]:
    """Import what a migration needs, and say what this interpreter has."""
    import importlib

    import alembic
    import sqlalchemy
    import sqlalchemy.dialects.postgresql

    for module in ("alembic.config", "alembic.context", "alembic.op", "alembic.script", "alembic.runtime.environment"):
        importlib.import_module(module)
    drivers: list[str] = []
    for module, name, since in DRIVERS:
        if int(sqlalchemy.__version__.split(".", maxsplit=1)[0]) >= since and (not drivers or module == "asyncpg"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
                drivers.append(name)
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "alembic": alembic.__version__,
        "sqlalchemy": sqlalchemy.__version__,
        "drivers": drivers,
    }


def migrate(request: Request, progress: Progress) -> None:
    """Run ``env.py`` with the functions of Alembic wrapped, so that every revision is announced."""
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    _add_import_root(request["cwd"])
    config = make_config(request)
    script = ScriptDirectory.from_config(config)
    progress.stage = "load"
    script.get_heads()  # loads every revision file, so that an error in one is told apart from one in env.py
    progress.stage = "env"

    def steps(heads: tuple[str, ...], _context: Any) -> Iterator[Any]:
        for step in _steps(script, request, heads):
            progress.start(step)
            yield step  # Alembic runs it, writes its row, and commits
            progress.done(step)

    destination = tuple(request["target"]) or "base"
    environment = EnvironmentContext(
        config,
        script,
        fn=steps,
        as_sql=False,
        starting_rev=None,
        destination_rev=destination,
        tag=None,
        version_table=request["version_table"],
        version_table_schema=request["version_table_schema"],
    )
    _wrap(environment, request, progress)
    with environment:
        script.run_env()


def make_config(request: Request) -> Any:
    """Return Alembic's configuration: from the user's file where there is one, with our URL."""
    from alembic.config import Config

    file = request["config"]
    if file is None:
        config = Config()
        config.set_main_option("script_location", request["script_location"].replace("%", "%%"))
    elif file.endswith(".toml"):
        config = Config(toml_file=file)
    else:
        config = Config(file)
    config.set_main_option("sqlalchemy.url", make_url(request).replace("%", "%%"))
    return config


def make_url(request: Request) -> str:
    """Return the URL of the database, with a driver that this interpreter has."""
    from sqlalchemy.engine import URL

    name = request["url_driver"]
    if name is None:
        drivers = versions()["drivers"]
        if not drivers:
            message = "this interpreter has no PostgreSQL driver (psycopg2, psycopg, asyncpg or pg8000)"
            raise ModuleNotFoundError(message)
        name = "postgresql+" + drivers[0]
    if name.endswith("+pg8000") and request["tls"]["PGSSLMODE"] not in ("disable", "allow", "prefer"):
        message = "pg8000 does not read `sslmode`, and would connect without TLS; install psycopg2 or psycopg"
        raise ModuleNotFoundError(message)
    url = URL.create(
        name,
        username=request["user"],
        password=request["password"],
        host=request["host"],
        port=request["port"],
        database=request["database"],
    )
    return url.render_as_string(hide_password=False)


def _steps(script: Any, request: Request, heads: tuple[str, ...]) -> list[Any]:
    """Return the steps that were planned, or Alembic's own where ``env.py`` keeps its rows in another place."""
    from alembic.runtime.migration import MigrationStep

    upgrade = request["direction"] == "upgrade"
    if sorted(heads) == sorted(request["rows"]):
        make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
        return [make(script.revision_map, script.get_revision(name)) for name in request["revisions"]]
    if upgrade:
        return list(script._upgrade_revs(tuple(request["target"]), heads))  # noqa: SLF001
    message = f"env.py finds the database at {', '.join(heads) or 'base'}, not at {', '.join(request['rows'])}"
    raise ElsewhereError(message)


def _wrap(environment: Any, request: Request, progress: Progress) -> None:
    """Add our defaults to ``context.configure``, and the proof of place to ``context.run_migrations``."""
    configure, run_migrations = environment.configure, environment.run_migrations

    def configure_with_defaults(*args: Any, **kw: Any) -> None:
        kw.setdefault("transaction_per_migration", True)
        configure(*args, **kw)

    def run_in_our_database(**kw: Any) -> None:
        context = environment.get_context()
        table = ".".join(filter(None, (context.version_table_schema, context.version_table)))
        prove_place(context.connection, request["lock"], progress, table)
        run_migrations(**kw)

    environment.configure = configure_with_defaults
    environment.run_migrations = run_in_our_database


def prove_place(connection: Any, lock: dict[str, int], progress: Progress, table: str) -> None:
    """Make sure that a connection of ``env.py`` leads to the database whose lock our parent holds."""
    from sqlalchemy import text

    if connection is None:
        message = "env.py runs in offline mode"
        raise ElsewhereError(message)
    url = connection.engine.url
    place = f"{url.host or 'the local socket'}:{url.port or 5432}, database {url.database}"
    if connection.dialect.name != "postgresql":
        message = f"env.py connected to {connection.dialect.name} ({url.database})"
        raise ElsewhereError(message)
    began = connection.in_transaction()
    pid, database, same = connection.execute(text(SEES_OUR_LOCK.format(**lock))).fetchone()
    if not began and connection.in_transaction():
        connection.rollback()  # leave no transaction behind that env.py did not begin
    if not same:
        message = f"env.py connected to {place}"
        raise ElsewhereError(message)
    progress.channel.say("connected", pid=pid, database=database, table=table)


def describe(error: BaseException, progress: Progress) -> dict[str, Any]:
    """Return what a person needs to know about an error, without the parameters of a statement."""
    original = getattr(error, "orig", None) or error
    message = re.sub(r"^<class '[^']*'>: ", "", str(original).strip())  # asyncpg's, through SQLAlchemy
    hidden = isinstance(getattr(error, "statement", None), str)
    if hidden:
        error.hide_parameters = True  # type: ignore[attr-defined]
    return {
        "stage": "elsewhere" if isinstance(error, ElsewhereError) else progress.stage,
        "revision": progress.revision,
        "type": type(original).__name__,
        "message": message or type(original).__name__,
        "sqlstate": getattr(original, "pgcode", None) or getattr(original, "sqlstate", None),
        "statement": error.statement if hidden else None,  # type: ignore[attr-defined]
        "place": _place(error),
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def _place(error: BaseException) -> str | None:
    """Return ``file:line`` of the last line of the user's own code that the error went through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    ours, standard = os.path.abspath(__file__), os.path.dirname(os.__file__) + os.sep  # noqa: PTH100, PTH120
    libraries = ("site-packages", "dist-packages", standard, ours, "<")
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        if not any(part in frame.filename for part in libraries):
            found = f"{frame.filename}:{frame.lineno}"
    return found


def _add_import_root(cwd: str) -> None:
    """Make the project importable: before what is installed, but after the standard library, which it may shadow."""
    installed = [at for at, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages"))]
    sys.path.insert(installed[0] if installed else len(sys.path), cwd)


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0].strip()


def _die_with_parent() -> None:
    """End when the parent has gone: its lock is gone with it, and nobody is left to be told.

    The pipe from the parent moves out of the way, so that the user's code finds an empty standard input.
    """
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        while os.read(parent, 1):
            pass
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
