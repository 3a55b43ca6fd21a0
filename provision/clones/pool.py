"""Clones that are made ahead, and dropped, by two threads with connections of their own, while tests run.

In a server of the run's own, which goes away with all of them, making comes before dropping, because a test may wait
for it; only so many clones wait to be dropped, whose data is in memory or on the disk. In a server of others, both
happen at once. CREATE and DROP DATABASE make checkpoints, which are quick where ``fsync`` is off.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from contextlib import closing
from threading import Condition, Thread
from typing import TYPE_CHECKING

from provision.spec.derived import of_test, place_of
from provision.system.database_copy import Copies, drop_in
from provision.system.postgres import connect, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg2.extensions

    from provision.model import Endpoint
    from provision.spec.model import Spec

_CLASS_ID = 0x74657374  # "test"; the other half of the key is the word's checksum
_PLACE = 8
"""So many digits of a guard tell whose run it is."""
_ROOM = 512 << 20
_FEWEST = 4
"""Clones that are over wait to be dropped while they have less than so many bytes, or are so few."""
_MORE = 16
"""With so many more, no clone is made ahead until some are dropped."""


class Pool:
    """Clones of one template. ``named`` makes up a name for each, and is called by the thread.

    ``ahead`` are so many ready ones, as far as ``expected`` more are needed. ``guard`` is the
    :func:`guard` in the names of the clones of this run, where the server is not for it alone.
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
        self._ends = self._drops = self._made_all = False
        self._changed = Condition()
        self._threads = [Thread(target=self._work, args=(each,), daemon=True) for each in (self._make, self._drop)]
        self.waits: list[float] = []
        """How long each clone was waited for, in seconds."""
        for thread in self._threads:
            thread.start()

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
        """End the threads; with ``drops``, first drop all clones but those that were taken and not given back."""
        with self._changed:
            self._ends, self._drops = True, drops
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self, do: Callable[[psycopg2.extensions.connection], None]) -> None:
        try:
            with closing(connect(self.server, read_only=False)) as connection:
                if self._guard:
                    hold(connection, self._guard)
                do(connection)
        except BaseException as error:  # noqa: BLE001  # it is raised where a clone is taken
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _make(self, connection: psycopg2.extensions.connection) -> None:
        """Make clones until the end; those that are left then are over."""
        if self._guard:
            sweep(connection, self._guard)
        copies = Copies(connection, self._source)
        self._room = 0 if self._guard else max(_FEWEST, _ROOM // copies.way.size)
        while self._wait(lambda: self._is_needed):
            name = self._named()
            copies.make(name)
            with self._changed:
                (self._over if self._ends else self._ready).append(name)
                self._changed.notify_all()
        with self._changed:
            self._over.extend(self._ready)
            self._made_all = True
            self._changed.notify_all()

    def _drop(self, connection: psycopg2.extensions.connection) -> None:
        """Drop what is over, while nothing has to be made or there is too much of it, and all in the end."""
        while self._wait(lambda: bool(self._over) and (len(self._over) > self._room or not self._is_needed)):
            drop_in(connection, self._over.popleft())
        with self._changed:
            self._changed.wait_for(lambda: self._made_all or self._error is not None)
        while self._drops and self._over:
            drop_in(connection, self._over.popleft())

    def _wait(self, is_due: Callable[[], bool]) -> bool:
        """Wait until something is to be done; False: it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ends or is_due())
            return not self._ends

    @property
    def _is_needed(self) -> bool:
        wanted = max(self._waiting, min(self._ahead, self._expected))
        return len(self._ready) < wanted and (len(self._over) <= self._room + _MORE or self._waiting > len(self._ready))


def guard(spec: Spec, word: str) -> str:
    """Return a word for a run in a server of others, which begins with that of the spec and its place.

    It is in the names of the run's clones, and a lock of that name tells that the run is under way.
    """
    return place_of(spec)[:_PLACE] + word[:8]


def hold(connection: psycopg2.extensions.connection, word: str) -> None:
    """Let others see, until the connection ends, that a run is under way."""
    rows(connection, "SELECT pg_advisory_lock_shared(%s, %s)", _key(word))


def sweep(connection: psycopg2.extensions.connection, word: str) -> list[str]:
    """Drop what other runs of the same spec and place have left or kept that are over, and return what that was.

    ``word`` is the :func:`guard` of this run.
    """
    first, dropped = of_test(0, word[:_PLACE]), []
    there = rows(connection, "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", (first,))
    words = {name: name.removeprefix(of_test(0)).split("_")[0] for (name,) in there}
    for name, each in words.items():
        if each != word and rows(connection, "SELECT pg_try_advisory_lock(%s, %s)", _key(each)) == [(True,)]:
            drop_in(connection, name)
            rows(connection, "SELECT pg_advisory_unlock(%s, %s)", _key(each))
            dropped.append(name)
    return dropped


def _key(word: str) -> tuple[int, int]:
    return _CLASS_ID, zlib.crc32(word.encode()) - (1 << 31)
