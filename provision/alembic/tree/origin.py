"""Where a revision comes from that the database has and this checkout has not: what Git printed, and what to do.

Git is asked by :mod:`provision.system.git`; here it is only decided what its answers mean. Nothing is ever stamped: the
database is at that revision, and only the code that brought it there can take it back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from shlex import join, quote
from typing import TYPE_CHECKING

from provision.errors import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.location import Location

REFS = "%(refname)%00%(HEAD)%00%(worktreepath)"
COMMIT = "%H%x00%h%x00%cs%x00%an%x00%s"
LINES = "^(down_)?revision[^=]*="
"""The lines in which a file states its own id and the one before it, as an extended regular expression."""
_STATES = re.compile(r"(?P<what>(?:down_)?revision)\b[^=]*=\s*(?:[\"'](?P<id>[^\"']+)[\"']|(?P<none>None))\s*(?:#.*)?")
_SPECIAL = re.compile(r"[][\\.^$*+?(){}|]")
_OTHERS = 3
OUTSIDE = "this tree is in none of its repositories"
_RANKS = ("refs/heads/", "refs/remotes/", "refs/tags/")
_CHECKED_OUT = "HEAD"


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that brought a revision. ``date`` is a day."""

    id: str
    short: str
    date: str
    author: str
    subject: str

    def __str__(self) -> str:
        return f"commit {self.short} of {self.date} by {self.author}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch, a tag, or what is checked out here (``HEAD``).

    ``worktree`` is where else it is checked out, and ``path`` the file that it has, below the repository's top.
    """

    name: str
    worktree: str = ""
    path: str = ""

    @property
    def short(self) -> str:
        """The name as people write it."""
        return re.sub(r"^refs/(heads|remotes|tags)/", "", self.name)

    def __str__(self) -> str:
        if self.name == _CHECKED_OUT:
            return "the commit that is checked out here"
        where = f" (checked out in {self.worktree})" if self.worktree else ""
        return f"{'tag' if self.name.startswith('refs/tags/') else 'branch'} {self.short}{where}"


@dataclass(frozen=True, slots=True)
class Origin:
    """What Git says about a revision.

    ``refs`` have its file now, the likeliest first, and ``commit`` brought it. ``back`` is the last revision that both
    they and this checkout have. ``trouble`` is why Git could not say. ``git`` is how Git is called from here.
    """

    revision: str
    refs: tuple[Ref, ...] = ()
    commit: Commit | None = None
    upstream: str = ""
    back: str | None = None
    is_shallow: bool = False
    trouble: str = ""
    git: tuple[str, ...] = ("git",)


def pattern(revision: str) -> str:
    """Return the extended regular expression of the line in which a file states this id."""
    name = _SPECIAL.sub(r"\\\g<0>", revision)
    return f"^revision[^=]*=[[:space:]]*[\"']{name}[\"']"


def pathspecs(location: Location, top: Path) -> tuple[str, ...]:
    """Return where Git shall look: in the directories of this tree alone, because another may have the same ids."""
    found = []
    for directory in location.versions:
        real = directory.resolve()
        if real.is_relative_to(top):
            below = re.sub(r"[][\\*?]", r"\\\g<0>", real.relative_to(top).as_posix())
            found.append(f":(top,glob){below}/{'**/' if location.recursive else ''}*.py")
    return tuple(found)


def commits(printed: str) -> tuple[Commit, ...]:
    """Return the commits that ``git log`` has printed as :data:`COMMIT`."""
    fields = [line.split("\0") for line in printed.splitlines()]
    return tuple([Commit(*each) for each in fields if len(each) == len(Commit.__slots__)])


def candidates(printed: str, upstream: str) -> tuple[Ref, ...]:
    """Return what ``git for-each-ref`` has printed as :data:`REFS`, the nearest first."""
    found = [line.split("\0") for line in printed.splitlines()]
    # What is checked out is asked for as HEAD, whether it is a branch or not.
    others = [Ref(name, worktree) for name, mark, worktree in found if mark != "*" and not name.endswith("/HEAD")]

    def rank(ref: Ref) -> tuple[bool, int]:
        kind = next((n for n, each in enumerate(_RANKS) if ref.name.startswith(each)), len(_RANKS))
        return ref.name != upstream, kind

    return (Ref(_CHECKED_OUT), *sorted(others, key=rank))


def having(printed: str, refs: Iterable[Ref]) -> tuple[Ref, ...]:
    """Return those of ``refs`` that have a file that ``git grep -l`` has printed (``ref:path``), in their order."""
    places = dict(reversed([line.partition(":")[::2] for line in printed.split("\0") if ":" in line]))
    return tuple([replace(ref, path=places[ref.name]) for ref in refs if ref.name in places])


def below(printed: str) -> dict[str, str]:
    """Return what each revision follows, from the :data:`LINES` that ``git grep -z`` has printed; of a merge, nothing.

    The first revisions follow ``base``.
    """
    stated: dict[str, dict[str, str]] = {}
    for line in printed.splitlines():
        path, _, text = line.partition("\0")
        if match := _STATES.fullmatch(text.strip()):
            stated.setdefault(path, {})[match["what"]] = match["id"] or "base"
    found = [(each.get("revision"), each.get("down_revision")) for each in stated.values()]
    return {name: down for name, down in found if name and down}


def back(revision: str, down: Mapping[str, str], graph: Graph) -> str | None:
    """Return the first revision below one that this tree has; None where that cannot be said."""
    seen = {revision}
    at = down.get(revision)
    while at is not None and at != "base" and at not in graph:
        if at in seen:
            return None
        seen.add(at)
        at = down.get(at)
    return at


def explain(found: Origin) -> tuple[tuple[str, ...], str]:
    """Return the evidence, one line each, and the command to type next."""
    if found.trouble == OUTSIDE:
        return (f"Git cannot say where its file is: {found.trouble}",), (
            "bring its file back, or work in the checkout that has it, or restore a backup that was made before it"
        )
    search = f"git log --all --oneline -S{quote(found.revision)}"
    if found.trouble:
        return (f"Git cannot say where its file is: {found.trouble}",), (
            f"switch to the branch that has it; `{search}` finds the commit that brought it"
        )
    if not found.refs:
        return _nowhere(found)
    ref, *more = found.refs
    lines: list[str] = [f"{ref} has it: {ref.path}", *([f"it came with {found.commit}"] if found.commit else [])]
    if more:
        names = ", ".join(each.short for each in more[:_OTHERS])
        lines.append(f"so {'has' if len(more) == 1 else 'have'} {names}{_and_more(more)}")
    there = _switch(found, ref)
    if ref.name == _CHECKED_OUT:
        return tuple(lines), f"{there}   # the file was removed here: this brings it back"
    if found.back is not None:
        undo = command("migrate downgrade", quote(found.back))
        lines.append(
            f"or undo it, which loses the data that it added: {there} && "
            + undo
            + f" && {join((*found.git, 'switch'))} -"
        )
    lines.append("or restore a backup that was made before it")
    return tuple(lines), f"{there}   # and go on there"


def _and_more(more: Sequence[Ref]) -> str:
    return f" and {len(more) - _OTHERS} more" if len(more) > _OTHERS else ""


def _switch(found: Origin, ref: Ref) -> str:
    if ref.name == _CHECKED_OUT:
        return join((*found.git, "checkout", "HEAD", "--", f":/{ref.path}"))
    if ref.name == found.upstream:
        return join((*found.git, "merge", ref.short))
    own = ref.name.startswith("refs/heads/") and not ref.worktree
    return join((*found.git, "switch", *(() if own else ("--detach",)), ref.short))


def _nowhere(found: Origin) -> tuple[tuple[str, ...], str]:
    """Return what to do where no branch or tag has the file now."""
    shallow = ("this clone is shallow, so Git knows a part of the history only",) if found.is_shallow else ()
    if found.commit is not None:
        return (f"it came with {found.commit}; no branch or tag has its file now", *shallow), (
            f"{join((*found.git, 'switch', '--detach', found.commit.short))}   # or restore a backup from before it"
        )
    # A shallow clone has one branch; the others have to be named.
    what = ("--unshallow", "origin", "+refs/heads/*:refs/remotes/origin/*") if found.is_shallow else ("--all",)
    fetch = join((*found.git, "fetch", *what))
    lost = join((*found.git, "log", "--reflog", "--oneline", f"-S{found.revision}"))
    return ("no branch, tag or commit in this repository has its file", *shallow), (
        f"{fetch}   # and the same command again; `{lost}` finds it on a branch that was deleted here"
    )
