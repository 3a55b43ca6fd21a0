"""Files that other users may have put in place: opened without following links, and used only from a trusted owner.

Trusted are this user and root; root also trusts the owner of the directory in which a spec or data lies.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.system.files import told

if TYPE_CHECKING:
    from pathlib import Path

_LINKS = (errno.ELOOP, errno.EMLINK)
_SPECIAL = errno.ENXIO
_ROOT = 0


def open_own(path: Path, flags: int, mode: int, anchor: Path) -> int:
    """Open a file of ours and return its descriptor; one that is new, or wider than ``mode``, gets ``mode``.

    ``anchor`` is the directory whose owner root trusts; what root makes belongs to that owner.

    Raises:
        RefusedError: it is a link, no regular file, or another user's.
        ProvisionError: it cannot be opened.
    """
    with told(f"{path} cannot be opened", path):
        descriptor = _opened(path, flags, mode)
        try:
            found = os.fstat(descriptor)
            check(path, found, anchor)
            if flags & (os.O_WRONLY | os.O_RDWR):
                owner = anchor.stat()
                if os.geteuid() == _ROOT == found.st_uid != owner.st_uid:
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                if stat.S_IMODE(found.st_mode) & ~mode:
                    os.fchmod(descriptor, mode)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _opened(path: Path, flags: int, mode: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in _LINKS:
            raise _refusal(path, "is a symbolic link") from error
        if error.errno == _SPECIAL:
            raise _refusal(path, "is not a regular file") from error
        raise


def check(path: Path, found: os.stat_result, anchor: Path) -> None:
    """Refuse what ``found`` says of a path, unless it is a regular file, or a directory, of a trusted owner.

    Raises:
        RefusedError: it is a link, something else, or another user's.
    """
    if stat.S_ISLNK(found.st_mode):
        raise _refusal(path, "is a symbolic link")
    if stat.S_ISDIR(found.st_mode):
        pass
    elif not stat.S_ISREG(found.st_mode):
        raise _refusal(path, "is not a regular file")
    elif found.st_nlink > 1:
        raise _refusal(path, "has a second name, which may be anywhere (a hard link)")
    if found.st_uid not in _trusted(anchor):
        raise _refusal(path, f"belongs to the user {_name(found.st_uid)}")


def _trusted(anchor: Path) -> set[int]:
    mine = os.geteuid()
    return {mine, _ROOT, anchor.stat().st_uid} if mine == _ROOT else {mine, _ROOT}


def _name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return str(uid)


def _refusal(path: Path, what: str) -> RefusedError:
    return RefusedError(
        f"{path} {what}",
        evidence=["provision writes and trusts only files of its own user; this path was made by other means"],
        next_step=f"ls -ld {path}; move it away if you do not need it: mv {path} {path}.old",
    )
