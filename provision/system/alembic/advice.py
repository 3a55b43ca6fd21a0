"""What to do about a migration that failed: what the project's own files say about how it wants to be run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provision.revisions.hints import settings_module, wants_preparation, ways_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.revisions import Location
    from provision.revisions.output import Failure
    from provision.spec.model import Migrations
    from provision.system.alembic.errors import Truth

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
    if (event["sqlstate"] == _UNDEFINED_TABLE or event["type"] in _UNPREPARED) and not truth.left:
        what = "make these tables" if event["sqlstate"] else "prepare something"
        program = f"have `migrations.prepare` {what} if the program of its application does so"
        return f"correct the revision, or {program}; then {truth.next_step}"
    return f"correct the revision; {truth.next_step}" if truth.left else f"correct the revision and {truth.next_step}"


def after_program(failure: Failure, truth: Truth, *, ended: bool) -> str:
    """Say what to do after a program of its own has failed; another run only helps against what passes by itself."""
    if ended or failure.passes:
        return truth.next_step
    if "No module named" in (failure.message or ""):
        return "install what is missing where the program runs; `url_driver` says which driver `{url}` names"
    correct = "correct the revision" if failure.revision else "correct what it says"
    return f"remove what was left behind, and {correct}" if truth.left else correct


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
    if kind in {"ModuleNotFoundError", "ImportError"}:
        return _interpreter_way(location, python)
    if kind in {"OperationalError", "InvalidPasswordError"} or event["sqlstate"]:
        return url_way(tree, location)
    return "correct env.py or what it needs, and run the same command again"


def url_way(tree: Migrations, location: Location) -> str:
    """Say how this ``env.py`` can be told the URL: with the keys of the spec that fit what it reads."""
    if tree.command:
        return "give the program the URL under `env`, for example `env: {DATABASE_URL: '{url}'}`"
    text = _text(location.env)
    ways = [each for each in ways_in(text) if not _is_given(each, tree)]
    if ways:
        return f"tell env.py the URL; it reads what this line in `migrations` sets: {' or '.join(ways[:3])}"
    if module := settings_module(text):
        return (
            f"tell env.py the URL: it takes it from {module}, so set under `env` the variable which that reads, "
            "for example `env: {DATABASE_URL: '{url}'}`"
        )
    return _URL_WAY


def _is_given(way: str, tree: Migrations) -> bool:
    key, _, name = way.partition(": {")
    return name.split(":")[0] in getattr(tree, key)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
