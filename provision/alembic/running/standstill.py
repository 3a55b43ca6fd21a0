"""A migration that waits for itself: one of its sessions waits for another, which only the same process can end.

PostgreSQL sees no deadlock there, because the session that holds the lock waits for nothing. It is taken for one when
the holder's session stays idle and unchanged, and the processes of the migration do nothing meanwhile: for two seconds
with one thread, longer with several, because another thread could still go on.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provision.alembic.running.watch import Wait

_SECONDS, _SECONDS_WITH_THREADS = 2.0, 15.0
_TICKS = 5
"""Clock ticks (a hundredth of a second each, usually) that count as nothing."""


class SelfBlockedError(Exception):
    """A session of the migration waits for another one of its own, and both stay as they are."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.statement)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class _Seen:
    changed: str
    since: float
    ticks: int


class Standstill:
    """What was seen of the waits in one run. ``leader`` leads the session of processes, ``threads`` are its own."""

    def __init__(self, leader: int, threads: int) -> None:
        self._leader = leader
        self._threads = threads
        self._seen: dict[tuple[int, int], _Seen] = {}

    def check(self, waits: Iterable[Wait]) -> None:
        """Compare what is waited for now with the looks before.

        Raises:
            SelfBlockedError: the migration waits for itself.
        """
        own = {(each.waiter, each.blocker): each for each in waits if each.is_own and each.is_idle}
        if not own:
            self._seen.clear()
            return
        processes = tuple(_processes(self._leader))
        ticks, most = sum(each for each, _ in processes), max([threads for _, threads in processes], default=0)
        needed = _SECONDS if 0 < most <= self._threads else _SECONDS_WITH_THREADS
        now: dict[tuple[int, int], _Seen] = {}
        for key, wait in own.items():
            before = self._seen.get(key)
            if before is None or before.changed != wait.changed or ticks - before.ticks > _TICKS:
                before = _Seen(wait.changed, time.monotonic(), ticks)
            elif time.monotonic() - before.since >= needed:
                raise SelfBlockedError(wait)
            now[key] = before
        self._seen = now


def _processes(leader: int) -> Iterator[tuple[int, int]]:
    """Yield the CPU time in clock ticks and the number of threads of each process of a session (proc(5), Linux)."""
    with suppress(OSError):
        for path in Path("/proc").iterdir():
            with suppress(OSError, IndexError, ValueError):
                if path.name.isdigit():
                    values = (path / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
                    if int(values[3]) == leader:
                        yield int(values[11]) + int(values[12]), int(values[17])
