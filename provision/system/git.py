"""Runs Git in a directory, for questions that must not take long.

Whatever goes wrong (no Git, no repository, ``safe.directory``, a history that takes too long) is part of the answer.
Nothing is fetched, no lock is taken, and no program runs that a configuration names.

Linked worktrees are found without Git, by reading what it keeps about them. One has a file ``.git`` that names its
folder ``worktrees/ID`` in the repository, and the file ``commondir`` in that folder leads to what all worktrees share.
A path in either may be relative to its own file.
https://git-scm.com/docs/gitrepository-layout and https://git-scm.com/docs/git-worktree#_details
"""

from __future__ import annotations

import os.path
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provision.errors import ProvisionError
from provision.spec.model import Worktree
from provision.system import files, processes
from provision.system.variables import without

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


_LINE = "gitdir: "
_TRUE = ("true", "yes", "on", "1", "")
_VARIABLE = r"\s*(?P<name>[A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(?P<value>.*?)\s*)?(?:[#;].*)?"


def of(mark: Path) -> Worktree | None:
    """Return the linked worktree that a file ``.git`` belongs to; None: it is that of another kind of checkout.

    A submodule has such a file too, and is a part of the worktree around it.
    """
    text = _text(mark)
    if not text.startswith(_LINE):
        return None
    folder = _joined(mark.parent, text.removeprefix(_LINE))
    common = _text(folder / "commondir")
    if not common and folder.exists():  # else the repository is not on this machine, as in a container
        outer = files.git_file(mark.parent.parent) if "modules" in folder.parts else None
        return of(outer) if outer is not None else None
    if folder.parent.name != "worktrees":
        return None
    return Worktree(folder.name, mark.parent, _main(_joined(folder, common)) if common else None)


def _text(path: Path) -> str:
    with suppress(ProvisionError):
        return files.read_text(path) or ""
    return ""


def _joined(place: Path, path: str) -> Path:
    return Path(os.path.normpath(place / path.rstrip("\r\n")))


def _main(common: Path) -> Path | None:
    """Return the top directory of the main checkout; None where the repository has none."""
    core: dict[str, str] = {}
    for name in ("config", "config.worktree"):
        core |= _core(_text(common / name))
    if core.get("bare", "false").lower() in _TRUE:
        return None
    if place := core.get("worktree"):
        return _joined(common, place)
    return common.parent if common.name == ".git" else None


def _core(config: str) -> dict[str, str]:
    """Return the variables of the section ``core``, as far as they are in one line.

    https://git-scm.com/docs/git-config#_syntax
    """
    found, section = {}, ""
    for line in config.splitlines():
        if header := re.match(r"\s*\[([^]]*)\]", line):
            section = header[1].strip().lower()
        elif section == "core" and (variable := re.fullmatch(_VARIABLE, line)):
            found[variable["name"].lower()] = (variable["value"] or "").strip('"')
    return found
