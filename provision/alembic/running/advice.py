"""What to do about a migration that failed: what the project's own files say about how it wants to be run."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from provision.alembic.child.config import read_text
from provision.alembic.running.rights import INSUFFICIENT_PRIVILEGE, way_to
from provision.alembic.tree.env import guesses, part, settings_module, variables_of, ways
from provision.model.words import short

if TYPE_CHECKING:
    from provision.alembic.child.protocol import Failure
    from provision.alembic.running.events import Truth
    from provision.alembic.tree.location import Location
    from provision.errors import NextStep
    from provision.spec.model import Migrations

_UNDEFINED_TABLE = "42P01"
_IN_TRANSACTION = "25001"
"""A statement that runs in no transaction block, such as ``CREATE INDEX CONCURRENTLY``."""
_NO_EXTENSION = r"extension \"(.+)\" is not available|could not open extension control file \".*/(.+)\.control\""
"""What the server says of an extension whose files it does not have."""
_UNPREPARED = {"RuntimeError", "KeyError", "LookupError", "ImproperlyConfigured", "AppRegistryNotReady", "SystemExit"}
"""What a revision raises that needs its application to be set up, or the environment that its program makes."""
_UNPREPARED_ENV = {"SystemExit", "NoEventLoopError", "NoSuchOptError", "ConfigurationError"}
_UNDEFINED_NAME = r"name '(\w+)' is not defined"
_IMPORTS = {
    "sa": "import sqlalchemy as sa",
    "sqlalchemy": "import sqlalchemy",
    "op": "from alembic import op",
    "context": "from alembic import context",
    "postgresql": "from sqlalchemy.dialects import postgresql",
    "sqlmodel": "import sqlmodel",
}
_NOT_CONNECTED = {
    *("OperationalError", "ConnectionRefusedError", "gaierror", "ConnectionTimeout", "ConnectionResetError"),
    *("ConnectionDoesNotExistError", "CannotConnectNowError", "InvalidPasswordError", "InterfaceError"),
}
_ADDRESSES = (r'server at "([^"]+)"(?: \([^)]*\))?, port (\d+)', r"Connect call failed \('([^']+)', (\d+)")
_OPTION_WAY = 'hand env.py the option that it reads; write under `migrations`: options: {url: "{url}"}'
_URL_WAY = (
    "let env.py connect with the URL of its configuration: "
    'url = config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]'
)


_LACKS_PACKAGE = {"ModuleNotFoundError", "ImportError"}
_STATEMENT = 300
_PRINTED = 5
_AGAIN = "run the same command again"


class Report:
    """A failure of the child, and what it takes to explain it.

    ``first`` is the first line of its words and ``more`` are the others; ``what`` has the error's class before them,
    unless it is the server's. ``last_words`` are what code that ended the process has printed: there it says why.
    """

    def __init__(
        self, event: Failure, tree: Migrations, location: Location, python: str, truth: Truth, printed: str = ""
    ) -> None:
        self.event, self.tree, self.location, self.python, self.truth = event, tree, location, python, truth
        self.kind, self.message = event["type"], event["message"]
        self.first, *self.more = self.message.splitlines() or [self.kind]
        self.what = self.first if event["sqlstate"] else f"{self.kind}: {self.first}"
        statement = short(event.get("statement") or "", _STATEMENT)
        self.statement = [f"statement: {statement}"] if statement else []
        self.place = [f"at {event['place']}"] if event.get("place") else []
        self.last_words = printed.splitlines()[-_PRINTED:] if self.kind == "SystemExit" else []
        self.lacks_package = self.kind in _LACKS_PACKAGE

    @property
    def wants_preparation(self) -> bool:
        """Whether code fails in this way where its program usually prepares something."""
        return (
            self.kind in _UNPREPARED_ENV
            or self.message.startswith("Working outside of application context")
            or (self.kind == "AttributeError" and self.message.startswith("'Config' object has no attribute"))
        )

    @property
    def missing_import(self) -> str | None:
        """The line that imports the name which a file uses and has not imported, where it is a usual one."""
        found = re.match(_UNDEFINED_NAME, self.message) if self.kind == "NameError" else None
        return _IMPORTS.get(found[1]) if found else None


def after_failure(report: Report) -> str:
    """Say what to do after a revision has failed."""
    event, truth = report.event, report.truth
    if event["sqlstate"] in ("55P03", "40P01"):
        return f"wait until the lock is free, or give it more time (`migrations.lock_timeout`); then {truth.next_step}"
    if report.kind == "AssertionError" and "autocommit_block" in event["traceback"]:
        return (
            "give Alembic a connection without a transaction in env.py, because autocommit_block() cannot leave one "
            "that is not Alembic's: `engine.connect()` in place of `engine.begin()`, and `connection.commit()` after "
            f"statements of its own; then {truth.next_step}"
        )
    if found := re.match(_NO_EXTENSION, report.message):
        place = "install it where the server runs, or write an image or a runtime that has it under `server`"
        return f"{found[1] or found[2]}: {place}; then {truth.next_step}"
    if event["sqlstate"] == _IN_TRANSACTION:
        return f"run the statement inside `with op.get_context().autocommit_block():`; then {truth.next_step}"
    if way := lacking(report):
        return way + f"; then {truth.next_step}"
    if report.missing_import:
        return f"add `{report.missing_import}` to the file; then {truth.next_step}"
    unprepared = report.kind in _UNPREPARED or report.wants_preparation
    if (event["sqlstate"] == _UNDEFINED_TABLE or unprepared) and not truth.left:
        what = "make these tables" if event["sqlstate"] else "prepare something"
        program = f"have `migrations.prepare` {what} if the program of its application does so"
        return f"correct the revision, or {program}; then {truth.next_step}"
    remains = truth.left or truth.committed
    return f"correct the revision; {truth.next_step}" if remains else f"correct the revision and {truth.next_step}"


def lacking(report: Report) -> NextStep | None:
    """Return what gives the role of the migrations a privilege that the server says it lacks."""
    if report.event["sqlstate"] != INSUFFICIENT_PRIVILEGE:
        return None
    return way_to(report.tree, report.message, report.truth.database)


def after_writing(what: str) -> str:
    """Say what to do after a revision file was written, and what follows has failed."""
    if what.startswith("a post-write hook"):
        return "correct `post_write_hooks` in Alembic's configuration; the file is complete without the hook"
    return f"correct the file, or delete it and {_AGAIN}"


def after_loading(report: Report) -> str:
    """Say what to do after a revision file could not be loaded."""
    if report.missing_import:
        return f"add `{report.missing_import}` to the file, and {_AGAIN}"
    return "correct the file, or set `migrations.python` to the interpreter that has what it imports"


def after_prepare(report: Report) -> str:
    """Say what to do after what runs before ``env.py`` has failed."""
    if report.kind == "NoAppError":
        return "name the application under `migrations`: env: {FLASK_APP: NAME}; or its directory: cwd: DIRECTORY"
    if report.lacks_package:
        return _interpreter_way(report)
    if report.kind == "KeyError" and (variable := re.fullmatch(r"'([A-Z][A-Z0-9_]*)'", report.message)):
        return f"if {variable[1]} is an environment variable, set it under `migrations`: env: {{{variable[1]}: …}}"
    return f"correct {'what `prepare` runs' if report.tree.prepare else 'it'}, and {_AGAIN}"


def _interpreter_way(report: Report) -> str:
    return (
        "set `migrations.python` to the interpreter that has what env.py imports, or install it for "
        f"{report.python}; a module of the project is looked for in `migrations.cwd`, now {report.location.cwd}"
    )


def after_env(report: Report) -> str:
    """Say what to do after ``env.py`` has failed."""
    tree, kind, message = report.tree, report.kind, report.message
    if report.wants_preparation and not tree.prepare:
        return (
            "this env.py needs what its program prepares; write that into a file, and name it under `migrations`: "
            "prepare: prepare.py   (docs/migrations.md shows how)"
        )
    if report.missing_import:
        return f"add `{report.missing_import}` to env.py, and {_AGAIN}"
    if "requires an async driver" in message:
        return f"install a driver that env.py's asynchronous engine can use: {report.python} -m pip install asyncpg"
    sqlalchemy = _numbers((report.event.get("versions") or {}).get("sqlalchemy", ""))
    if kind == "ModuleNotFoundError" and message == "No module named 'psycopg'" and sqlalchemy >= (2, 1):
        return (
            "SQLAlchemy 2.1 takes psycopg for a URL that names no driver: name one, as in `postgresql+psycopg2://`"
            f" (`url_driver` for the URL that provision hands in), or: {report.python} -m pip install 'psycopg[binary]'"
        )
    if report.lacks_package:
        return _interpreter_way(report)
    if grant := lacking(report):
        return grant + f", and {_AGAIN}"
    if is_connection(report.event) or _lacks_url(kind, message):
        fallback = _OPTION_WAY if (kind, message) == ("KeyError", "'url'") else _URL_WAY
        return url_way(tree, report.location, fallback=fallback)
    if kind == "KeyError" and (way := _variable_way(message.strip("'"), tree, report.location)):
        return way
    if report.event["sqlstate"]:
        return f"correct the statement in env.py, and {_AGAIN}"
    return f"correct env.py or what it needs, and {_AGAIN}"


def _variable_way(name: str, tree: Migrations, location: Location) -> str | None:
    """Say how ``env.py`` gets an environment variable that it reads, and that is not set."""
    if name in tree.env or name not in variables_of(read_text(str(location.env)), lambda each: _module(each, location)):
        return None
    return (
        f'env.py reads the environment variable {name}; write under `migrations`: env: {{{name}: "{{url}}"}} if it is '
        "the URL of the database, otherwise its value"
    )


def is_connection(event: Failure) -> bool:
    """Tell whether a connection was not made, as psycopg, asyncpg and the system say it."""
    state = event["sqlstate"]
    return state[:2] in ("08", "28") or state == "3D000" if state else event["type"] in _NOT_CONNECTED


def addresses(event: Failure, server: str) -> list[str]:
    """Return a line that compares where ``env.py`` wanted to connect with where the server is; none if they agree."""
    if not is_connection(event) or not server:
        return []
    said = next((match for each in _ADDRESSES if (match := re.search(each, event["message"]))), None)
    tried = f"{said[1]}:{said[2]}" if said else event.get("address")
    return [f"env.py connects to {tried}, the declared server is {server}"] if tried and tried != server else []


def too_old(event: Failure, python: str) -> tuple[str, str] | None:
    """Return the sentence on an Alembic or SQLAlchemy that is too old for what is asked of it, and what to install."""
    versions = event.get("versions") or {}
    for package, name, needed, matters in (
        ("alembic", "Alembic", "1.16", "toml_file" in event["message"]),
        ("sqlalchemy", "SQLAlchemy", "1.4", True),
    ):
        found = versions.get(package)
        if matters and found and _numbers(found) < _numbers(needed):
            why = " for pyproject.toml" if package == "alembic" else ""
            sentence = f"{python} has {name} {found}, and {needed} or newer is needed{why}"
            return sentence, f"{python} -m pip install '{package}>={needed}'"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:2])


def _lacks_url(kind: str, message: str) -> bool:
    """Tell whether ``env.py`` was not given a variable or an option that it makes its URL of."""
    if kind == "KeyError":
        name = message.strip("'")
        return name == "url" or part(name) is not None
    if kind == "ValidationError":
        return any(part(line.strip()) for line in message.splitlines())
    return kind in ("ArgumentError", "NoSuchModuleError")


def url_way(tree: Migrations, location: Location, *, fallback: str = "") -> str:
    """Say how this ``env.py`` gets the URL: with the keys of the spec that fit what it reads."""
    if tree.command:
        return "give the program the URL under `env`, for example `env: {DATABASE_URL: '{url}'}`"
    text = read_text(str(location.env))
    found = ways(text, lambda name: _module(name, location))
    lines = []
    for key, of in (("env", found.env), ("options", found.options), ("x", found.x)):
        missing = {name: value for name, value in of.items() if name not in getattr(tree, key)}
        if missing:
            lines.append(f"{key}: {{{', '.join(f'{name}: {value!r}' for name, value in missing.items())}}}")
    guessed = (f"{key}: {{{name}: {value}}}" for key, name, value in guesses(text) if name not in getattr(tree, key))
    lines = lines or list(islice(guessed, 3))
    if lines:
        return f"tell env.py the URL; it reads what this line in `migrations` sets: {' or '.join(lines)}"
    if module := settings_module(text):
        return (
            f"tell env.py the URL: it takes it from {module}, so set under `env` the variable which that reads, "
            "for example `env: {DATABASE_URL: '{url}'}`"
        )
    return fallback or _URL_WAY


def _module(name: str, location: Location) -> tuple[str, str] | None:
    """Return the package and the text of a module of the project, looked for where ``env.py`` finds it."""
    path = name.replace(".", "/")
    for root in (location.cwd, location.cwd / "src", *location.script.parents[:3]):
        for file, package in ((f"{path}.py", name.rpartition(".")[0]), (f"{path}/__init__.py", name)):
            if path and (root / file).is_file():
                return package, read_text(str(root / file))
    return None
