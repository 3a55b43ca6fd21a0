"""Runs the revisions that were planned, or writes the version table that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import guard, rehearse
from .channel import ElsewhereError, IncompleteError
from .committed import Committed
from .config import Attributes, keep_logging, load_tree
from .environment import bind
from .trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .channel import Progress
    from .config import Request


def protect(request: Request) -> None:
    """Keep a rehearsal in its own database."""
    if request.get("scratch"):
        rehearse.fence(request["lock"])


def serve(config: Any, request: Request, progress: Progress) -> None:
    """Run ``env.py`` with the functions of Alembic wrapped, so that every revision is announced."""
    from alembic.runtime.environment import EnvironmentContext

    script = load_tree(config, progress)
    keep_logging()
    guard.tell_sessions(progress)
    guard.watch(progress)
    Committed(progress).listen()
    if request.get("trace"):
        Trace(script, progress).listen()
    attributes = Attributes(request, config)

    def steps(heads: tuple[str, ...], context: Any) -> Iterator[Any]:
        if request.get("walk"):
            yield from rehearse.walk(script, request, progress, context)
            return
        is_declared = progress.tables[-1] == request["declared_table"]
        if request["direction"] == "stamp":
            yield from _stamps(script, request, heads, is_declared=is_declared)
            return
        planned = _steps(script, request, heads, is_declared=is_declared)
        for number, step in enumerate(planned, 1):
            progress.start(step)
            guard.around_function(step, progress, context.connection, is_last=number == len(planned))
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
    bind(environment, request, progress)
    with environment:
        script.run_env()
        attributes.finish()


def _steps(script: Any, request: Request, heads: tuple[str, ...], *, is_declared: bool) -> list[Any]:
    """Return the steps that were planned, or Alembic's own where ``env.py`` keeps its rows in another place.

    In another version table than the declared one, a downgrade undoes what was planned as far as it is applied there.
    """
    from alembic.runtime.migration import MigrationStep

    upgrade = request["direction"] == "upgrade"
    if sorted(heads) == sorted(request["rows"]):
        make = MigrationStep.upgrade_from_script if upgrade else MigrationStep.downgrade_from_script
        revisions = [script.get_revision(name) for name in request["revisions"]]
        for each in revisions:
            if not hasattr(each.module, request["direction"]):
                raise IncompleteError(each.path, f"{request['direction']}()")
        return [make(script.revision_map, each) for each in revisions]
    if upgrade:
        return list(script._upgrade_revs(tuple(request["target"]), heads))  # noqa: SLF001
    if is_declared:
        raise _other_rows(heads, request)
    applied = {each.revision for each in script.iterate_revisions(heads, "base")} if heads else set()
    undone = [script.get_revision(name) for name in request["revisions"] if name in applied]
    return [MigrationStep.downgrade_from_script(script.revision_map, each) for each in undone]


def _stamps(script: Any, request: Request, heads: tuple[str, ...], *, is_declared: bool) -> Iterator[Any]:
    """Yield what takes rows away that shall not be there, and what adds those that are missing; nothing runs."""
    from alembic.runtime.migration import StampStep

    if is_declared and sorted(heads) != sorted(request["rows"]):
        raise _other_rows(heads, request)
    for name in sorted(set(heads) - set(request["target"])):
        yield StampStep(name, None, False, True, script.revision_map)
    for name in sorted(set(request["target"]) - set(heads)):
        yield StampStep((), name, True, True, script.revision_map)


def _other_rows(heads: tuple[str, ...], request: Request) -> ElsewhereError:
    found, known = (", ".join(rows) or "base" for rows in (heads, request["rows"]))
    return ElsewhereError(f"env.py finds the database at {found}, not at {known}")
