"""Runs the revisions that were planned, or writes the version table that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .channel import Progress, ReportedError
from .code_cache import keep_code
from .config import Attributes, keep_logging, load_tree
from .connection import Committed, around_function, bind, environment, tell_sessions, watch
from .rehearse import Trace, fence, walk
from .version_row import move_by_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .protocol import Migrate


def protect(request: Migrate) -> None:
    """Keep a rehearsal in its own database."""
    if request["rehearsal"] and request["lock"]:
        fence(request["lock"])


def serve(config: Any, request: Migrate, progress: Progress) -> None:
    """Run ``env.py`` with the functions of Alembic wrapped, so that every revision is announced."""
    script = load_tree(config, progress)
    if not progress.is_followed:  # by a request before this one
        progress.is_followed = True
        keep_logging()
        tell_sessions(request, progress)
        watch(progress)
        Committed(progress).listen()
        move_by_text()
    keep_code(script, more=request["more"])
    rehearsal = request["rehearsal"]
    if rehearsal and rehearsal["trace"]:
        Trace(script, progress).listen()
    attributes = Attributes(request, config)

    def steps(heads: tuple[str, ...], context: Any) -> Iterator[Any]:
        if rehearsal and rehearsal["walk"]:
            yield from walk(script, rehearsal, progress, context)
            return
        is_declared = progress.tables[-1] == request["declared_table"]
        if request["direction"] == "stamp":
            yield from _stamps(script, request, heads, is_declared=is_declared)
            return
        planned = _steps(script, request, heads, is_declared=is_declared)
        for number, step in enumerate(planned, 1):
            progress.start(step)
            around_function(step, progress, context.connection, (number, len(planned)))
            yield step  # Alembic runs it, writes its row, and commits
            progress.done(step, soon=number < len(planned))

    entered = environment(config, script, request, steps, destination_rev=tuple(request["target"]) or "base")
    bind(entered, request, progress)
    with entered:
        script.run_env()
        attributes.finish()


def _steps(script: Any, request: Migrate, heads: tuple[str, ...], *, is_declared: bool) -> list[Any]:
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
                raise ReportedError("incomplete", f"{request['direction']}()", each.path)
        return [make(script.revision_map, each) for each in revisions]
    if upgrade:
        return list(script._upgrade_revs(tuple(request["target"]), heads))  # noqa: SLF001
    if is_declared:
        raise _other_rows(heads, request)
    applied = {each.revision for each in script.iterate_revisions(heads, "base")} if heads else set()
    undone = [script.get_revision(name) for name in request["revisions"] if name in applied]
    return [MigrationStep.downgrade_from_script(script.revision_map, each) for each in undone]


def _stamps(script: Any, request: Migrate, heads: tuple[str, ...], *, is_declared: bool) -> Iterator[Any]:
    """Yield what removes rows that do not belong there, and what adds those that are missing; nothing runs."""
    from alembic.runtime.migration import StampStep

    if is_declared and sorted(heads) != sorted(request["rows"]):
        raise _other_rows(heads, request)
    for name in sorted(set(heads) - set(request["target"])):
        yield StampStep(name, None, False, True, script.revision_map)
    for name in sorted(set(request["target"]) - set(heads)):
        yield StampStep((), name, True, True, script.revision_map)


def _other_rows(heads: tuple[str, ...], request: Migrate) -> ReportedError:
    found, known = (", ".join(rows) or "base" for rows in (heads, request["rows"]))
    return ReportedError("elsewhere", f"env.py finds the database at {found}, not at {known}")
