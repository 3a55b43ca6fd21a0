"""Serves one request: runs the revisions that were planned, or tells which revisions there are."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import guard
from .channel import Channel, ElsewhereError, Progress, describe, first_line
from .config import (
    Attributes,
    add_import_root,
    first_driver,
    keep_logging,
    make_config,
    script_directory,
    set_environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .config import Request


def main() -> int:
    """Serve one request."""
    channel = Channel(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    progress = Progress(channel)
    try:
        channel.say("ready", **versions())
        line = sys.stdin.readline()
        if not line:
            return 0
        request: Request = json.loads(line)
        channel.hide(request["secrets"])
        _die_with_parent()
        add_import_root(request["cwd"])
        progress.stage = "config"
        set_environment(request)
        serve = resolve if request["direction"] == "resolve" else migrate
        serve(request, progress)
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
    return {
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "alembic": alembic.__version__,
        "sqlalchemy": sqlalchemy.__version__,
        "driver": first_driver(),
    }


def migrate(request: Request, progress: Progress) -> None:
    """Run ``env.py`` with the functions of Alembic wrapped, so that every revision is announced."""
    from alembic.runtime.environment import EnvironmentContext

    config = make_config(request)
    script = script_directory(config)
    progress.own = [os.path.abspath(place) + os.sep for place in (script.dir, *script._version_locations)]  # noqa: PTH100, SLF001
    progress.stage = "load"
    script.get_heads()  # loads every revision file, so that an error in one is told apart from one in env.py
    progress.stage = "env"
    keep_logging()
    guard.watch(progress)
    attributes = Attributes(request, config)

    def steps(heads: tuple[str, ...], _context: Any) -> Iterator[Any]:
        for step in _steps(script, request, heads):
            progress.start(step)
            yield step  # Alembic runs it, writes its row, and commits
            progress.done(step)

    environment = EnvironmentContext(
        config,
        script,
        fn=steps,
        as_sql=False,
        starting_rev=None,
        destination_rev=tuple(request["target"]) or "base",
        tag=None,
        version_table=request["version_table"],
        version_table_schema=request["version_table_schema"],
    )
    _wrap(environment, request, progress)
    with environment:
        script.run_env()
        attributes.finish()


def resolve(request: Request, progress: Progress) -> None:
    """Tell where the tree is, and what its revisions state: for files that only running can answer for."""
    from alembic.util import to_list

    package = request["package"]
    if package is not None:
        path = _directory_of(package)
        progress.channel.say("location", script=path, installed=sys.path)
        return
    script = script_directory(make_config(request))
    progress.stage = "load"
    for found in script.walk_revisions("base", "heads"):
        progress.channel.say(
            "revision",
            path=found.path,
            revision=found.revision,
            down=to_list(found.down_revision) or [],
            depends_on=to_list(found.dependencies) or [],
            labels=sorted(to_list(getattr(found.module, "branch_labels", None)) or []),
            message=first_line(found.module.__doc__),
        )


def _directory_of(place: str) -> str:
    """Return the directory that ``package:dir`` names."""
    from importlib.util import find_spec

    package, _, rest = place.partition(":")
    found = find_spec(package)
    for root in (found.submodule_search_locations or ()) if found else ():
        path = os.path.join(root, *rest.split(":"))  # noqa: PTH118
        if os.path.isdir(path):  # noqa: PTH112
            return path
    message = f"no directory {rest!r} in the package {package!r}" if found else f"No module named {package!r}"
    raise ModuleNotFoundError(message)


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
        if request["transaction_per_revision"]:
            kw.setdefault("transaction_per_migration", True)
        else:
            kw["transaction_per_migration"] = False
        configure(*args, **kw)

    def run_in_our_database(**kw: Any) -> None:
        context = environment.get_context()
        table = ".".join(filter(None, (context.version_table_schema, context.version_table)))
        guard.prove_place(context.connection, request["lock"], progress, table, request["lock_timeout"])
        run_migrations(**kw)

    environment.configure = configure_with_defaults
    environment.run_migrations = run_in_our_database


def _die_with_parent() -> None:
    """End when the parent has gone: its lock is gone with it, and nobody is left to be told.

    The pipe from the parent moves out of the way, so that the user's code finds an empty standard input.
    """
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def listen() -> None:
        while os.read(parent, 1):
            pass
        os._exit(130)

    threading.Thread(target=listen, daemon=True).start()
