"""System users: as root the server has to run as somebody else, and that one has to reach its files.

PostgreSQL refuses to run as root: https://www.postgresql.org/docs/current/postgres-user.html
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.errors import ProvisionError

if TYPE_CHECKING:
    from pathlib import Path

_PREFERRED = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A user of this machine; ``name`` is its number in text where it has no name."""

    name: str
    uid: int
    gid: int


def lookup(name: str) -> SystemUser:
    """Return the user with a name, or with a number in text.

    Raises:
        ProvisionError: there is none of that name.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        if name.isdigit():
            return _numbered(int(name))
        raise ProvisionError(
            f"there is no system user {name!r} on this machine", next_step=f"useradd --system {name}"
        ) from None
    return SystemUser(name, found.pw_uid, found.pw_gid)


def _numbered(uid: int) -> SystemUser:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return SystemUser(str(uid), uid, uid)
    return SystemUser(found.pw_name, uid, found.pw_gid)


def owner(path: Path) -> SystemUser | None:
    """Return whose a path is; None where nothing is there."""
    try:
        return _numbered(path.stat().st_uid)
    except OSError:
        return None


def server_user(data: Path) -> SystemUser | None:
    """Return whom the server on a data directory has to run as; None means as ourselves.

    As root it is the owner of the directory, else ``postgres``, else ``nobody``: the same one every time.

    Raises:
        ProvisionError: there is no such user.
    """
    if os.geteuid() != 0:
        return None
    mine = owner(data)
    if mine is not None and mine.uid != 0:
        return mine
    for name in _PREFERRED:
        try:
            return lookup(name)
        except ProvisionError:
            continue
    raise ProvisionError(
        "PostgreSQL refuses to run as root, and neither `postgres` nor `nobody` is a user of this machine",
        next_step="useradd --system postgres",
    )


def ourselves() -> SystemUser:
    """Return the user that this process runs as."""
    return _numbered(os.geteuid())


def reaches(user: SystemUser | None, path: Path) -> bool:
    """Tell whether a user may pass through every directory above a path; None is ourselves, and always may.

    Directories that are not there yet will be made for everybody.
    """
    if user is None:
        return True
    places = {*path.absolute().parents, *path.resolve().parents}
    return all(_may_execute(user, each) for each in places if each.exists())


def runs(user: SystemUser | None, program: Path) -> bool:
    """Tell whether a user may run a program; None is ourselves."""
    return user is None or (reaches(user, program) and _may_execute(user, program))


def _may_execute(user: SystemUser, path: Path) -> bool:
    seen = path.stat()
    if seen.st_uid == user.uid:
        return bool(seen.st_mode & stat.S_IXUSR)
    return bool(seen.st_mode & (stat.S_IXGRP if seen.st_gid == user.gid else stat.S_IXOTH))


def as_user(name: str | None) -> dict[str, Any]:
    """Return the arguments with which :mod:`subprocess` runs a program as a user; None is ourselves."""
    if name is None:
        return {}
    user = lookup(name)
    return {"user": user.uid, "group": user.gid, "extra_groups": []}
