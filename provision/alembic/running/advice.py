"""What to do about a migration that failed: what the project's own files say about how it wants to be run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provision.alembic.tree.hints import settings_module, wants_preparation, ways_in
from provision.alembic.tree.urls import variables_of, ways
from provision.alembic.tree.variables import part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.alembic.running.errors import Truth
    from provision.alembic.tree import Location
    from provision.alembic.tree.output import Failure
    from provision.spec.model import Migrations

_UNDEFINED_TABLE = "42P01"
_UNPREPARED = {"RuntimeError", "KeyError", "LookupError", "ImproperlyConfigured", "AppRegistryNotReady", "SystemExit"}
"""What a revision raises that needs its application to be set up, or the environment that its program makes."""
_UNDEFINED_NAME = re.compile(r"name '(\w+)' is not defined")
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
_ADDRESSES = (
    re.compile(r'server at "([^"]+)"(?: \([^)]*\))?, port (\d+)'),
    re.compile(r"Connect call failed \('([^']+)', (\d+)"),
)
_OPTION_WAY = 'hand env.py the option that it reads; write under `migrations`: options: {url: "{url}"}'
_URL_WAY = (
    "let env.py connect with the URL of its configuration: "
    'url = config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]'
)


def after_failure(event: Mapping[str, Any], truth: Truth) -> str:
    """Say what to do after a revision has failed."""
    if event["sqlstate"] in ("55P03", "40P01"):
        return f"wait until the lock is free, or give it more time (`migrations.lock_timeout`); then {truth.next_step}"
    if event["type"] == "AssertionError" and "autocommit_block" in str(event["traceback"]):
        return (
            "give Alembic a connection without a transaction in env.py, because autocommit_block() cannot leave one "
            "that is not Alembic's: `engine.connect()` in place of `engine.begin()`, and `connection.commit()` after "
            f"statements of its own; then {truth.next_step}"
        )
    if line := missing_import(event):
        return f"add `{line}` to the file; then {truth.next_step}"
    unprepared = event["type"] in _UNPREPARED or wants_preparation(str(event["type"]), str(event["message"]))
    if (event["sqlstate"] == _UNDEFINED_TABLE or unprepared) and not truth.left:
        what = "make these tables" if event["sqlstate"] else "prepare something"
        program = f"have `migrations.prepare` {what} if the program of its application does so"
        return f"correct the revision, or {program}; then {truth.next_step}"
    remains = truth.left or truth.committed
    return f"correct the revision; {truth.next_step}" if remains else f"correct the revision and {truth.next_step}"


def after_program(failure: Failure, truth: Truth, *, ended: bool) -> str:
    """Say what to do after a program of its own has failed; another run only helps against what passes by itself."""
    if ended or failure.passes:
        return truth.next_step
    if "No module named" in (failure.message or ""):
        return "install what is missing where the program runs; `url_driver` says which driver `{url}` names"
    correct = "correct the revision" if failure.revision else "correct what it says"
    return f"remove what was left behind, and {correct}" if truth.left else correct


def after_writing(what: str) -> str:
    """Say what to do after a revision file was written, and what follows has failed."""
    if what.startswith("a post-write hook"):
        return "correct `post_write_hooks` in Alembic's configuration; the file is complete without the hook"
    return "correct the file, or delete it and run the same command again"


def missing_import(event: Mapping[str, Any]) -> str | None:
    """Return the line that imports the name which a file uses and has not imported, where it is a usual one."""
    found = _UNDEFINED_NAME.match(str(event["message"])) if event["type"] == "NameError" else None
    return _IMPORTS.get(found[1]) if found else None


def after_prepare(event: Mapping[str, Any], files: tuple[Migrations, Location], python: str) -> str:
    """Say what to do after what runs before ``env.py`` has failed."""
    tree, location = files
    kind, message = str(event["type"]), str(event["message"])
    if kind == "NoAppError":
        return "name the application as `flask --app` would, under `migrations`: env: {FLASK_APP: NAME}"
    if kind in {"ModuleNotFoundError", "ImportError"}:
        return _interpreter_way(location, python)
    if kind == "KeyError" and (variable := re.fullmatch(r"'([A-Z][A-Z0-9_]*)'", message)):
        return f"if {variable[1]} is an environment variable, set it under `migrations`: env: {{{variable[1]}: …}}"
    return f"correct {'what `prepare` runs' if tree.prepare else 'it'}, and run the same command again"


def _interpreter_way(location: Location, python: str) -> str:
    return (
        "set `migrations.python` to the interpreter that has what env.py imports, or install it for "
        f"{python}; a module of the project is looked for in `migrations.cwd`, now {location.cwd}"
    )


def after_env(event: Mapping[str, Any], files: tuple[Migrations, Location], python: str) -> str:
    """Say what to do after ``env.py`` has failed."""
    tree, location = files
    kind, message = str(event["type"]), str(event["message"])
    if wants_preparation(kind, message) and not tree.prepare:
        return (
            "this env.py needs what its program prepares; write that into a file, and name it under `migrations`: "
            "prepare: prepare.py   (docs/migrations.md shows how)"
        )
    if line := missing_import(event):
        return f"add `{line}` to env.py, and run the same command again"
    if "requires an async driver" in message:
        return f"install a driver that env.py's asynchronous engine can use: {python} -m pip install asyncpg"
    if kind == "ModuleNotFoundError" and message == "No module named 'psycopg'" and _is_since(event, (2, 1)):
        return (
            "SQLAlchemy 2.1 takes psycopg for a URL that names no driver: name one, as in `postgresql+psycopg2://`"
            f" (`url_driver` for the URL that provision hands in), or: {python} -m pip install 'psycopg[binary]'"
        )
    if kind in {"ModuleNotFoundError", "ImportError"}:
        return _interpreter_way(location, python)
    if is_connection(event) or _lacks_url(kind, message):
        return url_way(tree, location, fallback=_OPTION_WAY if (kind, message) == ("KeyError", "'url'") else _URL_WAY)
    if kind == "KeyError" and (way := _variable_way(message.strip("'"), tree, location)):
        return way
    if event["sqlstate"]:
        return "correct the statement in env.py, and run the same command again"
    return "correct env.py or what it needs, and run the same command again"


def _variable_way(name: str, tree: Migrations, location: Location) -> str | None:
    """Say how ``env.py`` gets an environment variable that it reads, and that is not set."""
    if name in tree.env or name not in variables_of(_text(location.env), lambda each: _module(each, location)):
        return None
    return (
        f'env.py reads the environment variable {name}; write under `migrations`: env: {{{name}: "{{url}}"}} if it is '
        "the URL of the database, otherwise its value"
    )


def is_connection(event: Mapping[str, Any]) -> bool:
    """Tell whether a connection was not made, as psycopg, asyncpg and the system say it."""
    state = event["sqlstate"]
    return state[:2] in ("08", "28") or state == "3D000" if state else event["type"] in _NOT_CONNECTED


def addresses(event: Mapping[str, Any], server: str) -> list[str]:
    """Return a line that compares where ``env.py`` wanted to connect with where the server is; none if they agree."""
    if not is_connection(event) or not server:
        return []
    said = next((match for each in _ADDRESSES if (match := each.search(str(event["message"])))), None)
    tried = f"{said[1]}:{said[2]}" if said else event.get("address")
    return [f"env.py connects to {tried}, the declared server is {server}"] if tried and tried != server else []


def too_old(event: Mapping[str, Any], python: str) -> tuple[str, str] | None:
    """Return the sentence on an Alembic or SQLAlchemy that is too old for what is asked of it, and what to install."""
    versions = event.get("versions") or {}
    for package, name, needed, matters in (
        ("alembic", "Alembic", "1.16", "toml_file" in str(event["message"])),
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


def _is_since(event: Mapping[str, Any], version: tuple[int, ...]) -> bool:
    return _numbers((event.get("versions") or {}).get("sqlalchemy", "")) >= version


def _lacks_url(kind: str, message: str) -> bool:
    """Tell whether ``env.py`` was not given a variable or an option that it makes its URL of."""
    if kind == "KeyError":
        name = message.strip("'")
        return name == "url" or part(name) is not None
    if kind == "ValidationError":
        return any(part(line.strip()) for line in message.splitlines())
    return kind in ("ArgumentError", "NoSuchModuleError")


def url_way(tree: Migrations, location: Location, *, fallback: str = "") -> str:
    """Say how this ``env.py`` can be told the URL: with the keys of the spec that fit what it reads."""
    if tree.command:
        return "give the program the URL under `env`, for example `env: {DATABASE_URL: '{url}'}`"
    text = _text(location.env)
    found = ways(text, lambda name: _module(name, location))
    lines = []
    for key, of in (("env", found.env), ("options", found.options), ("x", found.x)):
        missing = {name: value for name, value in of.items() if name not in getattr(tree, key)}
        if missing:
            lines.append(f"{key}: {{{', '.join(f'{name}: {value!r}' for name, value in missing.items())}}}")
    lines = lines or [each for each in ways_in(text) if not _is_given(each, tree)][:3]
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
                return package, _text(root / file)
    return None


def _is_given(way: str, tree: Migrations) -> bool:
    key, _, name = way.partition(": {")
    return name.split(":")[0] in getattr(tree, key)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
