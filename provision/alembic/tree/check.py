"""What can be wrong with a tree as a whole, and how it is told: with the files, and the way out."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from provision.alembic.tree.repository import is_in_repository
from provision.errors import MigrationsError, command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from provision.alembic.tree.source import Revision

_ILLEGAL = frozenset("@-+:")  # Alembic's: they have a meaning in a target
_SHOWN = 5


def by_id(revisions: Iterable[Revision]) -> dict[str, Revision]:
    """Return the revisions by their id.

    Raises:
        MigrationsError: two files have the same id, or an id is empty or has a character that Alembic refuses.
    """
    found: dict[str, Revision] = {}
    for each in revisions:
        if not each.id:
            raise MigrationsError(
                f"{each.place} has an empty revision id",
                next_step="give it an id, also in the `down_revision` of the revision that follows it",
            )
        if each.id in found:
            raise MigrationsError(
                f"two files are revision {each.id}",
                evidence=(found[each.id].place, each.place),
                next_step="give one of them an id of its own and correct the `down_revision` of what follows it",
            )
        if not _ILLEGAL.isdisjoint(each.id):
            raise MigrationsError(
                f"{each.place} has the id {each.id!r}, and Alembic allows none of @ - + : in an id",
                next_step="rename the revision; in a database that has it, update the version table with it",
            )
        found[each.id] = each
    return found


def labels(revisions: Mapping[str, Revision]) -> dict[str, str]:
    """Return the revision that each branch label stands at.

    Raises:
        MigrationsError: a label is used twice, or is the id of a revision.
    """
    found: dict[str, str] = {}
    for each in revisions.values():
        for label in each.branch_labels:
            other = revisions.get(found.get(label, label))
            if other is not None:
                raise MigrationsError(
                    f"the branch label {label} is used twice",
                    evidence=(other.place, each.place),
                    next_step="rename one of them",
                )
            found[label] = each.id
    return found


def complete(revisions: Mapping[str, Revision], known_labels: Mapping[str, str]) -> None:
    """Check that every revision that is referred to is there.

    Raises:
        MigrationsError: one is not.
    """
    for each in revisions.values():
        for name, word in [(n, "follows") for n in each.down] + [(n, "depends on") for n in each.depends_on]:
            if name in revisions or (word == "depends on" and name in known_labels):
                continue
            search = f" (git log --all -S{quote(name)} finds it)" if is_in_repository(each.path) else ""
            raise MigrationsError(
                f"{each.path}:{each.down_line} {word} revision {name}, which no file has",
                evidence=_similar(name, revisions),
                next_step=f"restore the file of revision {name}{search}, or correct the id",
            )


def acyclic(revisions: Mapping[str, Revision], parents: Mapping[str, Sequence[str]]) -> None:
    """Check that no revision is its own ancestor.

    Raises:
        MigrationsError: there is a cycle; its files are the evidence.
    """
    missing = {name: len(before) for name, before in parents.items()}
    after: dict[str, list[str]] = {name: [] for name in parents}
    for name, before in parents.items():
        for each in before:
            after[each].append(name)
    ready = [name for name, count in missing.items() if count == 0]
    while ready:
        for name in after[ready.pop()]:
            missing[name] -= 1
            if missing[name] == 0:
                ready.append(name)
    stuck = [name for name, count in missing.items() if count]
    if not stuck:
        return
    path = [stuck[0]]
    while path.count(path[-1]) == 1:
        path.append(next(each for each in parents[path[-1]] if missing[each]))
    cycle = path[path.index(path[-1]) :]
    raise MigrationsError(
        f"the revisions go round in a circle: {' → '.join(cycle)}",
        evidence=[f"{revisions[each].path}:{revisions[each].down_line}" for each in cycle[:-1]],
        next_step="correct the `down_revision` or `depends_on` of one of these files",
    )


def elsewhere(unread: Sequence[Path]) -> tuple[list[str], str]:
    """Return where a revision that no file has may be, and what to write so that it is found there."""
    if not unread:
        return [], ""
    shown = [f"not read: {each}" for each in unread[:_SHOWN]]
    return (
        shown,
        "if a file in these directories has it, under `migrations`: options: {recursive_version_locations: 'true'}",
    )


def several_heads(heads: Sequence[Revision], target: str = "head", branches: Sequence[str] = ()) -> MigrationsError:
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


def several_starts(target: str, found: Sequence[Revision]) -> MigrationsError:
    """Return the error for steps that begin, or go on, at more than one revision."""
    return MigrationsError(
        f"`target: {target}` is ambiguous: its steps lead to {len(found)} revisions",
        evidence=[f"{each}  ({each.path})" for each in found[:_SHOWN]],
        next_step="write the revision itself, or the branch before it: branch@…",
    )


def too_far(target: str) -> MigrationsError:
    """Return the error for steps that lead out of the tree."""
    return MigrationsError(
        f"`target: {target}` leads out of the tree: it has not so many revisions",
        next_step="write fewer steps, head, base, or a revision's id",
    )


def at_the_end(target: str, last: Revision, steps: int, branch: str | None) -> MigrationsError:
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


def not_one(target: str, found: Sequence[Revision], revisions: Mapping[str, Revision]) -> MigrationsError:
    """Return the error for a target that no revision, or more than one, begins with."""
    if found:
        return MigrationsError(
            f"`target: {target}` is ambiguous: {len(found)} revisions begin with it",
            evidence=[f"{each}  ({each.path})" for each in found[:_SHOWN]],
            next_step="write more characters of the id",
        )
    return MigrationsError(
        f"`target: {target}` is not a revision of this tree",
        evidence=(*_similar_word(target), *_similar(target, revisions)),
        next_step="write head, heads, base, or a revision's id or the beginning of it",
    )


def _similar_word(name: str) -> tuple[str, ...]:
    import difflib

    close = difflib.get_close_matches(name.lower(), ("head", "heads", "base"), n=1)
    return tuple([f"did you mean `{each}`?" for each in close])


def _similar(name: str, revisions: Mapping[str, Revision]) -> tuple[str, ...]:
    import difflib

    close = difflib.get_close_matches(name, revisions, n=_SHOWN)
    return tuple([f"did you mean {revisions[each]}  ({revisions[each].path})?" for each in close])
