"""A migration whose server went away: another one takes its place, and it continues from what that one has.

What counts is the version table that is found there. A standby that becomes the primary can lack what was committed
last, so a revision that ended well here may run once more; one that has committed a part of itself is not repeated.
https://www.postgresql.org/docs/current/warm-standby-failover.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.leftovers import NOT_SEEN
from provision.alembic.running.lock import LockConnection
from provision.alembic.running.run import Run
from provision.alembic.tree.graph import Graph
from provision.errors import CONTINUES, ProvisionError, StepFailedError, UnavailableError, command
from provision.model.value import dataclass
from provision.system.postgres import Login, LoginError
from provision.system.waiting import STANDBY, Lost, attempts, wait_for_writes

_SOON: Final = 2.0
"""So many seconds after a session of ours the others of a server end that went away, or that a proxy let go."""
_FINAL: Final = (Login.REFUSED, Login.NO_DATABASE, Login.CLOSED)
"""What a server that took our login before answers only where it lacks what was done last, or was changed."""
_MANY: Final = 4


@dataclass
class Past:
    """What earlier attempts of one migration have seen; ``times`` is how often the server went away.

    ``waits`` says whether another one is waited for.
    ``before`` are the rows at the very beginning, once they were read. ``applied`` are the revisions that it had
    last, with those that ran since. ``gone`` says where it went away, ``since`` (of the monotonic clock) when.
    """

    waits: bool
    times: int = 0
    before: tuple[str, ...] | None = None
    applied: frozenset[str] = frozenset()
    gone: str = ""
    since: float = 0.0
    last: Run | None = None

    def begin(self, run: Run) -> None:
        """Give a new attempt what the last one knew."""
        if self.last is not None:
            run.done, run.committed, run.attempts = self.last.done, self.last.committed, self.last.attempts
            run.before, run.running = self.last.before, self.last.running

    def note(self, run: Run, rows: tuple[str, ...]) -> tuple[str, ...]:
        """Keep what the server has at the beginning of an attempt; return what it had at the beginning of the first."""
        self.before = rows if self.before is None else self.before
        self.applied = frozenset(_applied(run.graph, rows))
        return self.before

    def leave(self, run: Run) -> None:
        """Keep what an attempt knew when the server went away."""
        names = {name for name, _ in run.done}
        self.applied = self.applied | names if run.effect.direction == "upgrade" else self.applied - names
        self.times, self.since, self.last = self.times + 1, time.monotonic(), run
        self.gone = f"the server went away {_where(run)}"


def is_lost(past: Past, lock: LockConnection, error: ProvisionError) -> bool:
    """Tell whether the server of a migration that failed is gone: then the lock's session, too, has ended."""
    return past.waits and any(not lock.is_alive() for _ in attempts(_SOON if error.server_is_gone else 0.0, 0.05))


def found(
    past: Past, open_lock: Callable[[], LockConnection], deadline: float, on_event: Callable[[MigrationEvent], None]
) -> LockConnection:
    """Return the lock's connection to a server that takes writes.

    Raises:
        LoginError: it is refused, or nothing answers and a server is not waited for.
        UnavailableError: none took writes until ``deadline``, or the one that does lets nobody in.
    """
    if not past.times:
        try:
            return open_lock()
        except LoginError as error:
            if not (past.waits and error.server_is_gone):
                raise
        past.times, past.since, past.gone = 1, time.monotonic(), "the server went away before the migrations"
    seconds = max(0.0, deadline - time.monotonic())
    lost = Lost(past.gone, seconds, "the time of the migration (`migrations.timeout`)", then=CONTINUES)
    return wait_for_writes(lost, partial(_taken, past, open_lock), lambda said: on_event(MigrationEvent("gone", said)))


def _taken(past: Past, open_lock: Callable[[], LockConnection]) -> LockConnection | tuple[str, ...]:
    """Return the lock's connection where the server takes writes, else why it does not.

    Raises:
        UnavailableError: it lets nobody in.
    """
    try:
        lock = open_lock()
    except LoginError as error:
        if error.login in _FINAL:
            raise _refused(past, error) from error
        return error.evidence
    evidence: tuple[str, ...] = STANDBY
    try:
        if not lock.is_standby():
            lock.end_earlier()
            return lock
    except UnavailableError as error:
        evidence = error.evidence
    lock.close()
    return evidence


def _refused(past: Past, error: LoginError) -> UnavailableError:
    return UnavailableError(
        f"{past.gone}, and the one in its place lets no session of the migration in: {error.login.value}",
        evidence=error.evidence,
        next_step=command("apply") + "   # it looks at that server first: a failover can lose what was done last",
    )


def resume(past: Past, run: Run, rows: tuple[str, ...]) -> None:
    """Say what became of the migration, before it continues.

    Raises:
        StepFailedError: a revision has committed a part of itself, so it cannot simply run again.
    """
    graph, applied, upgrade = run.graph, _applied(run.graph, rows), run.effect.direction == "upgrade"
    missing = (past.applied - applied if upgrade else applied - past.applied) if past.before is not None else set()
    lost = [name for name in graph.pending((), graph.heads) if name in missing]
    running, run.running = run.running, None
    run.done = [each for each in run.done if each[0] not in missing]
    seconds = time.monotonic() - past.since
    words = [f"{past.gone}; {run.endpoint.address} takes writes after {seconds:.0f} s"]
    if running is not None:
        words.append(f"{running} was committed" if (running in applied) == upgrade else f"{running} runs again")
    if lost:
        words.append(f"the failover lost {_listed(lost)}: {'it runs' if len(lost) == 1 else 'they run'} again")
    _refuse_parts(past, run, {*missing, running or ""})
    run.on_event(MigrationEvent("resumed", "; ".join(words)))


def _listed(names: list[str]) -> str:
    """Return revisions in words; of many the first and the last."""
    them = " and ".join(names) if len(names) < _MANY else f"{len(names)} revisions, {names[0]} to {names[-1]}"
    return f"{them}, which {'was' if len(names) == 1 else 'were'} committed"


def _refuse_parts(past: Past, run: Run, again: set[str]) -> None:
    """Refuse to run revisions again of which a part is there: one that makes an object shows it."""
    run.committed = [(name, text) for name, text in run.committed if name in again and not _makes(text)]
    truth = run.truth() if run.before is not NOT_SEEN else None
    if truth is not None and truth.rows is None:
        raise UnavailableError(f"{past.gone}, and the one in its place went away, too")
    if truth is not None and (truth.left or truth.committed):
        raise StepFailedError(
            f"{past.gone}, and a part of what has to run again was committed by itself",
            evidence=[f"{run.endpoint.address} takes writes now", *truth.lines],
            next_step=truth.next_step,
        )


def _makes(statement: str) -> bool:
    return statement.upper().startswith("CREATE ")


def _applied(graph: Graph, rows: tuple[str, ...]) -> set[str]:
    return set(graph.ancestors([row for row in rows if row in graph]))


def _where(run: Run) -> str:
    if run.running is not None:
        return f"in revision {run.graph.describe(run.running)}"
    return f"after revision {run.graph.describe(run.done[-1][0])}" if run.done else "before the first revision"
