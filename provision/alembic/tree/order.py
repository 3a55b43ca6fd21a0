"""The order in which Alembic runs revisions.

A tree leaves the order of independent branches open, and a plan should list what will run in the order in which it
will run. So this is Alembic's own walk (``RevisionMap._topological_sort``), not just any topological order: it follows
one branch down as far as it can and changes over only where another head depends on the next revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from collections.abc import Set as AbstractSet


def newest_first(
    revisions: AbstractSet[str],
    heads: Collection[str],
    parents: Mapping[str, tuple[str, ...]],
    simple: Callable[[str], bool],
    ancestors: Callable[[Collection[str]], AbstractSet[str]],
) -> tuple[str, ...]:
    """Return ``revisions`` so that each stands before all that it builds on.

    ``parents`` are the immediate predecessors in the order of the tree's files, ``simple`` tells a revision with
    exactly one of them and no dependency, ``ancestors`` includes the revisions that it is asked about.
    """
    rank = {each: number for number, each in enumerate(parents)}
    todo = set(revisions)
    walk = sorted({head for head in heads if head in todo}, key=rank.__getitem__)
    above = [set(ancestors((head,))) for head in walk]
    output: list[str] = []
    at = 0
    while walk:
        candidate = walk[at]
        dependent = next((i for i, known in enumerate(above) if i != at and candidate in known), None)
        if dependent is not None:
            at = dependent
            continue
        if candidate in todo:
            output.append(candidate)
            todo.remove(candidate)
        following = [each for each in parents[candidate] if each in todo and each not in walk]
        if not following:
            del walk[at], above[at]
            at = max(at - 1, 0)
        elif simple(candidate):
            walk[at] = following[0]
            above[at].discard(candidate)
        else:
            walk[at] = following[0]
            walk += following[1:]
            above[at] = set(ancestors(following[:1]))
            above += [set(ancestors((each,))) for each in following[1:]]
    return tuple(output)
