"""Where a revision comes from that the database has and this checkout has not: what Git knows, and what to do.

Git is asked only for an error, and quickly. Whatever goes wrong (no Git, no repository, ``safe.directory``, a history
that takes too long) is part of the answer. Nothing is fetched, no lock is taken, and no program runs that a
configuration names. Nothing is ever stamped: the database is at that revision, and only the code that brought it there
can take it back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from shlex import join, quote
from typing import NamedTuple

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import Location
from provision.errors import UnknownRevisionError, command
from provision.model.value import dataclass, replace
from provision.model.words import some_of
from provision.system.git import NOT_FOUND, OUTSIDE, SECONDS, Git, GitError

_MOST_COMMITS, _MOST_REFS = 5, 30
_LOG = ("log", "--all", "--no-renames", "--no-textconv", "--no-ext-diff", "--no-show-signature", "--pickaxe-regex")
_GREP = ("grep", "-z", "--full-name", "--no-line-number", "--no-column", "--no-color", "-E")
REFS = "%(refname)%00%(HEAD)%00%(worktreepath)"
COMMIT = "%H%x00%h%x00%cs%x00%an%x00%s"
LINES = "^(down_)?revision[^=]*="
"""The lines in which a file states its own id and the one before it, as an extended regular expression."""
_STATES = r"(?P<what>(?:down_)?revision)\b[^=]*=\s*(?:[\"'](?P<id>[^\"']+)[\"']|(?P<none>None))\s*(?:[,#].*)?"
_SPECIAL = r"[][\\.^$*+?(){}|]"
_RANKS = ("refs/heads/", "refs/remotes/", "refs/tags/")
_CHECKED_OUT = "HEAD"


class Commit(NamedTuple):
    """The commit that brought a revision. ``date`` is a day."""

    id: str
    short: str
    date: str
    author: str
    subject: str

    def __str__(self) -> str:
        return f"commit {self.short} of {self.date} by {self.author}: {self.subject}"


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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


def explain(error: UnknownRevisionError, graph: Graph, location: Location) -> None:
    """Complete an error with where its revision comes from, and what to do."""
    lines, step = advise(find(error.unknown[0], graph, location))
    error.lead(step, *lines)


def find(revision: str, graph: Graph, location: Location, *, seconds: float = SECONDS) -> Origin:
    """Return which branch, tag or commit has the file of a revision that a tree does not have."""
    found = Origin(revision)
    place = next((each for each in (*location.versions, location.script) if each.is_dir()), Path.cwd())
    try:
        return _look(found, graph, location, Git(place, seconds))
    except GitError as error:
        return replace(found, trouble=str(error))


def _look(found: Origin, graph: Graph, location: Location, git: Git) -> Origin:
    shallow, _, top = git("rev-parse", "--is-shallow-repository", "--show-toplevel").rstrip("\n").partition("\n")
    if not Path.cwd().is_relative_to(top):
        found = replace(found, git=("git", "-C", top))
    found = replace(found, is_shallow=shallow == "true")
    where = pathspecs(location, Path(top))
    if not where:
        raise GitError(f"the revisions are outside of the repository {top}")
    states = f"-S{pattern(found.revision)}"
    history = commits(git(*_LOG, f"-n{_MOST_COMMITS}", f"--format={COMMIT}", states, "--", *where))
    if not history:
        return found
    upstream = git("rev-parse", "--verify", "--quiet", "--symbolic-full-name", "@{upstream}", fine=(0, 1, 128)).strip()
    containing = [word for each in history for word in ("--contains", each.id)]
    refs = git("for-each-ref", "--sort=-committerdate", f"--format={REFS}", f"--count={_MOST_REFS}", *containing)
    near = candidates(refs, upstream)
    lines = stated(git(*_GREP, "-e", LINES, *[each.name for each in near], "--", *where, fine=(0, NOT_FOUND)))
    paths = {name: {each.get("revision"): path for path, each in files.items()} for name, files in lines.items()}
    having = [ref for ref in near if found.revision in paths.get(ref.name, {})]
    found = replace(
        found,
        commit=history[-1],
        upstream=upstream,
        refs=tuple([replace(ref, path=paths[ref.name][found.revision]) for ref in having]),
    )
    return replace(found, back=back(found.revision, below(lines[having[0].name]), graph)) if having else found


def pattern(revision: str) -> str:
    """Return the extended regular expression of the line in which a file states this id."""
    name = re.sub(_SPECIAL, r"\\\g<0>", revision)
    return f"^revision[^=]*=[[:space:]]*[\"']{name}[\"']"


def pathspecs(location: Location, top: Path) -> tuple[str, ...]:
    """Return where Git looks: in the directories of this tree alone, because another may have the same ids."""
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
    return tuple([Commit(*each) for each in fields if len(each) == len(Commit._fields)])


def candidates(printed: str, upstream: str) -> tuple[Ref, ...]:
    """Return what ``git for-each-ref`` has printed as :data:`REFS`, the nearest first."""
    found = [line.split("\0") for line in printed.splitlines()]
    # What is checked out is asked for as HEAD, whether it is a branch or not.
    others = [Ref(name, worktree) for name, mark, worktree in found if mark != "*" and not name.endswith("/HEAD")]

    def rank(ref: Ref) -> tuple[bool, int]:
        kind = next((n for n, each in enumerate(_RANKS) if ref.name.startswith(each)), len(_RANKS))
        return ref.name != upstream, kind

    return (Ref(_CHECKED_OUT), *sorted(others, key=rank))


def stated(printed: str) -> dict[str, dict[str, dict[str, str]]]:
    """Return what files state by :data:`LINES`, as ``git grep -z`` has printed them: by ref, path and name."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for line in printed.splitlines():
        place, _, text = line.partition("\0")
        name, _, path = place.partition(":")
        if match := re.fullmatch(_STATES, text.strip()):
            found.setdefault(name, {}).setdefault(path, {})[match["what"]] = match["id"] or "base"
    return found


def below(files: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return what each revision follows by what files state; of a merge, nothing. The first follow ``base``."""
    pairs = [(each.get("revision"), each.get("down_revision")) for each in files.values()]
    return {name: down for name, down in pairs if name and down}


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


def advise(found: Origin) -> tuple[tuple[str, ...], str]:
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
        lines.append(f"so {'has' if len(more) == 1 else 'have'} {some_of(each.short for each in more)}")
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
