"""Files that other users may have put in place: opened without following links, and used only from a trusted owner.

Trusted are this user and root; root also trusts the owner of the directory in which a spec or data lies. That is the
directory that holds ``.provision``, else the one that holds the file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from provision.errors import RefusedError, as_word
from provision.system.files import explaining

_PARTS = ("secrets", "secrets/roles", "cache", "config")
"""The directories in that of an environment in which all files are ours; in others they may be the server's."""
_WRITTEN_IN_PLACE = ("lock", "log/postgresql.log")
_WRITABLE_BY_OTHERS, _FOR_OTHERS = 0o022, 0o077
_LINKS = (errno.ELOOP, errno.EMLINK)
_SPECIAL = errno.ENXIO
_ROOT = 0


def open_own(path: Path, flags: int, mode: int) -> int:
    """Open a file of ours and return its descriptor; one that is new, or wider than ``mode``, gets ``mode``.

    What root makes belongs to the owner of the directory in which the spec lies.

    Raises:
        RefusedError: it is a link, no regular file, or another user's.
        ProvisionError: it cannot be opened.
    """
    with explaining(f"{path} cannot be opened", path):
        descriptor = _opened(path, flags, mode)
        try:
            found = os.fstat(descriptor)
            check(path, found)
            if flags & (os.O_WRONLY | os.O_RDWR):
                owner = _anchor(path).stat()
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


def unfollowed(path: str, flags: int) -> int:
    """Open a file, but no symbolic link, and without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def check(path: Path, found: os.stat_result) -> None:
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
    _check_owner(path, found, _trusted(path))


def check_there(*paths: Path) -> None:
    """Refuse files and directories of ours before they are opened; none has to be there.

    Raises:
        RefusedError: one of them is a link, something else, or another user's.
        ProvisionError: they cannot be looked at.
    """
    for each in paths:
        with explaining(f"{each} cannot be used", each):
            if os.path.lexists(each):
                check(each, each.lstat())


def text(path: Path) -> str | None:
    """Return the text of a file that an earlier run kept; None where there is none that another user cannot have made.

    What we may not read is no text either: a run without it takes longer, and no more.
    """
    try:
        with open(path, "rb", opener=unfollowed) as file:  # Path.open takes no opener
            found = os.fstat(file.fileno())
            is_ours = found.st_uid in _trusted(path) and not found.st_mode & _WRITABLE_BY_OTHERS
            return file.read().decode() if is_ours and stat.S_ISREG(found.st_mode) else None
    except (OSError, UnicodeDecodeError):
        return None


def keep(home: Path) -> None:
    """Refuse what another user has put into the directory of an environment, and take from others what is too wide.

    ``.provision`` and the environment's directory in it may be symbolic links of ours.

    Raises:
        RefusedError: a directory, or a file in it, is another user's, or a file to write to leads elsewhere.
        ProvisionError: a directory cannot be changed.
    """
    trusted = _trusted(home)
    for each in (home.parent, home):
        with explaining(f"{each} cannot be used", each):
            if os.path.lexists(each):
                _check_owner(each, each.lstat(), trusted)
    for each, excess in _excess(home).items():
        _narrow(each, excess, trusted, 0 if each in (home.parent, home) else os.O_NOFOLLOW)
    check_there(*(home / name for name in _WRITTEN_IN_PLACE))
    for each in (home, *(home / name for name in _PARTS)):
        with explaining(f"{each} cannot be read", each):
            _check_files(each, trusted)


def is_wide(home: Path) -> bool:
    """Whether :func:`keep` would narrow a directory."""
    for each, excess in _excess(home).items():
        try:
            found = each.stat()
        except OSError:
            continue
        if found.st_mode & excess and os.geteuid() in (_ROOT, found.st_uid):
            return True
    return False


def _excess(home: Path) -> dict[Path, int]:
    """Return the directories that are ours, with the permission bits that they must not have."""
    places = (home.parent, home, *(home / name for name in (*_PARTS, "log")))
    return {**dict.fromkeys(places, _WRITABLE_BY_OTHERS), home / "secrets": _FOR_OTHERS}


def _narrow(directory: Path, excess: int, trusted: set[int], flags: int) -> None:
    with explaining(f"{directory} cannot be used", directory):
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | flags)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno in (*_LINKS, errno.ENOTDIR) and directory.is_symlink():
                raise _refusal(directory, "is a symbolic link") from error
            raise
        try:
            found = os.fstat(descriptor)
            _check_owner(directory, found, trusted)
            if found.st_mode & excess and os.geteuid() in (_ROOT, found.st_uid):
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~excess)
        finally:
            os.close(descriptor)


def _check_files(directory: Path, trusted: set[int]) -> None:
    """Check all but directories: those that are not ours to make, like the data, belong to the server's user."""
    if not directory.is_dir():
        return
    with os.scandir(directory) as entries:
        for each in entries:
            if not each.is_dir(follow_symlinks=False):
                _check_owner(directory / each.name, each.stat(follow_symlinks=False), trusted)


def _check_owner(path: Path, found: os.stat_result, trusted: set[int]) -> None:
    if found.st_uid not in trusted:
        raise _refusal(path, f"belongs to the user {_name(found.st_uid)}")


def _anchor(path: Path) -> Path:
    return next((each.parent for each in path.parents if each.name == ".provision"), path.parent)


def _trusted(path: Path) -> set[int]:
    mine = os.geteuid()
    return {mine, _ROOT, _anchor(path).stat().st_uid} if mine == _ROOT else {mine, _ROOT}


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
        next_step=f"ls -ld {as_word(path)}; move it away if you do not need it: mv {as_word(path)} {as_word(path)}.old",
    )
