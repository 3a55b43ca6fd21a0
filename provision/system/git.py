"""Asks Git where a revision comes from. It is asked only while an error is told, and hardly keeps anybody waiting.

Whatever goes wrong (no Git, no repository, ``safe.directory``, a history that takes too long) is part of the answer.
Nothing is fetched, no lock is taken, and no program runs that a configuration names.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provision.alembic.tree import origin
from provision.system import processes
from provision.system.variables import without

if TYPE_CHECKING:
    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.location import Location
    from provision.errors import UnknownRevisionError

_SECONDS = 5.0
_MOST_COMMITS, _MOST_REFS = 5, 30
_QUIET = ("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "color.ui=false")
_GREP = ("grep", "-z", "--full-name", "--no-line-number", "--no-column", "--no-color", "-E")
_NOT_FOUND = 1  # git grep's, when it has found nothing
# Set in a hook, for example; they name another repository than the one of our directory.
_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")


class _TroubleError(Exception):
    """Git could not answer; the words say why."""


class _Git:
    """Git in one directory, for so many seconds in all."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self._directory, self._seconds = directory, seconds
        self._deadline = time.monotonic() + seconds
        self._environ = {
            **without(_PLACES),
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
        }

    def __call__(self, *words: str, fine: tuple[int, ...] = (0,)) -> str:
        try:
            done = processes.run(
                ("git", "-C", str(self._directory), *_QUIET, *words),
                stdin=processes.DEVNULL,
                capture_output=True,
                env=self._environ,
                timeout=max(0.1, self._deadline - time.monotonic()),
            )
        except processes.TimeoutExpired:
            raise _TroubleError(f"it has not answered within {self._seconds:g} s") from None
        except OSError as error:
            raise _TroubleError(f"it cannot be run: {error.strerror}") from None
        if done.returncode not in fine:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise _TroubleError(_reason(said[0]) if said else f"it ended with exit code {done.returncode}")
        return done.stdout.decode(errors="replace")


def _reason(said: str) -> str:
    return origin.OUTSIDE if "not a git repository" in said else said.removeprefix("fatal: ")


def is_ignored(directory: Path, path: str) -> bool | None:
    """Tell whether Git ignores a path below a directory; None where it cannot say."""
    git = _Git(directory, _SECONDS)
    try:
        git("rev-parse", "--git-dir")
        return bool(git("check-ignore", "--", path, fine=(0, _NOT_FOUND)))
    except _TroubleError:
        return None


def explain(error: UnknownRevisionError, graph: Graph, location: Location) -> None:
    """Complete an error with where its revision comes from, and what to do."""
    lines, step = origin.explain(find(error.unknown[0], graph, location))
    error.lead(step, *lines)


def find(revision: str, graph: Graph, location: Location, *, seconds: float = _SECONDS) -> origin.Origin:
    """Return which branch, tag or commit has the file of a revision that a tree does not have."""
    found = origin.Origin(revision)
    place = next((each for each in (*location.versions, location.script) if each.is_dir()), Path.cwd())
    try:
        return _look(found, graph, location, _Git(place, seconds))
    except _TroubleError as error:
        return replace(found, trouble=str(error))


def _look(found: origin.Origin, graph: Graph, location: Location, git: _Git) -> origin.Origin:
    printed = git("rev-parse", "--is-shallow-repository", "--show-toplevel")
    shallow, _, top = printed.rstrip("\n").partition("\n")
    if not Path.cwd().is_relative_to(top):
        found = replace(found, git=("git", "-C", top))
    found = replace(found, is_shallow=shallow == "true")
    where, states = origin.pathspecs(location, Path(top)), origin.pattern(found.revision)
    if not where:
        raise _TroubleError(f"the revisions are outside of the repository {top}")
    log = (
        "log",
        "--all",
        f"-n{_MOST_COMMITS}",
        "--no-renames",
        "--no-textconv",
        "--no-ext-diff",
        "--no-show-signature",
    )
    commits = origin.commits(git(*log, f"--format={origin.COMMIT}", "--pickaxe-regex", f"-S{states}", "--", *where))
    if not commits:
        return found
    found = replace(found, commit=commits[-1])
    upstream = git("rev-parse", "--verify", "--quiet", "--symbolic-full-name", "@{upstream}", fine=(0, 1, 128)).strip()
    containing = [word for each in commits for word in ("--contains", each.id)]
    refs = git("for-each-ref", "--sort=-committerdate", f"--format={origin.REFS}", f"--count={_MOST_REFS}", *containing)
    near = origin.candidates(refs, upstream)
    has = git(*_GREP, "-l", "-e", states, *[each.name for each in near], "--", *where, fine=(0, _NOT_FOUND))
    found = replace(found, refs=origin.having(has, near), upstream=upstream)
    if not found.refs:
        return found
    lines = git(*_GREP, "-e", origin.LINES, found.refs[0].name, "--", *where, fine=(0, _NOT_FOUND))
    return replace(found, back=origin.back(found.revision, origin.below(lines), graph))
