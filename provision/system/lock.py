"""One apply at a time per environment: an operating-system lock, gone with its process, that names its holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from provision.errors import LockedError
from provision.system.files import make_directory, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

_POLL = 0.1


@contextmanager
def hold(path: Path, *, timeout: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file at ``path`` for the length of the block; wait up to ``timeout`` seconds for it.

    ``waiting`` is told once who holds it.

    Raises:
        LockedError: it is still held after that time.
        ProvisionError: it cannot be written, so nothing else here could be.
    """
    make_directory(path.parent, 0o755)
    with _opened(path) as file:
        deadline = time.monotonic() + timeout
        is_told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(path)
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"another run works on this environment and did not end within {timeout:g} s",
                        evidence=[f"the lock is held by {holder}"],
                        next_step="wait for it, or give a longer --lock-timeout",
                    ) from None
                if not is_told:
                    waiting(f"waiting for {holder}")
                    is_told = True
                time.sleep(_POLL)
        with told(f"{path} cannot be written", path):
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}).encode())
        try:
            yield
        finally:
            file.truncate(0)


def _opened(path: Path) -> FileIO:
    """Open the file without a buffer, which on a full disk would be written once more when it is closed."""
    with told(f"{path} cannot be written", path):
        return path.open("ab", buffering=0)


def calm(path: Path, *, since: float, timeout: float) -> bool:
    """Tell whether another run held the lock after the moment ``since``; if one does now, wait until it ended.

    Nothing is made or written, so that whoever only looks may ask.
    """
    deadline = time.monotonic() + timeout
    try:
        with path.open() as file:
            if _is_ours(path):
                return False
            disturbed = path.stat().st_mtime >= since
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    disturbed = True
                    time.sleep(_POLL)
                else:
                    return disturbed
    except OSError:
        pass
    return False


def _is_ours(path: Path) -> bool:
    try:
        held = json.loads(path.read_text())
    except ValueError:
        return False
    return (held.get("pid"), held.get("host")) == (os.getpid(), socket.gethostname())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        return f"process {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"
