"""What a target means: the revisions that it stands for, by Alembic's own rules.

``head``, ``heads``, ``base``, an id or the unique beginning of one, a branch label, ``branch@`` before any of them, and
so many steps from there (``1975ea+2``, ``head-1``). ``+2`` and ``-1`` alone count from where the database is; a verb
can be asked for them, a spec cannot: it says where the database shall stand, and each apply would go further.
https://alembic.sqlalchemy.org/en/latest/branches.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.alembic.tree import check
from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from provision.alembic.tree.graph import Graph

RELATIVE = re.compile(r"(?:(?P<branch>.+?)@)?(?P<start>\w+)?(?P<steps>[+-]\d+)")
"""A target that is so many steps from ``start``; without a start, from where the database is."""

_SHORTEST_PREFIXED = 4  # Alembic's: an id of up to three characters is never meant by a part of it


def resolve(graph: Graph, target: str, rows: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the revisions that a target stands for; ``rows`` are those of the database, where they are known.

    None stands for ``base``.

    Raises:
        MigrationsError: it stands for none, or it is not clear for which.
    """
    relative = RELATIVE.fullmatch(target)
    if relative is None or target in graph.revisions:
        return _absolute(graph, target)
    branch, start, steps = relative["branch"], relative["start"], int(relative["steps"])
    if start is None:
        if rows is None:
            raise MigrationsError(
                f"`target: {target}` counts from where the database is, so each apply would go further",
                next_step="write where it shall stand: head, a revision, or a revision and steps like 1975ea+2",
            )
        found = _start(graph, target, branch, rows, up=steps > 0)
    else:
        name = f"{branch}@{start}" if branch and steps < 0 else start
        found = _absolute(graph, name)
    if len(found) > 1:
        raise check.several_starts(target, [graph[name] for name in found])
    return _walk(graph, found[0] if found else None, steps, branch if steps > 0 else None, target)


def range_end(graph: Graph, name: str, rows: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the revisions that one end of ``FROM:TO`` stands for.

    Raises:
        MigrationsError: it stands for none, or it is not clear for which.
    """
    try:
        return resolve(graph, name, rows)
    except MigrationsError as error:
        error.sentence = error.sentence.replace(f"`target: {name}`", f"`{name}`")
        error.next_step = error.next_step and error.next_step.replaced("`target: ", "`")
        raise


def needs_rows(target: str) -> bool:
    """Tell whether a target counts from where the database is: ``current``, ``+1``, ``branch@-1``."""
    relative = RELATIVE.fullmatch(target)
    return target == "current" or (relative is not None and relative["start"] is None)


def scope(graph: Graph, target: str) -> frozenset[str] | None:
    """Return the revisions that a target on a branch is about: other branches are left as they are. None: all."""
    branch, at, _ = target.partition("@")
    if not at:
        return None
    lineage = graph.lineage(_branch(graph, branch, target))
    return frozenset({name for name in graph.revisions if not lineage.isdisjoint(graph.ancestors((name,)))})


def _absolute(graph: Graph, target: str) -> tuple[str, ...]:
    branch, at, name = target.rpartition("@")
    if not at:
        return _plain(graph, target)
    share = graph.lineage(_branch(graph, branch, target))
    if name == "base":
        return ()
    if name in {"head", "heads"}:
        heads = [head for head in graph.heads if head in share]
        if len(heads) > 1 and name == "head":
            raise check.several_heads([graph[head] for head in heads], target)
        return tuple(heads)
    found = _ident(graph, name, target, share)
    if found not in share:
        raise MigrationsError(
            f"`target: {target}`: revision {found} is not on the branch {branch}",
            evidence=[f"{graph[found]}  ({graph[found].path})"],
            next_step=f"write `target: {found}`, or a revision of that branch",
        )
    return (found,)


def _plain(graph: Graph, target: str) -> tuple[str, ...]:
    if target == "base" or (target in {"head", "heads"} and not graph.revisions):
        return ()
    if target == "heads":
        return graph.version_rows(graph.heads)
    if target == "head":
        if len(graph.heads) > 1:
            branches = [each for each, at in graph.labels.items() if len(graph.lineage(at) & {*graph.heads}) == 1]
            raise check.several_heads([graph[name] for name in graph.heads], branches=branches)
        return graph.heads
    return (_ident(graph, target, target),)


def _branch(graph: Graph, branch: str, target: str) -> str:
    return _ident(graph, branch, target)


def _ident(graph: Graph, name: str, target: str, share: Collection[str] | None = None) -> str:
    """Return the revision with an id, a branch label, or the unique beginning of one of them."""
    if name in graph.revisions:
        return name
    if name in graph.labels:
        return graph.labels[name]
    known = {**graph.labels, **{each: each for each in graph.revisions}}
    keys = [each for each in known if len(each) >= _SHORTEST_PREFIXED and each.startswith(name)]
    found = [known[each] for each in keys if share is None or known[each] in share]
    if len(found) != 1:
        raise check.not_one(target, [graph[each] for each in found], graph.revisions)
    return found[0]


def _start(graph: Graph, target: str, branch: str | None, rows: Collection[str], *, up: bool) -> tuple[str, ...]:
    """Return where a target begins to count that names no start."""
    if not rows and not up:
        raise check.too_far(target)
    if branch is None:
        return tuple(rows)
    share = graph.lineage(_branch(graph, branch, target))
    found = [name for name in rows if name in share]
    if found:
        return tuple(found)
    active = graph.ancestors(rows)
    on_branch = [name for name in active if name in share]
    if up:
        below = {before for name in on_branch for before in graph.predecessors(name)}
    else:
        below = {before for name in active for before in graph[name].down}
    tips = tuple([name for name in on_branch if name not in below])
    if not up and not tips:
        raise check.too_far(target)
    return tips


def _walk(graph: Graph, start: str | None, steps: int, branch: str | None, target: str) -> tuple[str, ...]:
    """Go up or down the tree; None is below the first revision."""
    at = start
    share = graph.lineage(_branch(graph, branch, target)) if branch else None
    for number in range(abs(steps)):
        if steps > 0:
            following = graph.bases if at is None else graph.children(at)
            following = tuple([each for each in following if share is None or each in share])
        elif at is None:
            following = graph.heads if number == 0 else ()
        else:
            following = graph[at].down
        if len(following) > 1:
            raise check.several_starts(target, [graph[name] for name in following])
        if not following and steps > 0 and at is not None:
            raise check.at_the_end(target, graph[at], number, branch)
        if not following and (steps > 0 or at is None):
            raise check.too_far(target)
        at = following[0] if following else None
    return (at,) if at is not None else ()
