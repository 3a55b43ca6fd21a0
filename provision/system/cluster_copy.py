"""Copies of whole data directories that no server runs on."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from provision.errors import RefusedError
from provision.system import files, packed
from provision.system.cluster_folder import DATA

_LEFT_OUT = ("postmaster.pid",)
_FICLONE = 0x40049409  # <linux/fs.h>
_BLOCK = 1 << 20
_MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def size(data: Path) -> int:
    """Return how many bytes the files of a data directory have.

    Raises:
        RefusedError: a part of it is elsewhere, and would not be copied.
    """
    found, elsewhere = 0, []
    for name, seen in packed.walked(data):
        found += seen.st_size if stat.S_ISREG(seen.st_mode) else 0
        if stat.S_ISLNK(seen.st_mode):
            elsewhere.append(f"{name} leads to {(data / name).readlink()}")
    if elsewhere:
        raise RefusedError(
            "a part of the cluster is outside of its data directory, so a copy would not be whole",
            evidence=elsewhere,
            next_step="provision snapshot save NAME   (without --all: the databases, inside the server)",
        )
    return found


def free(place: Path) -> int:
    """Return the bytes that are free for us in a directory, or where it will be."""
    there = next(each for each in (place, *place.parents) if each.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


def shares_blocks(place: Path) -> bool:
    """Whether the file system of a directory can copy files without copying their blocks; it is tried.

    https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html
    """
    import tempfile

    with suppress(OSError), tempfile.TemporaryFile(dir=place) as one, tempfile.TemporaryFile(dir=place) as other:
        one.write(bytes(4096))
        one.flush()
        return _clone(one.fileno(), other.fileno())
    return False


def copy(source: Path, folder: Path, record: str) -> None:
    """Copy a data directory that no server runs on into a folder, and wait until it is on the disk.

    ``record`` is the name of the file in it that remembers which directory it is.

    Raises:
        ProvisionError: it cannot be written.
    """
    with files.explaining(f"the data in {source} cannot be copied to {folder}", folder):
        files.remove(folder)
        files.make_directory(folder, 0o700)
        _copy_tree(source, folder / DATA)
        if (folder / DATA / record).exists():
            files.remember(folder / DATA, folder / DATA / record)
        files.sync_filesystem(folder)


def _copy_tree(source: Path, path: Path) -> None:
    """Copy directories and files with their owners and modes; what the blocks are shared of, is not read."""
    top = source.stat()
    path.mkdir(mode=0o700)
    write: Callable[[int, int], bool] = _clone
    for name, seen in packed.walked(source):
        place = path / name
        if stat.S_ISDIR(seen.st_mode):
            place.mkdir(mode=0o700)
        elif stat.S_ISREG(seen.st_mode) and name not in _LEFT_OUT:
            write = _copy_file(source / name, place, write)
        else:
            continue
        _give(place, seen)
    _give(path, top)


def _copy_file(source: Path, path: Path, write: Callable[[int, int], bool]) -> Callable[[int, int], bool]:
    """Copy a file; return the way that worked, which the next one begins with."""
    with source.open("rb") as read:
        out = os.open(path, _MADE, 0o600)
        try:
            for way in dict.fromkeys((write, _shared, _written)):
                if way(read.fileno(), out):
                    return way
        finally:
            os.close(out)
    return _written


def _give(path: Path, seen: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, seen.st_uid, seen.st_gid)
    path.chmod(stat.S_IMODE(seen.st_mode))


def _clone(source: int, out: int) -> bool:
    """Share the blocks of a file; whether the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(out, _FICLONE, source)
    except OSError:
        return False
    return True


def _shared(source: int, out: int) -> bool:
    """Have the system copy; whether it can between these."""
    return hasattr(os, "copy_file_range") and packed.shared(source, out, 0, os.fstat(source).st_size)


def _written(source: int, out: int) -> bool:
    os.lseek(source, 0, os.SEEK_SET)
    os.ftruncate(out, 0)
    while block := os.read(source, _BLOCK):
        packed.written(out, memoryview(block))
    return True
