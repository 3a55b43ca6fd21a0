"""From where a database is to a target that somebody typed: what Alembic's ``upgrade``, ``downgrade`` and ``stamp`` do.

A spec says where a tree shall stand, and everything else is undone. A verb is about one move: an upgrade undoes
nothing, a downgrade leaves alone what does not follow its target, and a stamp leaves other branches as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.tree import check
from provision.alembic.tree.targets import RELATIVE
from provision.errors import MigrationsError, command

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from provision.alembic.tree.graph import Graph


@dataclass(frozen=True, slots=True)
class Move:
    """The revisions to run, in order, and the rows of the version table afterwards."""

    names: tuple[str, ...]
    rows: tuple[str, ...]


def up(graph: Graph, rows: Collection[str], target: str) -> Move:
    """Return what an upgrade runs: what ``target`` needs and is not applied yet.

    Raises:
        MigrationsError: the target is not one of this tree's, or it is not clear which.
    """
    wanted = _resolve(graph, target, rows)
    return Move(graph.pending(rows, wanted), graph.version_rows([*rows, *wanted]))


def down(graph: Graph, rows: Collection[str], target: str) -> Move:
    """Return what a downgrade undoes: what is applied and follows ``target``, and what depends on that.

    Raises:
        MigrationsError: the target is not applied, or it is not clear which it is.
    """
    found = _resolve(graph, target, rows)
    if len(found) > 1:
        raise _typed(check.several_starts(target, [graph[name] for name in found]))
    applied = graph.ancestors(rows)
    if found and found[0] not in applied:
        raise MigrationsError(
            f"revision {graph[found[0]]} is not applied, so nothing can be undone down to it",
            evidence=[f"applied: {graph[row]}" for row in rows] or ["nothing is applied"],
            next_step="write a revision that is applied, base, or steps like -1",
        )
    share = _branch(graph, rows, target)
    roots = [name for name in (graph.children(found[0]) if found else graph.bases) if share is None or name in share]
    gone = graph.descendants(roots) & applied
    if not gone and found and found[0] not in rows:
        raise MigrationsError(
            f"nothing that follows revision {graph[found[0]]} is applied, so there is nothing to undo",
            evidence=[f"applied, and only depending on it: {graph[row]}" for row in rows],
            next_step="write the revision, on the branch that shall go back, after which everything is to be undone",
        )
    return Move(graph.newest_first(gone, rows), graph.version_rows(applied - gone))


def stamp(graph: Graph, rows: Collection[str], wanted: Sequence[str], *, purge: bool) -> tuple[str, ...]:
    """Return the rows after a stamp: the ``wanted`` targets, and those on other branches unless they are purged.

    Raises:
        MigrationsError: a target or a row is not one of this tree's.
    """
    unknown = graph.unknown(rows)
    if unknown and not purge:
        raise MigrationsError(
            f"the database is at revision {', '.join(unknown)}, which this checkout does not have",
            next_step="to forget it, and everything else that is written there: "
            + command("migrate stamp", f"--purge {' '.join(wanted)}"),
        )
    known = () if purge else rows
    found = [name for target in wanted for name in _resolve(graph, target, known)]
    kept = [row for row in known if not any(_is_about(graph, target, row, known) for target in wanted)]
    return graph.version_rows([*kept, *found])


def _resolve(graph: Graph, target: str, rows: Collection[str]) -> tuple[str, ...]:
    try:
        return graph.resolve(target, rows)
    except MigrationsError as error:
        raise _typed(error) from None


def _typed(error: MigrationsError) -> MigrationsError:
    """Return an error about a target of the spec as one about a target that was typed."""
    return MigrationsError(
        error.sentence.replace("`target: ", "`"),
        evidence=error.evidence,
        next_step=error.next_step and error.next_step.replaced("`target: ", "`"),
    )


def _is_about(graph: Graph, target: str, row: str, rows: Collection[str]) -> bool:
    """Tell whether a row is on a line with a target: base without a branch is about all of them."""
    branch, at, name = target.rpartition("@")
    if not at and name == "base":
        return True
    names = graph.resolve(target, rows) or (graph.resolve(branch) if at else ())
    near = graph.ancestors((row,)) | graph.descendants((row,))
    return not names or not near.isdisjoint(names)


def _branch(graph: Graph, rows: Collection[str], target: str) -> frozenset[str] | None:
    """Return the revisions on the branch that a downgrade is about; None: all of them."""
    branch, at, _ = target.rpartition("@")
    if at:
        return graph.lineage(graph.resolve(branch)[0])
    relative = RELATIVE.fullmatch(target)
    if relative is None or target in graph or not rows:
        return None
    start = relative["start"] or next(iter(rows))
    return graph.lineage(graph.resolve(start)[0])
