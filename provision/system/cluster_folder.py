"""A folder that keeps a data directory, and its exchange with the one in use.

It keeps one data directory, ``data``, and what is known of it, ``about.json``. When it is exchanged with the one in
use, both change their names in one call of the system. Before that, the folder gets what will be known of its next
data, ``next.json``, and which directory it holds so far, ``exchanging``: whatever was killed in between, the directory
that is there tells which of the two texts holds.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from provision.errors import RefusedError
from provision.system import files

DATA = "data"
ABOUT = "about.json"
_NEXT, _EXCHANGING = "next.json", "exchanging"
_AT_FDCWD, _EXCHANGE = -100, 2  # <fcntl.h>; RENAME_EXCHANGE of <linux/fs.h>, and RENAME_SWAP of macOS


def about(folder: Path) -> str | None:
    """Return what is known of the data in a folder; None where there is none, or only a part."""
    if not (folder / DATA).is_dir():
        return None
    kept = files.own_text(folder / _EXCHANGING)
    return files.own_text(folder / (ABOUT if kept in (None, _number(folder / DATA)) else _NEXT))


def exchange(data: Path, folder: Path, text: str) -> None:
    """Exchange the data in use with that in a folder; ``text`` is what is known of the former.

    Raises:
        ProvisionError: the system does not do it, and nothing has changed.
    """
    with files.explaining(f"{data} and the data in {folder} cannot be exchanged", data):
        _end_exchange(folder)
        files.write_atomically(folder / _NEXT, text, 0o600)
        files.write_atomically(folder / _EXCHANGING, _number(folder / DATA), 0o600)
        _exchange(data, folder / DATA)
        for each in (data.parent, folder):
            files.sync_directory(each)
        _end_exchange(folder)


def check_exchange(place: Path) -> None:
    """Try whether directories in a place can be exchanged, before a server is stopped for that.

    Raises:
        RefusedError: they cannot.
    """
    import tempfile

    with tempfile.TemporaryDirectory(dir=place) as name:
        one, other = Path(name, "one"), Path(name, "other")
        one.mkdir()
        other.mkdir()
        try:
            _exchange(one, other)
        except OSError as error:
            raise RefusedError(
                f"the file system of {place} cannot exchange the names of two directories in one step",
                evidence=[str(error)],
                next_step="keep the data on ext4, XFS or Btrfs; or save the databases alone: without --all",
            ) from error


def _end_exchange(folder: Path) -> None:
    """Have the text hold that belongs to the data in a folder."""
    kept = files.own_text(folder / _EXCHANGING)
    if kept is not None and kept != _number(folder / DATA):
        (folder / _NEXT).replace(folder / ABOUT)
    (folder / _EXCHANGING).unlink(missing_ok=True)
    (folder / _NEXT).unlink(missing_ok=True)


def _number(directory: Path) -> str:
    """Return which directory it is: both that are exchanged are there, so no other one has its number."""
    return str(directory.stat().st_ino)


def _exchange(one: Path, other: Path) -> None:
    """Give two directories the names of each other, in one step.

    https://man7.org/linux/man-pages/man2/rename.2.html

    Raises:
        OSError: the system, or the file system, cannot do that.
    """
    library = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        done = library.renamex_np(*paths, _EXCHANGE)
    elif hasattr(library, "renameat2"):
        done = library.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _EXCHANGE)
    else:
        message = "this C library has no renameat2"
        raise OSError(message)
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one))
