"""Locks of the operating system on an environment and on data: they name their holder and end with its process.

At the end are lock files that several processes hold together, with a small JSON object in them.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from provision.errors import LockedError
from provision.system.files import explaining, make_directory
from provision.system.owned import keep, open_own, unfollowed
from provision.system.waiting import attempts

_POLL = 0.1
_CLOCKS = 0.1
"""How much the clock of a file system may lag behind, in seconds."""
_ENVIRONMENT = "another run works on this environment"
DATA = "another run is about to start a server on this data"


class Wait:
    """A bounded wait for a lock. ``waiting`` receives the holder's name once."""

    def __init__(self, timeout: float, waiting: Callable[[str], None]) -> None:
        self._timeout = timeout
        self._attempts = attempts(timeout, _POLL)
        next(self._attempts)
        self._waiting = waiting
        self.has_waited = False

    def pause(self, what: str, holder: str) -> None:
        """Wait a moment for ``holder``; ``what`` is the sentence if the time is over.

        Raises:
            LockedError: the time is over.
        """
        if next(self._attempts, None) is None:
            raise LockedError(
                f"{what} and did not end within {self._timeout:g} s",
                evidence=[f"the lock is held by {holder}"],
                next_step="wait for it, or give a longer --lock-timeout",
            )
        if not self.has_waited:
            self._waiting(f"waiting for {holder}")
            self.has_waited = True


@contextmanager
def hold(path: Path, *, timeout: float, waiting: Callable[[str], None], since: float = 0) -> Iterator[bool]:
    """Hold the lock file of an environment for the length of the block; wait up to ``timeout`` seconds for it.

    ``waiting`` receives once who holds it. The block gets whether no other run held it after the moment ``since``.

    Raises:
        LockedError: it is still held after that time.
        RefusedError: another user has put something into the environment's directory.
        ProvisionError: it cannot be written, so nothing else here could be.
    """
    make_directory(path.parent, 0o755)
    keep(path.parent)
    is_new = not os.path.lexists(path)
    wait = Wait(timeout, waiting)
    descriptor = _acquire(path, wait, _ENVIRONMENT)
    try:
        left = os.fstat(descriptor)
        # A run that ended well left the file empty, and its time is that of the end.
        is_calm = not wait.has_waited and left.st_size == 0 and (is_new or left.st_mtime < since - _CLOCKS)
        with explaining(f"{path} cannot be written", path):
            _sign(descriptor, "")
        yield is_calm
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def beside(data: Path) -> Path | None:
    """Return the lock file of a data directory: in its parent, or in itself where the parent takes no file of ours."""
    if os.access(data.parent, os.W_OK | os.X_OK):
        return data.parent / f".{data.name}.provision-lock"
    return data / ".provision-lock" if os.access(data, os.W_OK | os.X_OK) else None


@contextmanager
def hold_data(path: Path, holder: str, wait: Wait) -> Iterator[None]:
    """Hold a lock file beside data for the length of the block, and remove it afterwards.

    Raises:
        LockedError: it is still held after the time of ``wait``.
        ProvisionError: it cannot be written.
    """
    descriptor = _acquire(path, wait, DATA)
    try:
        with explaining(f"{path} cannot be written", path):
            _sign(descriptor, holder)
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: whoever opened it before sees that it is another file now
        os.close(descriptor)


def _acquire(path: Path, wait: Wait, what: str) -> int:
    while True:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            wait.pause(what, _holder(path))
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at the path; its last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int, holder: str) -> None:
    os.ftruncate(descriptor, 0)
    signature = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "holder": holder}
    os.write(descriptor, json.dumps(signature).encode())


def calm(path: Path, *, since: float, timeout: float) -> bool:
    """Whether another run held the lock after the moment ``since``; if one does now, wait until it ended.

    Nothing is made or written, so that whoever only looks may ask.
    """
    try:
        with open(path, opener=unfollowed) as file:  # Path.open takes no opener
            if _is_ours(file.read()):
                return False
            disturbed = os.fstat(file.fileno()).st_mtime >= since
            for _ in attempts(timeout, _POLL):
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    disturbed = True
                else:
                    return disturbed
    except OSError:
        pass
    return False


def _is_ours(text: str) -> bool:
    try:
        held = json.loads(text)
    except ValueError:
        return False
    return isinstance(held, dict) and (held.get("pid"), held.get("host")) == (os.getpid(), socket.gethostname())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def me(holder: str) -> str:
    """Return the holder's name as others read it: whose run this is, its process and its host."""
    return f"{holder}, process {os.getpid()} on {socket.gethostname()}"


def _holder(path: Path) -> str:
    try:
        held = json.loads(path.read_text())
        whose = f"{held['holder']}, " if held.get("holder") else ""
        return f"{whose}process {held['pid']} on {held['host']}, since {held['since']}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "another process"


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
