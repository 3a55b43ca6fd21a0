"""Files: read what may not be there, write so that a reader sees the old text or the new one and nothing between."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from provision.errors import ProvisionError, as_word
from provision.system.waiting import attempts

_ROOM = "make room, then the same command again: df -h {place}"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: "make room in your quota, then the same command again: quota -s",
    errno.EROFS: "have it mounted for writing, or put the spec elsewhere: df {place}",
    errno.ENAMETOOLONG: "put the spec where its path is shorter",
}
_AT_FDCWD, _STATX_BTIME, _STATX_SIZE, _BTIME_AT = -100, 0x800, 256, 80  # <linux/stat.h>
_GET_FLAGS, _SET_FLAGS, _TOP = 0x80086601, 0x40086602, 0x20000  # <linux/fs.h>
_CHANGING = (errno.ENOENT, errno.ENOTEMPTY)
_PATIENCE, _POLL = 10.0, 0.05
_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)


@contextmanager
def explaining(sentence: str, path: Path) -> Iterator[None]:
    """Turn what the system says about files into an error: the ``sentence``, its words, and what to do about it.

    Raises:
        ProvisionError: something below or above ``path`` cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise failure(error, sentence, path) from error


def failure(error: OSError, sentence: str, path: Path) -> ProvisionError:
    """Return the error for what the system refused at a path."""
    place = next((each for each in path.parents if os.path.lexists(each)), path)
    advice = _ADVICE.get(error.errno or 0, "ls -ld {place}").format(place=as_word(place))
    if error.errno in _IN_THE_WAY and not place.is_dir():
        advice = f"mv {as_word(place)} {as_word(place)}.old   (a file is where a directory belongs)"
    return ProvisionError(sentence, evidence=[str(error)], next_step=advice)


def git_file(directory: Path) -> Path | None:
    """Return the file ``.git`` of the checkout that a directory is in; None where that is a directory, or none."""
    for each in (directory, *directory.parents):
        mark = os.path.join(each, ".git")  # noqa: PTH118  # a part of every start
        if os.path.isfile(mark):  # noqa: PTH113
            return Path(mark)
        if os.path.exists(os.path.join(mark, "HEAD")):  # noqa: PTH110, PTH118
            return None
    return None


def read_text(path: Path) -> str | None:
    """Return a file's text, or None where there is no file.

    Raises:
        ProvisionError: it is there and cannot be read, or it is no file: a pipe would be waited for, and a device can
            be without an end.
    """
    content = read_bytes(path)
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError as error:
        raise _unreadable(path, str(error)) from error


def read_bytes(path: Path) -> bytes | None:
    """Return a file's content, or None where there is no file.

    Raises:
        ProvisionError: as :func:`read_text`.
    """
    try:
        with open(path, "rb", opener=without_waiting) as file:  # Path.open takes no opener
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _unreadable(path, "it is not a regular file")
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, why: str) -> ProvisionError:
    return ProvisionError(f"{path} cannot be read", evidence=[why], next_step=f"ls -l {as_word(path)}")


def own_text(path: Path) -> str | None:
    """Return the text of a file that we have written, or None where there is none; a link is not ours."""
    return None if path.is_symlink() else read_text(path)


def without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nothing writes to would be waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def exists(path: Path) -> bool:
    """Whether there is anything at a path. What we may not look at could be there."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def mode_of(path: Path) -> int:
    """Return the permission bits of a file that exists."""
    return path.stat().st_mode & 0o777


def write_atomically(path: Path, content: str, mode: int) -> None:
    """Write ``content`` beside ``path``, flush it to the disk, and put it in place in one rename.

    Missing directories are made: 0700 for a file that only its owner may read, else 0755.

    Raises:
        ProvisionError: the directory is not writable, the disk is full.
    """
    import tempfile

    with explaining(f"{path} cannot be written", path):
        make_directory(path.parent, 0o755 if mode & 0o044 else 0o700)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode())
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise


def nameless(content: bytes) -> IO[bytes]:
    """Return an open file that only this process and those it starts can reach; on Linux it is in memory."""
    import tempfile

    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("provision")
        os.fchmod(handle, 0o600)  # libpq refuses one that others could read
        file: IO[bytes] = os.fdopen(handle, "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  # whoever asked closes it
    file.write(content)
    file.flush()
    file.seek(0)
    return file


def make_directory(path: Path, mode: int) -> None:
    """Make a directory and its parents; only those that are new get ``mode``, whatever the umask is.

    Raises:
        ProvisionError: it cannot be made.
    """
    with explaining(f"the directory {path} cannot be made", path):
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            own = mode if each == path else 0o755
            each.mkdir(mode=own, exist_ok=True)
            each.chmod(own)
        path.mkdir(exist_ok=True)


def make_own_directory(path: Path, mode: int, record: Path) -> None:
    """Make a directory that is not there, and remember in the file ``record`` that it is ours.

    It is put in place by a rename, after it was recorded: whatever was killed in between, what is there is known.

    Raises:
        ProvisionError: it cannot be made.
    """
    if path.exists():
        return
    with explaining(f"the directory {path} cannot be made", path), beside(path) as temporary:
        temporary.chmod(mode)
        remember(temporary, record)


def remember(directory: Path, record: Path) -> None:
    """Write into ``record`` which directory it is.

    That is its inode, which stays the same when it, or the checkout, is renamed, and when that was born: the inode of
    a directory that is deleted goes to another one. Where the file system does not tell, it is not known again.
    """
    write_atomically(record, f"{_identity(directory) or 'the file system does not tell when it was made'}\n", 0o644)


def is_remembered(directory: Path, record: Path) -> bool:
    """Whether a directory is the one that was remembered."""
    try:
        found = _identity(directory)
    except OSError:
        return False
    return found is not None and found == (read_text(record) or "").strip()


def _identity(directory: Path) -> str | None:
    inode = directory.stat().st_ino
    born = _born(directory)
    return None if born is None else f"inode {inode}, born {born}"


def _born(path: Path) -> int | None:
    """Return when a file was made, in nanoseconds since 1970; None where that is not known.

    Python's own ``stat`` does not tell on Linux: https://man7.org/linux/man-pages/man2/statx.2.html
    """
    seconds: float | None = getattr(path.stat(), "st_birthtime", None)
    if seconds is not None:
        return round(seconds * 1_000_000_000)
    import ctypes
    import struct

    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    found = ctypes.create_string_buffer(_STATX_SIZE)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return None
    if not struct.unpack_from("=I", found, 0)[0] & _STATX_BTIME:
        return None
    whole, rest = struct.unpack_from("=qI", found, _BTIME_AT)
    return int(whole) * 1_000_000_000 + int(rest)


def _remove_directory(path: Path) -> None:
    """Remove a directory; a program that still writes there, as the initdb of a killed run does, gets 10 s to end."""
    import shutil

    failure: OSError | None = None
    for _ in attempts(_PATIENCE, _POLL):
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in _CHANGING:
                raise
            failure = error
        if not path.is_dir():
            return
    if failure is not None:
        raise failure


def remove(path: Path, *, kept: Sequence[str] = ()) -> None:
    """Remove a file or a whole directory; what is not there is fine. What is ``kept`` in it stays, and so it does.

    Raises:
        ProvisionError: it, or something in it, is not ours to remove.
    """
    try:
        if kept and any((path / name).exists() for name in kept):
            for each in [one for one in path.iterdir() if one.name not in kept]:
                remove(each)
            return
        if path.is_dir() and not path.is_symlink():
            _remove_directory(path)
        path.unlink(missing_ok=True)
    except OSError as error:
        advice = f"sudo rm -r {as_word(path)}" if isinstance(error, PermissionError) else f"ls -la {as_word(path)}"
        raise ProvisionError(f"{path} cannot be removed", evidence=[str(error)], next_step=advice) from error


def move(source: Path, path: Path, *, if_there: bool) -> None:
    """Give a file or a directory another name in the same place; ``if_there``: what is not there is fine.

    Raises:
        ProvisionError: it cannot be done, and the old name stays.
    """
    if if_there and not source.exists():
        return
    with explaining(f"{source} cannot be moved to {path}", path):
        source.rename(path)
    with suppress(OSError):  # a name that is not on the disk yet is the old one after a crash, which is as good
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Have the names in a directory on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_filesystem(path: Path) -> None:
    """Have all that was written below a directory on the disk: its whole file system at once, where the system can.

    https://man7.org/linux/man-pages/man2/syncfs.2.html

    Raises:
        OSError: the disk has failed.
    """
    import ctypes

    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        for each in (path, *path.rglob("*")):
            if not each.is_symlink():
                sync_directory(each)
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        if syncfs(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(handle)


def copy(source: Path, path: Path) -> None:
    """Copy a file or a directory beside its place, readable for everybody, and put it there in one rename.

    Files of a directory are linked instead where that is possible: programs are large, and never changed in place.

    Raises:
        ProvisionError: it cannot be written.
    """
    with explaining(f"{source} cannot be copied to {path}", path):
        if source.is_file():
            write_atomically(path, source.read_bytes().decode(), 0o644)
            return
        with beside(path) as temporary:
            _copy_tree(source, temporary)
            _open_to_all(temporary)


def copy_trees(source: Path, path: Path, trees: tuple[str, ...]) -> None:
    """Copy directories below ``source`` to the same places below ``path``, all of them in one rename.

    A copy that has them all is left as it is. Without one of them it is of no use, and is replaced.

    Raises:
        ProvisionError: it cannot be written.
    """
    import shutil

    if all((path / each).is_dir() for each in trees):
        return
    with explaining(f"{source} cannot be copied to {path}", path):
        for left in path.parent.glob(f".{path.name}.*"):  # of a run that was killed
            shutil.rmtree(left)
        with beside(path) as temporary:
            for each in trees:
                _copy_tree(source / each, temporary / each)
            _open_to_all(temporary)
            remove(path)


def spread(directory: Path) -> None:
    """Have ext4 keep what is in each directory here apart, where it can; other file systems refuse.

    It gives the inode of a deleted file to no other one for minutes, and for each new file it looks at all of these in
    the same part of the disk: a data directory that follows a removed one took up to a second more.
    https://man7.org/linux/man-pages/man2/ioctl_iflags.2.html (FS_TOPDIR_FL)
    """
    import fcntl

    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            flags = int.from_bytes(fcntl.ioctl(handle, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
            fcntl.ioctl(handle, _SET_FLAGS, (flags | _TOP).to_bytes(8, sys.byteorder))
        finally:
            os.close(handle)


@contextmanager
def beside(path: Path, mark: str = "", *, spreads: bool = False) -> Iterator[Path]:
    """Yield a directory to fill, which takes the place of ``path`` in one rename: whole, or not at all.

    What is around it has to be ours where it ``spreads``.

    Raises:
        OSError: it cannot be made, or put in place.
    """
    import shutil
    import tempfile

    make_directory(path.parent, 0o755)
    if spreads:
        spread(path.parent)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.{mark}"))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_tree(source: Path, path: Path) -> None:
    import shutil

    shutil.copytree(source, path, symlinks=True, copy_function=_link_or_copy, dirs_exist_ok=True)


def _open_to_all(directory: Path) -> None:
    for each in (directory, *(each for each in directory.rglob("*") if each.is_dir())):
        each.chmod(0o755)


def _link_or_copy(source: str, target: str, *, follow_symlinks: bool = True) -> None:
    import shutil

    del follow_symlinks
    mode = Path(source).lstat().st_mode
    is_for_all = mode & 0o044 == 0o044  # noqa: PLR2004  # readable for everybody
    with suppress(OSError):
        if is_for_all:
            os.link(source, target, follow_symlinks=False)
            return
    shutil.copy2(source, target, follow_symlinks=False)
    if not is_for_all:
        Path(target).chmod(0o755 if mode & 0o100 else 0o644)
