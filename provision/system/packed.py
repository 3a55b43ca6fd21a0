"""A data directory in one file, from which it is made again.

How long that takes depends on the number of files, not on their size: so each is opened once, nothing is looked up,
and nothing is flushed. Each begins at a block of its own in the pack, so that a file system that can share blocks
(XFS, Btrfs) does so in ``copy_file_range``: https://man7.org/linux/man-pages/man2/copy_file_range.2.html
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.system.machine import SystemUser

_BLOCK = 4096
_MADE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

Index = dict[str, Any]
"""What a pack holds, as JSON has it: directories (name, mode), files (name, mode, offset, length, size)."""


def walked(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what is below a directory, a directory before what is in it; links are not followed."""
    left = [""]
    while left:
        below = left.pop()
        with os.scandir(directory / below) as entries:
            for each in sorted(entries, key=lambda entry: entry.name):
                name, found = os.path.join(below, each.name), each.stat(follow_symlinks=False)  # noqa: PTH118  # text
                yield name, found
                if stat.S_ISDIR(found.st_mode):
                    left.append(name)


def pack(directory: Path, path: Path, *, leaves: Callable[[str], bool], kept: Mapping[str, int]) -> Index:
    """Write a directory into a new file and return what is where in it.

    What ``leaves`` names is left out. Of a file in ``kept`` only so many bytes are taken; the rest of it becomes zeros.

    Raises:
        OSError: it cannot be read or written, or something in it is neither file nor directory.
    """
    directories: list[tuple[str, int]] = [("", stat.S_IMODE(directory.stat().st_mode))]
    files: list[tuple[str, int, int, int, int]] = []
    end = 0
    with open(path, "xb", opener=_private) as out:  # it has all that only the server's user may read
        for name, found in walked(directory):
            mode = stat.S_IMODE(found.st_mode)
            if leaves(name):
                continue
            if stat.S_ISDIR(found.st_mode):
                directories.append((name, mode))
                continue
            if not stat.S_ISREG(found.st_mode):
                message = f"{name} is neither a file nor a directory"
                raise OSError(message)
            length = min(kept.get(name, found.st_size), found.st_size)
            with (directory / name).open("rb") as source:
                out.write(source.read(length))
            files.append((name, mode, end, length, found.st_size))
            padding = -length % _BLOCK
            out.write(bytes(padding))
            end += length + padding
    return {"directories": directories, "files": files, "end": end}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def unpack(path: Path, index: Index, directory: Path, user: SystemUser | None) -> None:
    """Make in an empty directory what a pack holds; as root it belongs to ``user``.

    Raises:
        OSError: the pack is not complete, or it cannot be written.
    """
    own = _owner(user)
    with path.open("rb") as source, _mapped(source.fileno(), index["end"]) as text:
        for name, mode in index["directories"]:
            place = f"{directory}/{name}"
            if name:
                os.mkdir(place, mode)  # noqa: PTH102  # thousands of objects less
            own(place)
        os.chmod(directory, index["directories"][0][1])  # noqa: PTH101
        shares = hasattr(os, "copy_file_range")
        for name, mode, offset, length, size in index["files"]:
            out = os.open(f"{directory}/{name}", _MADE, mode)
            try:
                own(out)
                if length:
                    shares = shares and shared(source.fileno(), out, offset, length)
                    if not shares:
                        written(out, text[offset : offset + length])
                if size > length:
                    _reserved(out, size)
            finally:
                os.close(out)


def _owner(user: SystemUser | None) -> Callable[[int | str], None]:
    if user is None:
        return lambda _: None
    uid, gid = user.uid, user.gid
    return lambda place: os.chown(place, uid, gid)


@contextmanager
def _mapped(descriptor: int, end: int) -> Iterator[memoryview]:
    if os.fstat(descriptor).st_size != end:
        message = "the pack is not complete"
        raise OSError(message)
    with mmap.mmap(descriptor, end, access=mmap.ACCESS_READ) as text, memoryview(text) as view:
        yield view


def shared(source: int, out: int, offset: int, length: int) -> bool:
    """Have the system copy, which shares blocks where it can; tell whether it did all of it."""
    try:
        done = os.copy_file_range(source, out, length, offset)
    except OSError:  # two file systems, or one that cannot
        return False
    if not done:
        return not length
    while done < length:
        more = os.copy_file_range(source, out, length - done, offset + done)
        if not more:
            break
        done += more
    if done != length:
        message = "it became shorter while it was copied"
        raise OSError(message)
    return True


def written(out: int, text: memoryview) -> None:
    """Write a text, all of it."""
    while text:
        text = text[os.write(out, text) :]


def _reserved(out: int, size: int) -> None:
    """Give a file its size, with room on the disk: a server must not find none for its log."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(out, 0, size)
    else:
        os.ftruncate(out, size)
