"""Alembic's configuration as ``env.py`` sees it: the user's file, our URL, and what the spec adds.

How TLS is used goes into the environment (``PGSSLMODE``), where psycopg and asyncpg look, and not into the URL:
``env.py`` may exchange the driver of the URL, and drivers do not agree on its query.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from .fill import IN_URL, fill

if TYPE_CHECKING:
    from .channel import Progress
    from .protocol import Request

DRIVERS = (("psycopg2", "psycopg2", 1), ("psycopg", "psycopg", 2), ("asyncpg", "asyncpg", 1), ("pg8000", "pg8000", 1))
"""Module, SQLAlchemy's name for it, and the first major version of SQLAlchemy that knows it, best first."""

VERB = "provision_verb"
"""Where ``config.attributes`` says what is done: ``upgrade``, ``downgrade``, ``stamp``, ``check``, ``revision`` …"""

_OF_LIBPQ = ("psycopg2", "psycopg", "psycopg_async", "psycopg2cffi")
_ASYNCHRONOUS = ("asyncpg", "psycopg")
_USES_ASYNC = re.compile(r"\b(create_async_engine|async_engine_from_config|AsyncEngine|run_sync)\b")
_USES_FLASK = re.compile(r"(?m)^\s*from\s+flask\s+import\b[^\n]*\bcurrent_app\b|\bflask\.current_app\b")


def make_config(request: Request) -> Any:
    """Return Alembic's configuration: from the user's file where there is one, with our URL and the spec's options."""
    from alembic.config import Config

    file, section = request["config"] or _flasks_file(request), request["section"]
    if file is None:
        config = Config(ini_section=section)
    elif file.endswith(".toml"):
        beside = os.path.join(os.path.dirname(file), "alembic.ini")  # noqa: PTH118, PTH120
        config = Config(beside if os.path.isfile(beside) else None, toml_file=file, ini_section=section)  # noqa: PTH113
    else:
        config = Config(file, ini_section=section)
    if request["script_location"] is not None:
        config.set_main_option("script_location", _escaped(request["script_location"]))
    values = places(request)
    config.set_main_option("sqlalchemy.url", _escaped(values["url"]))
    for name, template in request["options"].items():
        config.set_main_option(name, _escaped(fill(template, values)))
    config.attributes[VERB] = _verb(request)
    arguments = [f"-x{key}={fill(value, values)}" for key, value in request["x"].items()]
    _let_percent_pass(config)
    config.cmd_opts = parser().parse_args(["-n", section, *arguments, *request["words"]])
    return config


@functools.lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8 has no functools.cache
def parser() -> Any:
    """Return the parser of Alembic's own command line."""
    from alembic.config import CommandLine

    return CommandLine().parser


def _verb(request: Request) -> str:
    asks = {"compare": "check", "write": "revision", "render": "sql", "resolve": "history"}
    return asks.get(request["kind"]) or str(request["words"][0])


def uses_flask(request: Request) -> bool:
    """Tell whether ``env.py`` needs a Flask application."""
    return _USES_FLASK.search(read_text(request["env_file"])) is not None


def _flasks_file(request: Request) -> str | None:
    """Return the ini file that Flask-Migrate keeps beside ``env.py``, and hands over by itself."""
    file = os.path.join(os.path.dirname(request["env_file"]), "alembic.ini")  # noqa: PTH118, PTH120
    return file if uses_flask(request) and os.path.isfile(file) else None  # noqa: PTH113


def _let_percent_pass(config: Any) -> None:
    """Let ``env.py`` set a URL as it is: a ``%`` of percent-encoding is otherwise taken for an interpolation."""
    original = config.set_section_option

    def set_section_option(section: str, name: str, value: str) -> None:
        try:
            original(section, name, value)
        except ValueError:
            original(section, name, _escaped(value))

    config.set_section_option = set_section_option


def set_environment(request: Request) -> None:
    """Set what ``env.py`` and the application read from the environment, in this process only."""
    os.environ.update(request["tls"])
    if not request["env"]:
        return
    values = places(request)
    os.environ.update({name: fill(template, values) for name, template in request["env"].items()})


def places(request: Request) -> dict[str, str]:
    """Return what the names in a template stand for.

    SQLAlchemy before 2.1 does not decode the name of a database, so it is written as this SQLAlchemy writes it.
    """
    from sqlalchemy.engine import URL

    _, _, written = URL.create("postgresql", database=request["database"]).render_as_string().partition(":///")
    return {
        "url": make_url(request),
        "host": request["host"],
        "port": str(request["port"]),
        "user": request["user"],
        "password": request["password"],
        "database": request["database"],
        "database" + IN_URL: written,
        **({"tenant": request["tenant"]} if request["tenant"] is not None else {}),
    }


def make_url(request: Request) -> str:
    """Return the URL of the database, with a driver that this interpreter has."""
    from sqlalchemy.engine import URL

    name = request["url_driver"] or "postgresql+" + _driver(request)
    if name.endswith("+pg8000") and request["tls"]["PGSSLMODE"] not in ("disable", "allow", "prefer"):
        raise ModuleNotFoundError(
            "pg8000 does not read `sslmode`, and would connect without TLS; install psycopg2 or psycopg"
        )
    url = URL.create(
        name,
        username=request["user"],
        password=request["password"],
        host=request["host"],
        port=request["port"],
        database=request["database"],
        query=request["keepalives"] if name.partition("+")[2] in _OF_LIBPQ else {},
    )
    return url.render_as_string(hide_password=False)


def _driver(request: Request) -> str:
    """Choose among the drivers of this interpreter: an ``env.py`` that makes an asynchronous engine needs another."""
    asynchronous = not request["attributes"] and _USES_ASYNC.search(read_text(request["env_file"]))
    found = first_driver(*(_ASYNCHRONOUS if asynchronous else ())) or first_driver()
    if found is None:
        raise ModuleNotFoundError("this interpreter has no PostgreSQL driver (psycopg2, psycopg, asyncpg or pg8000)")
    return found


def first_driver(*names: str) -> str | None:
    """Import the best driver that this interpreter has (one of ``names``), and return SQLAlchemy's name for it."""
    from importlib import import_module

    import sqlalchemy

    major = int(sqlalchemy.__version__.split(".", maxsplit=1)[0])
    for module, name, since in DRIVERS:
        if major >= since and (not names or name in names):
            with contextlib.suppress(ImportError):
                import_module(module)
                return name
    return None


class Attributes:
    """The live connections and engines that ``env.py`` finds in ``config.attributes``."""

    def __init__(self, request: Request, config: Any) -> None:
        self._engines: list[Any] = []
        self._connections: list[Any] = []
        for name, what in request["attributes"].items():
            config.attributes[name] = self._engine(request) if what == "engine" else self._connection(request)

    def _engine(self, request: Request) -> Any:
        from sqlalchemy import create_engine, pool

        self._engines.append(create_engine(make_url(request), poolclass=pool.NullPool))
        return self._engines[-1]

    def _connection(self, request: Request) -> Any:
        self._connections.append(self._engine(request).connect())
        return self._connections[-1]

    def finish(self) -> None:
        """Commit what ``env.py`` left open on a connection of ours: whoever makes one has to."""
        for connection in self._connections:
            if not connection.closed and connection.in_transaction():
                connection.commit()
            connection.close()


def load_tree(config: Any, progress: Progress) -> Any:
    """Return Alembic's view of the tree; no revision file is loaded yet.

    Alembic runs ``env.py`` first, and revisions may import what it has set up: see :func:`load_revisions`.
    """
    script = script_directory(config)
    progress.own = [os.path.abspath(place) + os.sep for place in (script.dir, *script._version_locations)]  # noqa: PTH100, SLF001
    progress.stage = "env"
    return script


def load_revisions(script: Any, progress: Progress) -> None:
    """Load every revision file, so that an error in one of them is not taken for one in ``env.py``."""
    before, progress.stage = progress.stage, "load"
    script.get_heads()
    progress.stage = before


def script_directory(config: Any) -> Any:
    """Return Alembic's view of the tree; what the file prepends to ``sys.path`` does not hide the standard library."""
    from alembic.script import ScriptDirectory

    before = list(sys.path)
    script = ScriptDirectory.from_config(config)
    added = sys.path[: max(0, len(sys.path) - len(before))]
    if added and sys.path[len(added) :] == before:
        sys.path[:] = before
        for entry in reversed(added):
            add_import_root(os.path.abspath(entry))  # noqa: PTH100
    return script


def add_import_root(path: str) -> None:
    """Make a directory importable: before what is installed, but after the standard library, which it may shadow.

    The modules of a package are not meant to be found by their bare names (``app/click.py``): of a directory that lies
    in a package, the root of the package comes there, and the directory itself behind everything else.
    """
    installed = [at for at, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages"))]
    root = import_root(path)
    within = [sys.path[at] for at in installed if (root + os.sep).startswith(os.path.abspath(sys.path[at]) + os.sep)]  # noqa: PTH100
    if root != path or within:
        sys.path.append(path)
    if not within:
        sys.path.insert(installed[0] if installed else len(sys.path), root)


def import_root(path: str) -> str:
    """Return the directory that holds the package in which a directory lies; if it lies in none, itself."""
    while os.path.isfile(os.path.join(path, "__init__.py")) and os.path.dirname(path) != path:  # noqa: PTH113, PTH118, PTH120
        path = os.path.dirname(path)  # noqa: PTH120
    return path


def keep_logging() -> None:
    """Let ``fileConfig`` of ``env.py`` neither silence the loggers of this process nor fail for want of a file."""
    import logging.config

    original = logging.config.fileConfig

    def file_config(fname: Any, *args: Any, **options: Any) -> None:
        options.pop("disable_existing_loggers", None)
        defaults = args[0] if args else options.pop("defaults", None)
        try:
            original(fname, defaults, disable_existing_loggers=False, **options)
        except Exception as error:  # noqa: BLE001  # how the project logs is no reason not to migrate
            print(f"fileConfig({fname!r}): {error!r}", file=sys.stderr)  # noqa: T201

    logging.config.fileConfig = file_config


def _escaped(value: str) -> str:
    return value.replace("%", "%%")


def read_text(path: str) -> str:
    """Return what is in a file; nothing where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
