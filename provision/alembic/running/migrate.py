"""Brings one Alembic tree to its target: takes the lock, has the child run it, and looks at what is really there.

Nothing that happened before the lock was ours is believed: somebody else may have migrated while we waited. And
nothing that the child says is believed either: the version table of our database is read again in the end.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.running import command as alembic_command
from provision.alembic.running import errors as alembic_errors
from provision.alembic.running import watch as alembic_watch
from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.ledger import Ledger
from provision.alembic.running.lock import LockConnection
from provision.alembic.running.process import Child
from provision.alembic.running.run import NoLockError, Rehearsal, Run, request, serve
from provision.alembic.tree import version_table
from provision.errors import MigrationsError, ProvisionError, UnknownRevisionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.alembic.tree import Graph, Location
    from provision.model import Endpoint
    from provision.model.effects import Migrate
    from provision.spec.model import Migrations

__all__ = ["Migrated", "MigrationEvent", "migrate"]

_FLUSH = "SELECT pg_logical_emit_message(true, 'provision', '')"
"""A commit that waits for the disk, and for all commits before it: a run that failed has not come to its last one."""
_RETRIES = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Migrated:
    """The rows of the version table before and after, and the revisions that ran with their seconds, in order."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    revisions: tuple[tuple[str, float], ...]


def migrate(
    tree: Migrations,
    files: tuple[Graph, Location],
    endpoint: Endpoint,
    effect: Migrate,
    on_event: Callable[[MigrationEvent], None],
    child: Child | None = None,
    rehearsal: Rehearsal | None = None,
) -> Migrated:
    """Perform one :class:`~provision.model.Migrate`; ``child`` is one that was started early, and is used up.

    With a ``rehearsal``, the endpoint is that of a scratch database.

    Raises:
        LockedError: somebody else was migrating all the time.
        UnknownRevisionError: the database is at a revision that the tree does not have.
        StepFailedError: the interpreter, env.py or a revision failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    graph, location = files
    deadline = time.monotonic() + tree.timeout
    try:
        with closing(LockConnection(endpoint)) as lock:
            lock.acquire(deadline, lambda holder: on_event(MigrationEvent("waiting", holder)))
            before = version_table.read_rows(tree, lock) or ()
            _as_seen(before, effect)
            names, expected = _work(graph, before, effect)
            is_there = before == expected or (not names and effect.direction != "stamp")
            if is_there and not effect.everywhere:
                on_event(MigrationEvent("nothing"))
                return Migrated(before, before, ())
            ledger = Ledger(tree, graph, lock, on_event, runs=effect.direction != "stamp")
            ledger.open(before)
            then = alembic_watch.before(lock)
            told = _noting(ledger, on_event)
            run = Run(tree, graph, location, endpoint, lock, deadline, told, effect, then, rehearsal)
            run.table = version_table.key_of(tree, lock)
            _carry_out(run, child, ledger)
            _prove(run, expected)
            if run.others or effect.everywhere:
                ledger.note_tables(run.others, ended=effect.direction == "upgrade")
            for index in alembic_watch.invalid_indexes(lock):
                on_event(MigrationEvent("invalid", f"index {index}", f"REINDEX INDEX CONCURRENTLY {index};"))
            return Migrated(before, expected, tuple(run.done))
    finally:
        if child is not None:
            child.__exit__()


def _carry_out(run: Run, child: Child | None, ledger: Ledger) -> None:
    """Run the tree's program, or the child; whatever comes of it, the ledger holds what is applied then."""
    try:
        if run.tree.command:
            alembic_command.serve(run)
        else:
            _serve(run, child)
    except BaseException as error:
        if isinstance(error, ProvisionError):
            error.revisions = run.fates()
        run.lock.write(_FLUSH)
        raise
    finally:
        ledger.note()


def _prove(run: Run, expected: tuple[str, ...]) -> None:
    """See that the version table of our database holds what it should, and the others that ``env.py`` keeps.

    Raises:
        StepFailedError: it does not, so the migration went elsewhere.
    """
    files = (run.graph, run.location)
    after = run.rows()
    if (after or ()) != expected:
        table = version_table.table_name(run.tree)
        raise alembic_errors.elsewhere(run.tree, files, table, expected, after, run.places)
    target = run.effect.target
    for table, rows in version_table.rows_of(run.others, run.lock).items() if run.others else ():
        is_behind = run.effect.direction == "upgrade" and run.graph.pending(rows, target)
        if not run.graph.unknown(rows) and is_behind:
            raise alembic_errors.elsewhere(run.tree, files, table, target, rows, run.places)


def _noting(ledger: Ledger, on_event: Callable[[MigrationEvent], None]) -> Callable[[MigrationEvent], None]:
    """Return who is told what happens: a revision that took its time is in the ledger before it is told to be done."""

    def tell(event: MigrationEvent) -> None:
        if event.what == "done":
            ledger.note_now_and_then()
        on_event(event)

    return tell


def _serve(run: Run, child: Child | None) -> None:
    """Run what is pending; a revision that got no lock, and left nothing, is run again after a while."""
    failures: list[NoLockError] = []
    while True:
        rows = run.rows() or ()
        names, _ = _work(run.graph, rows, run.effect)
        with child or Child.start(run.tree, run.location.cwd) as running:
            child = None
            try:
                serve(run, running, request(run, rows, names))
            except NoLockError as failure:
                if run.rehearsal is not None:  # nobody else is there: it would wait for itself again
                    raise failure.error from None
                failures = [*[each for each in failures if each.revision == failure.revision], failure]
            except ProvisionError:
                if failures and time.monotonic() >= run.deadline and run.running in {None, failures[-1].revision}:
                    raise _tried(failures) from None
                raise
            else:
                return
        _pause(run, failures)


def _pause(run: Run, failures: list[NoLockError]) -> None:
    """Wait before a revision is run again, longer each time.

    Raises:
        ProvisionError: it was tried often enough, or the time is over.
    """
    pause = min(_FIRST_PAUSE * 2.0 ** (len(failures) - 1), _LONGEST_PAUSE)
    if len(failures) > _RETRIES or time.monotonic() + pause > run.deadline:
        raise _tried(failures)
    run.pids.clear()
    run.running = None
    run.on_event(MigrationEvent("retrying", run.graph.describe(failures[-1].revision), seconds=pause))
    time.sleep(pause)


def _tried(failures: list[NoLockError]) -> ProvisionError:
    """Return the error for a revision that never got its lock."""
    error = failures[-1].error
    times = "once" if len(failures) == 1 else f"{len(failures)} times"
    error.evidence = (*error.evidence, f"it was tried {times}")
    return error


def _as_seen(rows: tuple[str, ...], effect: Migrate) -> None:
    """See that the database is still where it was when this was decided.

    Raises:
        MigrationsError: somebody else has migrated it meanwhile.
    """
    if effect.seen is not None and sorted(effect.seen) != sorted(rows):
        raise MigrationsError(
            f"the database was at {', '.join(effect.seen) or 'base'}, and somebody has migrated it meanwhile",
            evidence=(f"it is at {', '.join(rows) or 'base'} now",),
            next_step="run the same command again: it looks anew",
        )


def _work(graph: Graph, rows: tuple[str, ...], effect: Migrate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the revisions to run from where the database really is, and the rows that must be there afterwards."""
    if effect.direction == "stamp":
        return (), effect.target
    unknown = graph.unknown(rows)
    if unknown:
        raise UnknownRevisionError(effect.name, unknown)
    if effect.direction == "upgrade":
        return graph.pending(rows, effect.target), graph.version_rows([*rows, *effect.target])
    names = graph.downgrades(rows, effect.target)
    return names, graph.version_rows(graph.ancestors(rows) - set(names))
