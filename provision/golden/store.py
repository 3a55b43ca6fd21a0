"""The goldens of embedded servers: a directory of the user's cache, with a directory for each golden.

In it are ``data`` (:mod:`provision.system.packed`), ``index.json``, and ``golden.json``, which is written last: without
it there is no golden. It is filled under another name and put in place by a rename; its time is that of the last use.
All that is read there was made by this user, and only this user can write to it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provision.errors import RefusedError, as_word
from provision.golden.key import Golden
from provision.model.value import replace
from provision.system.files import explaining, make_directory, sync_directory
from provision.system.variables import cache_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provision.system.packed import Index

MOST, LARGEST = 5, 2 << 30
"""How many goldens are kept, and how many bytes they have together."""
_DATA, _INDEX, _MARKER, _LOCK = "data", "index.json", "golden.json", "lock"
_FILLED = ".filling-"
_DIGITS = 64


class Entry(NamedTuple):
    """The files of one golden."""

    data: Path
    about: Path


class DirectoryStore:
    """The goldens of one user of this machine."""

    user = ""

    def __init__(self) -> None:
        self.root = cache_home() / "provision" / "golden"

    def candidates(self) -> tuple[Golden, ...]:
        """Return those that are complete, the one that was used last first."""
        if not _is_ours(self.root):
            return ()
        found = [golden for each in self.root.iterdir() if len(each.name) == _DIGITS and (golden := _read(each))]
        return tuple(sorted(found, key=lambda golden: -golden.used))

    def dated(self) -> tuple[Golden, ...]:
        """Return the same."""
        return self.candidates()

    def remove(self, key: str) -> None:
        """Remove one; who reads it now ends first."""
        with self._alone():
            self._drop(key)

    def touch(self, key: str) -> None:
        """Note that one was used now."""
        with suppress(OSError):
            os.utime(self.root / key / _MARKER)

    @contextmanager
    def reading(self, key: str) -> Iterator[Entry]:
        """Keep one from being removed within the block.

        Raises:
            OSError: it is not there, or not as a whole.
        """
        with self._locked(fcntl.LOCK_SH):
            place = self.root / key
            if _read(place) is None:
                raise FileNotFoundError(str(place / _MARKER))
            yield Entry(place / _DATA, place / _INDEX)

    def add(self, golden: Golden, fill: Callable[[Path], Index]) -> None:
        """Add one. ``fill`` writes its data to a path and returns the index; those used least recently go.

        Raises:
            ProvisionError: it cannot be written.
        """
        with explaining(f"the golden cannot be written to {self.root}", self.root):
            make_directory(self.root, 0o700)
            if not _is_ours(self.root):
                raise RefusedError(
                    f"{self.root} can be written to by others, or belongs to another user",
                    next_step=f"ls -ld {as_word(self.root)}",
                )
            with self._filling() as place:
                index = fill(place / _DATA)
                (place / _INDEX).write_text(json.dumps(index, separators=(",", ":")))
                size = (place / _DATA).stat().st_size
                now = time.time()
                document = replace(golden, size=size, made=now, used=now).document()
                for name in (_DATA, _INDEX):
                    _flush(place / name)
                (place / _MARKER).write_text(json.dumps(document, separators=(",", ":")))
                _flush(place / _MARKER)
                with self._alone():
                    self._put(place, golden.key)
                    self._evict(golden.key)

    def _put(self, place: Path, key: str) -> None:
        if _read(self.root / key) is not None:  # another run was quicker
            return
        self._drop(key)
        place.rename(self.root / key)
        sync_directory(self.root)

    def _evict(self, newest: str) -> None:
        """Remove what was used least recently until few enough are left."""
        size = 0
        for number, each in enumerate(self.candidates()):
            size += each.size
            if each.key != newest and (number >= MOST or size > LARGEST):
                self._drop(each.key)

    def _drop(self, key: str) -> None:
        place = self.root / key
        with suppress(FileNotFoundError):
            (place / _MARKER).unlink()
        shutil.rmtree(place, ignore_errors=True)

    @contextmanager
    def _filling(self) -> Iterator[Path]:
        """Have a directory to fill; those of runs that were killed are removed."""
        with self._alone():  # between its making and its lock one looks as if its run was killed
            for left in self.root.iterdir():
                is_left = left.name.startswith(_FILLED) or (len(left.name) == _DIGITS and _read(left) is None)
                if is_left and (held := _held(left)) is not None:
                    shutil.rmtree(left, ignore_errors=True)
                    os.close(held)
            place = Path(tempfile.mkdtemp(dir=self.root, prefix=_FILLED))
            descriptor = _held(place)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self.root.is_dir():
            yield
            return
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def _is_ours(place: Path) -> bool:
    """Tell whether a directory is there and only this user can have put something into it."""
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _read(place: Path) -> Golden | None:
    if not _is_ours(place):
        return None
    try:
        with (place / _MARKER).open("rb") as file:
            used = os.fstat(file.fileno()).st_mtime
            golden = Golden.read(json.load(file))
        is_whole = golden is not None and golden.key == place.name and (place / _DATA).stat().st_size == golden.size
    except (OSError, ValueError):
        return None
    return replace(golden, used=used) if golden is not None and is_whole else None


def _held(place: Path) -> int | None:
    """Return an open directory that no other process has locked; None where one has, or it is gone."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
