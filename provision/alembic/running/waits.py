"""What the sessions of a migration wait for, and whether it waits for itself."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from provision.alembic.running.lock import LockConnection
from provision.model.value import dataclass
from provision.model.words import short

_SHORT = 80
_SECONDS, _SECONDS_WITH_THREADS = 2.0, 15.0
_TICKS = 5
"""Clock ticks (a hundredth of a second each, usually) that count as nothing."""

_WAITS = """
WITH ours AS (SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND (pid = ANY(%s::int[]) OR application_name = %s))
SELECT waiter.pid, other.pid, other.application_name, other.usename, other.client_addr::text, other.state,
       to_char(coalesce(other.xact_start, other.state_change, other.backend_start), 'HH24:MI:SS'), other.query,
       other.pid IN (SELECT pid FROM ours), waiter.query, other.state LIKE 'idle%%', other.state_change::text
FROM pg_stat_activity AS waiter
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiter.pid)) AS blocking (pid)
JOIN pg_stat_activity AS other ON other.pid = blocking.pid
WHERE waiter.pid IN (SELECT pid FROM ours) AND waiter.wait_event_type = 'Lock'
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Wait:
    """One session of the migration that waits for another one. ``is_own``: for another one of the same migration.

    ``statement`` is what waits, ``last`` what the other session sent last, ``changed`` when that began or ended.
    """

    waiter: int
    blocker: int
    who: str
    is_own: bool
    statement: str
    last: str
    is_idle: bool
    changed: str


def waits_of(query: LockConnection, pids: Sequence[int]) -> tuple[Wait, ...]:
    """Return what the sessions of a migration wait for.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    found = []
    for waiter, pid, name, user, client, state, since, text, is_own, statement, idle, changed in query.rows(
        _WAITS, (list(pids), query.scope.child_name)
    ):
        who = f"pid {pid} ({name or 'no name'}, {user} from {client or 'a local socket'}, {state} since {since})"
        waiting, last = short(statement or "", _SHORT), short(text or "", _SHORT)
        found.append(Wait(waiter, pid, f"{who}: {last}", is_own, waiting, last, bool(idle), str(changed)))
    return tuple(found)


class SelfBlockedError(Exception):
    """A session of the migration waits for another one of its own, and both stay as they are."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.statement)
        self.wait = wait


@dataclass(frozen=True)
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
