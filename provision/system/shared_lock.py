"""Lock files that several processes hold together, with a small JSON object in them; a lock ends with its process."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from provision.system.files import make_directory
from provision.system.lock import is_at
from provision.system.owned import open_own

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a lock file alone for the length of the block; the block may remove it, and its directory.

    Raises:
        RefusedError: another user has put something there.
    """
    while True:
        make_directory(path.parent, 0o755)
        descriptor = opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_at(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)


def opened(path: Path) -> int:
    """Open a lock file, which is made where there is none."""
    return open_own(path, os.O_RDWR | os.O_CREAT, 0o600)


def take(descriptor: int, *, shared: bool) -> bool:
    """Lock an open file, also in place of another lock of the same descriptor; whether that could be done at once."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def give_back(descriptor: int) -> None:
    """Hold no lock of an open file any more."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def close(descriptor: int) -> None:
    """Close the file; with it, its lock ends."""
    os.close(descriptor)


def read(descriptor: int) -> dict[str, Any]:
    """Return the object in an open file; empty where there is none."""
    try:
        found = json.loads(os.pread(descriptor, 1 << 20, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write(descriptor: int, state: dict[str, Any]) -> None:
    """Write an object in place of that in an open file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(state).encode(), 0)
