"""Clones that are made ahead, and dropped, by a thread with a connection of its own, while tests run.

Making comes before dropping, because a test may wait for it; but only so many clones wait to be dropped, whose data is
in memory or on the disk. CREATE and DROP DATABASE make checkpoints, which are quick where ``fsync`` is off.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from contextlib import closing
from threading import Condition, Thread
from typing import TYPE_CHECKING, Literal

from provision.spec.derived import of_test
from provision.system.database_copy import Copies, drop_in
from provision.system.postgres import connect, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg2.extensions

    from provision.model import Endpoint

_CLASS_ID = 0x74657374  # "test"; the other half of the key is the word's checksum
_ROOM = 512 << 20
_FEWEST = 4
"""Clones that are over wait to be dropped while they have less than so many bytes, or are so few."""


class Pool:
    """Clones of one template. ``named`` makes up a name for each, and is called by the thread.

    ``ahead`` are so many ready ones, as far as ``expected`` more are needed. ``guard`` is a word in the names of the
    clones of this run, where the server is not for it alone: a lock of that name tells that the run is under way.
    """

    def __init__(
        self, server: Endpoint, source: str, named: Callable[[], str], *, ahead: int, expected: int, guard: str = ""
    ) -> None:
        self.server = server
        self._source, self._named, self._ahead, self._guard = source, named, ahead, guard
        self._expected, self._waiting, self._room = expected, 0, _FEWEST
        self._ready: deque[str] = deque()
        self._over: deque[str] = deque()
        self._error: BaseException | None = None
        self._ends: Literal["no", "at once", "when all is dropped"] = "no"
        self._changed = Condition()
        self._thread = Thread(target=self._work, name="provision clones", daemon=True)
        self.waits: list[float] = []
        """How long each clone was waited for, in seconds."""
        self._thread.start()

    def take(self) -> str:
        """Return the name of a clone that no one has used, and wait for it where none is ready.

        Raises:
            ProvisionError: clones cannot be made.
        """
        began = time.perf_counter()
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            while not self._ready and self._error is None:
                self._changed.wait()
            self._waiting -= 1
            if self._error is not None:
                raise self._error
            self._expected -= 1
            name = self._ready.popleft()
            self._changed.notify_all()
        self.waits.append(time.perf_counter() - began)
        return name

    def give_back(self, name: str) -> None:
        """Have a clone dropped in the background; sessions that are left in it are ended."""
        with self._changed:
            self._over.append(name)
            self._changed.notify_all()

    def close(self, *, drops: bool) -> None:
        """End the thread; with ``drops``, first drop all clones but those that were taken and not given back."""
        with self._changed:
            self._ends = "when all is dropped" if drops else "at once"
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        try:
            with closing(connect(self.server, read_only=False)) as connection:
                if self._guard:
                    guard(connection, self._guard)
                copies = Copies(connection, self._source)
                self._room = max(_FEWEST, _ROOM // copies.way.size)
                while (task := self._next()) is not None:
                    self._carry_out(connection, copies, *task)
        except BaseException as error:  # noqa: BLE001  # it is raised where a clone is taken
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _carry_out(
        self, connection: psycopg2.extensions.connection, copies: Copies, what: Literal["make", "drop"], name: str
    ) -> None:
        if what == "drop":
            drop_in(connection, name)
            return
        copies.make(name)
        with self._changed:
            self._ready.append(name)
            self._changed.notify_all()

    def _next(self) -> tuple[Literal["make", "drop"], str] | None:
        """Wait for something to do; None: it is over."""
        with self._changed:
            while True:
                if self._ends != "no":
                    left = self._over or self._ready if self._ends != "at once" else ()
                    return ("drop", left.popleft()) if left else None
                if len(self._ready) < max(self._waiting, min(self._ahead, self._expected)) and not self._is_full:
                    return "make", self._named()
                if self._over:
                    return "drop", self._over.popleft()
                self._changed.wait()

    @property
    def _is_full(self) -> bool:
        return len(self._over) > self._room and bool(self._ready or not self._waiting)


def guard(connection: psycopg2.extensions.connection, word: str) -> None:
    """Let others see, until the connection ends, that a run is under way; drop what runs that were killed have left."""
    rows(connection, "SELECT pg_advisory_lock_shared(%s, %s)", _key(word))
    beginning = of_test(0)
    there = rows(connection, "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", (beginning,))
    words = {name: name.removeprefix(beginning).split("_")[0] for (name,) in there}
    for name, each in words.items():
        if each != word and rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", _key(each)) == [(True,)]:
            drop_in(connection, name)
            rows(connection, "SELECT pg_advisory_unlock(%s, %s)", _key(each))


def _key(word: str) -> tuple[int, int]:
    return _CLASS_ID, zlib.crc32(word.encode()) - (1 << 31)
