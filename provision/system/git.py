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
    from pathlib import Path

SECONDS = 5.0
_QUIET = ("--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "color.ui=false")
NOT_FOUND = 1
"""What ``git grep`` and ``git check-ignore`` exit with when there is nothing to print."""
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
        try:
            done = processes.run(
                ("git", "-C", str(self._directory), *_QUIET, *words),
                stdin=processes.DEVNULL,
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
        return done.stdout.decode(errors="replace")


def is_ignored(directory: Path, path: str) -> bool | None:
    """Whether Git ignores a path below a directory; None where it cannot say."""
    git = Git(directory, SECONDS)
    try:
        git("rev-parse", "--git-dir")
        return bool(git("check-ignore", "--", path, fine=(0, NOT_FOUND)))
    except GitError:
        return None
