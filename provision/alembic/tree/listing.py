"""The revisions of a tree as a list, and what Alembic says of each in ``history`` and ``heads``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.targets import resolve_typed
from provision.errors import MigrationsError
from provision.model.value import dataclass, replace


@dataclass(frozen=True)
class Entry:
    """One revision of a list. ``path`` is None for one that this checkout does not have.

    ``branch_labels`` are those of its branch; ``is_head``: nothing builds or depends on it; ``is_effective_head``:
    something depends on it, and nothing follows it; ``is_current``: the database is at it, None where that was not
    asked. ``applied_at`` is when it was applied, in UTC to the second, where the ledger was asked and knows it.
    """

    id: str
    message: str = ""
    down: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    branch_labels: tuple[str, ...] = ()
    is_head: bool = False
    is_effective_head: bool = False
    is_branch_point: bool = False
    is_current: bool | None = None
    path: Path | None = None
    applied_at: str | None = None


def entries(
    graph: Graph,
    names: Collection[str],
    current: Collection[str] | None = None,
    times: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Entry, ...]:
    """Return what there is to say of revisions; one that the tree does not have has no path.

    ``current`` are the rows of the version table, where they were asked for; ``times`` says when each was applied.
    """
    labels = _labels(graph)
    return tuple(
        [replace(_entry(graph, name, labels.get(name, ()), current), applied_at=times.get(name)) for name in names]
    )


def _entry(graph: Graph, name: str, labels: tuple[str, ...], current: Collection[str] | None) -> Entry:
    is_current = None if current is None else name in current
    if name not in graph:
        return Entry(name, is_current=is_current)
    revision, followed, needed = graph[name], graph.children(name), graph.dependents(name)
    return Entry(
        name,
        revision.message,
        revision.down,
        revision.depends_on,
        labels,
        is_head=not followed and not needed,
        is_effective_head=not followed and bool(needed),
        is_branch_point=len(followed) > 1,
        is_current=is_current,
        path=revision.path,
    )


def history(graph: Graph, between: str | None = None, rows: Collection[str] = ()) -> tuple[str, ...]:
    """Return revisions, the newest first: all of them, or those of ``FROM:TO``, both included.

    ``rows`` is where the database is, for ``current`` and for a target that is relative to it.

    Raises:
        MigrationsError: it is no range, or an end of it is not of this tree.
    """
    first, colon, last = (between or ":").partition(":")
    if not colon:
        raise MigrationsError(
            f"{between!r} is no range of revisions", next_step="write FROM:TO, FROM: or :TO, for example base:head"
        )
    top = _end(graph, last or "heads", rows)
    bottom = _end(graph, first or "base", rows)
    found = graph.ancestors(top)
    return graph.newest_first(found & graph.followers(bottom) if bottom else found, top)


def _end(graph: Graph, name: str, rows: Collection[str]) -> tuple[str, ...]:
    return tuple(rows) if name == "current" else resolve_typed(graph, name, rows or None)


def _labels(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the branch labels of each revision, as Alembic spreads them.

    They are those of all that follows, and of what comes before down to the last fork or join.
    """
    found: dict[str, set[str]] = {}
    for name, revision in graph.revisions.items():
        if not revision.branch_labels:
            continue
        share, at = graph.followers((name,)), name
        while len({*graph.children(at), *graph.dependents(at)}) < 2 and len(graph[at].down) < 2:  # noqa: PLR2004
            share.add(at)
            if not graph[at].down:
                break
            (at,) = graph[at].down
        for each in share:
            found.setdefault(each, set()).update(revision.branch_labels)
    return {name: tuple(sorted(labels)) for name, labels in found.items()}
