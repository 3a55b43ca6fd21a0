"""Backups as files: what they are called, where they are, and what is noted beside each.

A backup is a dump, ``shop-20261130T012258Z-0006.dump``, and a JSON file of the same name that says what a dump leaves
out. The dump gets its name last, so that one that has it is whole.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from provision.errors import RefusedError, UsageError, command
from provision.model.words import shown
from provision.runtimes.names import BACKUPS
from provision.snapshots.kept import moment
from provision.spec.model import Spec
from provision.system import files, git
from provision.system.dumps import sidecar

FORMAT = 1
_KEY = "provision"
_END, _PART = ".dump", ".dump.part"
_LONGEST = 60
_NOTED = {
    "owner", "encoding", "collate", "ctype", "provider", "locale", "comment", "size", "server_version", "privileges",
    "connection_limit", "settings", "roles", "bytes", "sha256",
}  # fmt: skip
"""What has to be noted beside a dump, so that it counts."""


class Backup(NamedTuple):
    """A dump, and what is noted beside it. Of one without that, ``about`` and ``database`` are empty.

    ``at`` is when it was made (ISO 8601), ``bytes`` the size of the file. ``why``: before what an apply, a downgrade or
    an upgrade has made it; empty where it was asked for.
    """

    path: Path
    bytes: int
    database: str = ""
    at: str = ""
    why: str = ""
    revisions: Mapping[str, tuple[str, ...]] = {}  # of a tuple, which is never changed
    about: Mapping[str, Any] = {}

    @property
    def moment(self) -> str:
        """When it was made, as people read it."""
        return moment(self.at) if self.at else ""

    @property
    def is_automatic(self) -> bool:
        """Whether it was made before something else."""
        return bool(self.why)


def place(spec: Spec) -> Path:
    """Return the directory of the backups of an environment."""
    return spec.home / BACKUPS


def about(
    spec: Spec, database: str, at: datetime, revisions: Mapping[str, Sequence[str]], why: str = ""
) -> dict[str, Any]:
    """Return what is noted beside a dump before it is made."""
    rows = {tree: list(each) for tree, each in revisions.items()}
    return {
        _KEY: FORMAT, "environment": spec.name, "database": database, "at": at.isoformat(timespec="milliseconds"),
        "why": why, "revisions": rows,
    }  # fmt: skip


def new_path(
    spec: Spec, database: str, at: datetime, revisions: Mapping[str, Sequence[str]], taken: Sequence[Path] = ()
) -> Path:
    """Return the path of a new backup, which is none of those that are ``taken`` by others of the same run."""
    rows = "+".join([row for _, each in sorted(revisions.items()) for row in each])
    parts = (_plain(database), at.strftime("%Y%m%dT%H%M%SZ"), _plain(rows) if rows else "base" if revisions else "")
    name = "-".join(filter(None, parts))
    numbered = (place(spec) / f"{name}{f'-{number}' if number > 1 else ''}{_END}" for number in count(1))
    return next(each for each in numbered if each not in taken and not files.exists(each))


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "_", text)[:_LONGEST].strip(".") or "_"


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def listing(spec: Spec) -> tuple[Backup, ...]:
    """Return the backups of an environment, the newest first."""
    found = [read(each) for each in sorted(place(spec).glob(f"*{_END}"))]
    return tuple(sorted(found, key=lambda each: (each.at, each.path.name), reverse=True))


def broken_off(spec: Spec) -> tuple[Path, ...]:
    """Return the files that a run has left which was killed."""
    directory = place(spec)
    notes = [each for each in directory.glob("*.json") if not files.exists(each.with_suffix(_END))]
    return (*sorted(directory.glob(f"*{_PART}")), *sorted(notes))


def read(path: Path) -> Backup:
    """Return a backup; one without a note, or with one that is not ours, is only its dump."""
    size = path.stat().st_size
    try:
        found: dict[str, Any] = json.loads(files.read_text(sidecar(path)) or "")
        if found[_KEY] != FORMAT or not found.keys() >= _NOTED:
            return Backup(path, size)
        rows = {str(tree): tuple(map(str, each)) for tree, each in found["revisions"].items()}
        return Backup(path, size, str(found["database"]), str(found["at"]), str(found["why"]), rows, found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Backup(path, size)


def named(spec: Spec, name: str) -> Backup:
    """Return the backup that a path, or a name in the directory of the backups, means.

    Raises:
        UsageError: there is none.
    """
    there = place(spec)
    for each in (Path(os.path.abspath(name)), there / name, there / f"{name}{_END}"):  # noqa: PTH100  # links stay
        if each.is_file():
            return read(each)
    every = ", ".join([each.path.name for each in listing(spec)][:3])
    raise UsageError(
        f"there is no backup {name!r}; {f'the newest are {every}' if every else 'none was made'}",
        next_step=command("backup list" if every else "backup make"),
    )


def own_path(text: str) -> Path:
    """Return the path of a backup that the user names, which Git must not see: it holds data.

    Raises:
        UsageError: it is there already, or is a directory.
        RefusedError: Git does not ignore it.
    """
    path = Path(os.path.abspath(text))  # noqa: PTH100  # links stay
    if path.suffix != _END:
        raise UsageError(f"the name of a backup ends in {_END}", next_step=f"-o {text}{_END}")
    top = next((each for each in path.parents if files.exists(each / ".git")), None)
    for each in (path, sidecar(path)):
        if files.exists(each):
            sentence = f"{shown(each)} is there already, and a backup replaces nothing"
            raise UsageError(sentence, next_step="name a new file")
        if top is not None and not git.is_ignored(top, str(each.relative_to(top))):
            raise RefusedError(
                f"Git does not ignore {shown(each)}, and a backup holds data",
                evidence=[f"the repository is {top}"],
                next_step=f"add {each.relative_to(top)} to {shown(top / '.gitignore')}, "
                "or leave out -o: Git ignores .provision/",
            )
    return path
