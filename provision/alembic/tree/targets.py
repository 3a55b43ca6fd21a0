"""What a target means: the revisions that it names, and where an upgrade, a downgrade or a stamp leads.

``head``, ``heads``, ``base``, an id or the unique beginning of one, a branch label, ``branch@`` before any of them, and
so many steps from there (``1975ea+2``, ``head-1``). ``+2`` and ``-1`` alone count from where the database is: verbs
accept them, a spec does not, because each apply would go further.
https://alembic.sqlalchemy.org/en/latest/branches.html

A spec names a state, and an apply undoes everything else. A verb is one move: an upgrade undoes nothing, a downgrade
keeps what does not follow its target, and a stamp keeps the rows of other branches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from provision.alembic.tree.graph import Graph, similar
from provision.alembic.tree.source import Revision
from provision.errors import MigrationsError, command
from provision.model.value import dataclass

RELATIVE = r"(?:(?P<branch>.+?)@)?(?P<start>\w+)?(?P<steps>[+-]\d+)"
"""A target that is so many steps from ``start``; without a start, from where the database is."""

_SHORTEST_PREFIXED = 4  # Alembic's: an id of up to three characters is never meant by a part of it


def resolve(graph: Graph, target: str, rows: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the revisions that a target means; ``rows`` are those of the database, where they are known.

    No revision means ``base``.

    Raises:
        MigrationsError: it means no revision, or it is ambiguous.
    """
    relative = re.fullmatch(RELATIVE, target)
    if relative is None or target in graph.revisions:
        return _absolute(graph, target)
    branch, start, steps = relative["branch"], relative["start"], int(relative["steps"])
    if start is None:
        if rows is None:
            raise MigrationsError(
                f"`target: {target}` counts from where the database is, so each apply would go further",
                next_step="write where it is to be: head, a revision, or a revision and steps like 1975ea+2",
            )
        found = _start(graph, target, branch, rows, up=steps > 0)
    else:
        name = f"{branch}@{start}" if branch and steps < 0 else start
        found = _absolute(graph, name)
    if len(found) > 1:
        raise _several_starts(target, [graph[name] for name in found])
    return _walk(graph, found[0] if found else None, steps, branch if steps > 0 else None, target)


def resolve_typed(graph: Graph, target: str, rows: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the revisions that a target means which was typed, and is not the spec's.

    Raises:
        MigrationsError: it means no revision, or it is ambiguous.
    """
    with _typed():
        return resolve(graph, target, rows)


@contextmanager
def _typed() -> Iterator[None]:
    """Have an error name what was typed, where it would name the ``target`` of a spec."""
    try:
        yield
    except MigrationsError as error:
        error.sentence = error.sentence.replace("`target: ", "`")
        error.next_step = error.next_step and error.next_step.replaced("`target: ", "`")
        raise


def needs_rows(target: str) -> bool:
    """Tell whether a target counts from where the database is: ``current``, ``+1``, ``branch@-1``."""
    relative = re.fullmatch(RELATIVE, target)
    return target == "current" or (relative is not None and relative["start"] is None)


def scope(graph: Graph, target: str) -> frozenset[str] | None:
    """Return the revisions that a target on a branch is about: other branches are left as they are. None: all."""
    branch, at, _ = target.partition("@")
    if not at:
        return None
    lineage = graph.lineage(_ident(graph, branch, target))
    return frozenset({name for name in graph.revisions if not lineage.isdisjoint(graph.ancestors((name,)))})


def _absolute(graph: Graph, target: str) -> tuple[str, ...]:
    branch, at, name = target.rpartition("@")
    if not at:
        return _plain(graph, target)
    share = graph.lineage(_ident(graph, branch, target))
    if name == "base":
        return ()
    if name in {"head", "heads"}:
        heads = [head for head in graph.heads if head in share]
        if len(heads) > 1 and name == "head":
            raise _several_heads([graph[head] for head in heads], target)
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
            raise _several_heads([graph[name] for name in graph.heads], branches=branches)
        return graph.heads
    return (_ident(graph, target, target),)


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
        raise _not_one(target, [graph[each] for each in found], graph.revisions)
    return found[0]


def _start(graph: Graph, target: str, branch: str | None, rows: Collection[str], *, up: bool) -> tuple[str, ...]:
    """Return where a target begins to count that names no start."""
    if not rows and not up:
        raise _too_far(target)
    if branch is None:
        return tuple(rows)
    share = graph.lineage(_ident(graph, branch, target))
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
        raise _too_far(target)
    return tips


def _walk(graph: Graph, start: str | None, steps: int, branch: str | None, target: str) -> tuple[str, ...]:
    """Go up or down the tree; None is below the first revision."""
    at = start
    share = graph.lineage(_ident(graph, branch, target)) if branch else None
    for number in range(abs(steps)):
        if steps > 0:
            following = graph.bases if at is None else graph.children(at)
            following = tuple([each for each in following if share is None or each in share])
        elif at is None:
            following = graph.heads if number == 0 else ()
        else:
            following = graph[at].down
        if len(following) > 1:
            raise _several_starts(target, [graph[name] for name in following])
        if not following and steps > 0 and at is not None:
            raise _at_the_end(target, graph[at], number, branch)
        if not following and (steps > 0 or at is None):
            raise _too_far(target)
        at = following[0] if following else None
    return (at,) if at is not None else ()


@dataclass(frozen=True)
class Move:
    """The revisions to run, in order, and the rows of the version table afterwards."""

    names: tuple[str, ...]
    rows: tuple[str, ...]


def move_up(graph: Graph, rows: Collection[str], target: str) -> Move:
    """Return what an upgrade runs: what ``target`` needs and is not applied yet.

    Raises:
        MigrationsError: the target is not one of this tree's, or it is not clear which.
    """
    wanted = resolve_typed(graph, target, rows)
    return Move(graph.pending(rows, wanted), graph.version_rows([*rows, *wanted]))


def move_down(graph: Graph, rows: Collection[str], target: str) -> Move:
    """Return what a downgrade undoes: what is applied and follows ``target``, and what depends on that.

    Raises:
        MigrationsError: the target is not applied, or it is not clear which it is.
    """
    with _typed():
        found = resolve(graph, target, rows)
        if len(found) > 1:
            raise _several_starts(target, [graph[name] for name in found])
    applied = graph.ancestors(rows)
    if found and found[0] not in applied:
        raise MigrationsError(
            f"revision {graph[found[0]]} is not applied, so nothing can be undone down to it",
            evidence=[f"applied: {graph[row]}" for row in rows] or ["nothing is applied"],
            next_step="write a revision that is applied, base, or steps like -1",
        )
    share = _share_of(graph, rows, target)
    roots = [name for name in (graph.children(found[0]) if found else graph.bases) if share is None or name in share]
    gone = graph.descendants(roots) & applied
    if not gone and found and found[0] not in rows:
        raise MigrationsError(
            f"nothing that follows revision {graph[found[0]]} is applied, so there is nothing to undo",
            evidence=[f"applied, and only depending on it: {graph[row]}" for row in rows],
            next_step="write the revision after which everything is to be undone, on the branch that is to go back",
        )
    return Move(graph.newest_first(gone, rows), graph.version_rows(applied - gone))


def rows_after_stamp(graph: Graph, rows: Collection[str], wanted: Sequence[str], *, purge: bool) -> tuple[str, ...]:
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
    found = [name for target in wanted for name in resolve_typed(graph, target, known)]
    kept = [row for row in known if not any(_is_about(graph, target, row, known) for target in wanted)]
    return graph.version_rows([*kept, *found])


def _is_about(graph: Graph, target: str, row: str, rows: Collection[str]) -> bool:
    """Tell whether a row is on a line with a target: base without a branch is about all of them."""
    branch, at, name = target.rpartition("@")
    if not at and name == "base":
        return True
    names = resolve(graph, target, rows) or (resolve(graph, branch) if at else ())
    near = graph.ancestors((row,)) | graph.descendants((row,))
    return not names or not near.isdisjoint(names)


def _share_of(graph: Graph, rows: Collection[str], target: str) -> frozenset[str] | None:
    """Return the revisions on the branch that a downgrade is about; None: all of them."""
    branch, at, _ = target.rpartition("@")
    if at:
        return graph.lineage(resolve(graph, branch)[0])
    relative = re.fullmatch(RELATIVE, target)
    if relative is None or target in graph or not rows:
        return None
    start = relative["start"] or next(iter(rows))
    return graph.lineage(resolve(graph, start)[0])


_SHOWN = 5


def _several_heads(heads: Sequence[Revision], target: str = "head", branches: Sequence[str] = ()) -> MigrationsError:
    """Return the error for ``head`` where there are several; ``branches`` are labels that each have one of them."""
    all_of_them = target + "s"
    one = f", `target: {branches[0]}@head` for that branch alone" if branches else ""
    return MigrationsError(
        f"`target: {target}` is ambiguous: the tree has {len(heads)} heads" + (" there" if "@" in target else ""),
        evidence=[f"{each}  ({each.path})" for each in heads],
        next_step=f"write `target: {all_of_them}` to apply all of them{one}, "
        "or join them: "
        + command("migrate merge", f"-m 'merge' {all_of_them if '@' not in target else ' '.join(e.id for e in heads)}"),
    )


def _several_starts(target: str, found: Sequence[Revision]) -> MigrationsError:
    """Return the error for steps that begin, or go on, at more than one revision."""
    return MigrationsError(
        f"`target: {target}` is ambiguous: its steps lead to {len(found)} revisions",
        evidence=[f"{each}  ({each.path})" for each in found[:_SHOWN]],
        next_step="write the revision itself, or the branch before it: branch@…",
    )


def _too_far(target: str) -> MigrationsError:
    """Return the error for steps that lead out of the tree."""
    return MigrationsError(
        f"`target: {target}` leads out of the tree, which has fewer revisions",
        next_step="write fewer steps, head, base, or a revision's id",
    )


def _at_the_end(target: str, last: Revision, steps: int, branch: str | None) -> MigrationsError:
    """Return the error for steps up from a revision that nothing follows; so many ``steps`` led to it."""
    where = f" on the branch {branch}" if branch else ""
    if steps:
        return MigrationsError(
            f"`target: {target}` leads out of the tree: after {steps} of its steps, nothing follows {last}{where}",
            next_step="write fewer steps, head, or a revision's id",
        )
    return MigrationsError(
        f"`target: {target}`: nothing follows {last}{where}: it is the head",
        next_step="write head, or a revision's id (" + command("migrate history") + " lists them)",
    )


def _not_one(target: str, found: Sequence[Revision], revisions: Mapping[str, Revision]) -> MigrationsError:
    """Return the error for a target that no revision, or more than one, begins with."""
    from difflib import get_close_matches

    if found:
        return MigrationsError(
            f"`target: {target}` is ambiguous: {len(found)} revisions begin with it",
            evidence=[f"{each}  ({each.path})" for each in found[:_SHOWN]],
            next_step="write more characters of the id",
        )
    words = get_close_matches(target.lower(), ("head", "heads", "base"), n=1)
    return MigrationsError(
        f"`target: {target}` is not a revision of this tree",
        evidence=(*[f"did you mean `{each}`?" for each in words], *similar(target, revisions)),
        next_step="write head, heads, base, or a revision's id or the beginning of it",
    )
