"""Runs Git in a directory, for questions that must not take long.

Whatever goes wrong (no Git, no repository, ``safe.directory``, a history that takes too long) is part of the answer.
Nothing is fetched, no lock is taken, and no program runs that a configuration names.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provision.system import processes
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECONDS = 5.0
_QUIET = ("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "color.ui=false")
NOT_FOUND = 1
"""What ``git grep`` and ``git check-ignore`` exit with when there is nothing to print."""
_BLOB = 3
"""How many words stand before a file of ``git cat-file --batch``: its id, ``blob`` and its size."""
OUTSIDE = "this tree is in none of its repositories"
# Set in a hook, for example; they name another repository than the one of our directory.
_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")


class GitError(Exception):
    """Git could not answer; the words say why."""


class Git:
    """Git in one directory, for so many seconds in all."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self._directory, self._seconds = directory, seconds
        self._deadline = time.monotonic() + seconds
        self._environ = {**without(_PLACES), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}

    def __call__(self, *words: str, fine: tuple[int, ...] = (0,)) -> str:
        """Return what a command prints.

        Raises:
            GitError: it ends with an exit code that is not ``fine``.
        """
        return self._run(*words, fine=fine).decode(errors="replace")

    def files(self, commit: str, directories: Sequence[str]) -> dict[str, bytes]:
        """Return the files that a commit has in directories and below them, by their paths from the repository's top.

        Raises:
            GitError: there is no such commit, or this clone lacks some of its files.
        """
        if not directories:
            return {}
        where = () if "." in directories else directories
        listed = self("ls-tree", "-r", "-z", "--full-tree", commit, "--", *where)
        entries = [line.partition("\t") for line in listed.split("\0") if line]
        blobs = {path: meta.split()[2] for meta, _, path in entries if meta.split()[1] == "blob"}
        given = "".join(f"{each}\n" for each in blobs.values()).encode()
        left, found = self._run("cat-file", "--batch", given=given), {}
        for path in blobs:
            head, _, left = left.partition(b"\n")
            words = head.split()
            if len(words) != _BLOB:
                raise GitError(f"this clone does not have {path} of {commit}")
            size = int(words[2])
            found[path], left = left[:size], left[size + 1 :]
        return found

    def _run(self, *words: str, fine: tuple[int, ...] = (0,), given: bytes = b"") -> bytes:
        try:
            done = processes.run(
                ("git", "-C", str(self._directory), *_QUIET, *words),
                input=given,
                capture_output=True,
                env=self._environ,
                timeout=max(0.1, self._deadline - time.monotonic()),
            )
        except processes.TimeoutExpired:
            raise GitError(f"it has not answered within {self._seconds:g} s") from None
        except OSError as error:
            raise GitError(f"it cannot be run: {error.strerror}") from None
        if done.returncode not in fine:
            said = done.stderr.decode(errors="replace").strip() or f"it ended with exit code {done.returncode}"
            raise GitError(OUTSIDE if "not a git repository" in said else said.splitlines()[0].removeprefix("fatal: "))
        return done.stdout


def head(directory: Path) -> str | None:
    """Return the id of the commit that is checked out; None where there is no repository, or it has none."""
    try:
        return Git(directory, SECONDS)("rev-parse", "--verify", "--quiet", "HEAD").strip() or None
    except GitError:
        return None


def is_ignored(directory: Path, path: str) -> bool | None:
    """Whether Git ignores a path below a directory; None where it cannot say."""
    git = Git(directory, SECONDS)
    try:
        git("rev-parse", "--git-dir")
        return bool(git("check-ignore", "--", path, fine=(0, NOT_FOUND)))
    except GitError:
        return None
