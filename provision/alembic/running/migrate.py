"""Brings one Alembic tree to its target: takes the lock, has the child run it, and reads the result from the database.

Nothing that was seen before we held the lock counts: another run may have migrated while we waited. And nothing that
the child reports counts either: we read the version table of our database again at the end.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import TYPE_CHECKING

from provision.alembic.running import errors as alembic_errors, failover, leftovers, rights, waits
from provision.alembic.running.command import serve_program
from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.ledger import Ledger
from provision.alembic.running.lock import lock_connection
from provision.alembic.running.process import Child, OutOfTimeError, common
from provision.alembic.running.run import Rehearsal, Run
from provision.alembic.tree.version_table import rows_of_tables, table_key, table_name
from provision.errors import MigrationsError, ProvisionError, UnavailableError, UnknownRevisionError
from provision.model.sql import identifier
from provision.model.value import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.alembic.child import protocol
    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.location import Location
    from provision.model import Endpoint
    from provision.model.effects import Migrate
    from provision.spec.model import Migrations

    OnEvent = Callable[[MigrationEvent], None]

_LOOK_EVERY = 1.0
_THREADS = 2
"""Of a child: the one that runs the revisions, and the one that listens to us; one that stays has a third."""
_NO_LOCK = frozenset({"55P03", "40P01"})
"""``lock_not_available`` and ``deadlock_detected``: what passes by itself."""
_FLUSH = "SELECT pg_logical_emit_message(true, 'provision', '')"
"""A commit that waits for the disk, and for all commits before it: a run that failed has not come to its last one."""
_RETRIES = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class NoLockError(Exception):
    """A revision got no lock and was rolled back as a whole; ``error`` is what to say when it is not tried again."""

    def __init__(self, revision: str, error: ProvisionError) -> None:
        super().__init__(revision)
        self.revision = revision
        self.error = error


@dataclass(frozen=True)
class Migrated:
    """The rows of the version table before and after, and the revisions that ran with their seconds, in order.

    ``read`` is what their code has read; None where nothing ran, or it is not known. ``failovers`` is how often the
    server went away, and another one took its place.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    revisions: tuple[tuple[str, float], ...] = ()
    read: protocol.Read | None = None
    failovers: int = 0


@dataclass(frozen=True)
class Manner:
    """In which way a migration runs.

    ``child`` is one that was started early, and is used up unless it ``stays``. With a ``rehearsal``, the endpoint is
    that of a scratch database. ``session`` is how ``env.py`` logs in, where that is not as the endpoint says.
    ``is_over`` says, of a run beside others, that it need not wait for the lock any more.
    """

    child: Child | None = None
    rehearsal: Rehearsal | None = None
    session: Endpoint | None = None
    is_over: Callable[[], bool] = lambda: False


_AS_USUAL = Manner()


def migrate(
    tree: Migrations,
    files: tuple[Graph, Location],
    endpoint: Endpoint,
    effect: Migrate,
    on_event: OnEvent,
    manner: Manner = _AS_USUAL,
) -> Migrated:
    """Perform one :class:`~provision.model.Migrate`; the login of ``endpoint`` holds the lock.

    Raises:
        LockedError: another run was migrating all the time.
        UnknownRevisionError: the database is at a revision that the tree does not have.
        StepFailedError: the interpreter, env.py or a revision failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    deadline, child, at = time.monotonic() + tree.timeout, manner.child, manner.session or endpoint
    past = failover.Past(not endpoint.is_ours and manner.rehearsal is None)
    try:
        while True:
            open_lock = partial(lock_connection, tree, endpoint, at)
            with closing(failover.found(past, open_lock, deadline, on_event)) as lock, ExitStack() as children:
                run = Run(tree, *files, lock.settled(at), lock, deadline, on_event, effect, children, manner.rehearsal)
                past.begin(run)
                try:
                    lock.acquire(deadline, lambda holder: on_event(MigrationEvent("waiting", holder)), manner.is_over)
                    return _migrate(run, child, past)
                except ProvisionError as error:
                    if not failover.is_lost(past, lock, error):
                        raise
                past.leave(run)
                child = None
    finally:
        if manner.child is not None and not manner.child.stays:
            manner.child.__exit__()


def _migrate(run: Run, child: Child | None, past: failover.Past) -> Migrated:
    """Do what is to be done under the lock."""
    before, effect, on_event = run.rows() or (), run.effect, run.on_event
    if past.before is None:
        _refuse_moved(before, effect)
    if past.times:
        failover.resume(past, run, before)
    first = past.note(run, before)
    names, expected = _work(run.graph, before, effect)
    is_there = before == expected or (not names and effect.direction != "stamp")
    if is_there and not effect.everywhere:
        if not past.times:
            on_event(MigrationEvent("nothing"))
        return Migrated(first, before, tuple(run.done), failovers=past.times)
    rights.check(run.tree, run.lock, run.endpoint)
    if not before and effect.direction == "upgrade":
        rights.refuse_hidden(run.tree, run.graph, run.lock)
    ledger = Ledger(run.tree, run.graph, run.lock, on_event, runs=effect.direction != "stamp")
    ledger.open(before)

    def report(event: MigrationEvent) -> None:
        if event.what == "done":  # a slow revision is in the ledger before it is reported
            ledger.done(event.subject)
        on_event(event)

    run.first = before
    run.on_event, run.before, run.table = report, leftovers.seen_before(run.lock), table_key(run.tree, run.lock)
    _carry_out(run, child, ledger, expected)
    return Migrated(first, expected, tuple(run.done), run.read, past.times)


def _carry_out(run: Run, child: Child | None, ledger: Ledger, expected: tuple[str, ...]) -> None:
    """Run the tree's program, or the child; whatever comes of it, the ledger holds what is applied then.

    Raises:
        StepFailedError: it failed, or a version table does not hold what it should: the migration went elsewhere.
    """
    try:
        if run.tree.command:
            serve_program(run)
        else:
            _serve_with_retries(run, child)
    except BaseException as error:
        if isinstance(error, ProvisionError):
            error.revisions = run.fates()
        run.lock.write(_FLUSH)
        ledger.note()
        raise
    after, target, is_upgrade = run.rows(), run.effect.target, run.effect.direction == "upgrade"
    ledger.note(after or ())
    if (after or ()) != expected:
        raise run.elsewhere(table_name(run.tree), expected, after)
    for table, rows in rows_of_tables(run.others, run.lock).items() if run.others else ():
        if is_upgrade and not run.graph.unknown(rows) and run.graph.pending(rows, target):
            raise run.elsewhere(table, target, rows)
    if run.others or run.effect.everywhere:
        ledger.note_tables(run.others, ended=is_upgrade)
    for index in leftovers.invalid_indexes(run.lock):
        run.on_event(MigrationEvent("invalid", f"index {index}", f"REINDEX INDEX CONCURRENTLY {index};"))


def _serve_with_retries(run: Run, child: Child | None) -> None:
    """Run what is pending; a revision that got no lock, and left nothing, is run again after a pause.

    Raises:
        ProvisionError: it failed, was tried often enough, or the time is over.
    """
    failures: list[NoLockError] = []
    while True:
        rows = (run.rows() or ()) if run.attempts else run.first
        run.attempts += 1
        running, child = child or Child.start(run.tree, run.location.cwd), None
        if not running.stays:
            run.children.enter_context(running)
        try:
            serve(run, running, _request(run, rows, _work(run.graph, rows, run.effect)[0]))
        except NoLockError as failure:
            if run.rehearsal is not None:  # it is alone there, and would wait for itself again
                raise failure.error from None
            failures = [*[each for each in failures if each.revision == failure.revision], failure]
        except ProvisionError:
            if failures and time.monotonic() >= run.deadline and run.running in {None, failures[-1].revision}:
                raise _tried(failures) from None
            raise
        else:
            return
        pause = min(_FIRST_PAUSE * 2.0 ** (len(failures) - 1), _LONGEST_PAUSE)
        if len(failures) > _RETRIES or time.monotonic() + pause > run.deadline:
            raise _tried(failures)
        run.pids.clear()
        run.running, run.waits_for_itself = None, False
        run.on_event(MigrationEvent("retrying", run.graph.describe(failures[-1].revision), seconds=pause))
        time.sleep(pause)


def _tried(failures: list[NoLockError]) -> ProvisionError:
    """Return the error for a revision that never got its lock."""
    error = failures[-1].error
    times = "once" if len(failures) == 1 else f"{len(failures)} times"
    error.evidence = (*error.evidence, f"it was tried {times}")
    return error


def _refuse_moved(rows: tuple[str, ...], effect: Migrate) -> None:
    """Refuse a database that is not where it was when the move was decided.

    Raises:
        MigrationsError: another run has migrated it.
    """
    if effect.seen is not None and sorted(effect.seen) != sorted(rows):
        raise MigrationsError(
            f"the database was at {', '.join(effect.seen) or 'base'}, and another run has migrated it since",
            evidence=(f"it is at {', '.join(rows) or 'base'} now",),
            next_step="run the same command again: it looks at the database first",
        )


def _work(graph: Graph, rows: tuple[str, ...], effect: Migrate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the revisions to run from where the database really is, and the rows that must be there afterwards."""
    if effect.direction == "stamp":
        return (), effect.target
    if unknown := graph.unknown(rows):
        raise UnknownRevisionError(effect.name, unknown)
    if effect.direction == "upgrade":
        return graph.pending(rows, effect.target), graph.version_rows([*rows, *effect.target])
    names = graph.downgrades(rows, effect.target)
    return names, graph.version_rows(graph.ancestors(rows) - set(names))


def _request(run: Run, rows: tuple[str, ...], names: tuple[str, ...]) -> protocol.Migrate:
    """Return what the child is asked to do."""
    direction, target, location = run.effect.direction, run.effect.target, run.location
    scope = run.lock.scope
    places = (location.script, location.env, location.cwd)
    return {
        **common("migrate", [direction, (target or ("base",))[0]], run.tree, run.endpoint, places),
        "transaction_per_revision": run.tree.transaction_per_revision and direction != "stamp",
        "others": [],
        "rehearsal": run.rehearsal.asks if run.rehearsal else None,
        "reading": run.rehearsal is None and direction == "upgrade" and run.tree.tenant is None,
        "session": (scope.child_name, run.tree.tenant and scope.schema and identifier(scope.schema)),
        "reloads": run.tree.tenant is not None and _is_of_each(run.tree),
        "direction": direction,
        "target": list(target),
        "revisions": list(names),
        "rows": list(rows),
        "declared_table": run.table,
        "lock": {"pid": run.lock.pid, "classid": scope.key[0], "objid": scope.key[1]},
    }


def _is_of_each(tree: Migrations) -> bool:
    """Tell whether variables differ from tenant to tenant: most projects read theirs as their modules are imported."""
    return any(re.search(r"\{(tenant|database|url)\}", value.reveal()) for value in tree.env.values())


def serve(run: Run, child: Child, asked: protocol.Migrate) -> None:
    """Have the child run a request to its end; whatever goes wrong, it and its statements are over afterwards.

    Raises:
        NoLockError: the failure is worth another try.
        StepFailedError: any other.
    """
    try:
        failure, finished = _listen(run, child, asked)
    except BaseException as ended:
        _cancel(run, child)
        if isinstance(ended, OutOfTimeError):
            raise alembic_errors.out_of_time(run.tree, run.running, run.truth()) from None
        if isinstance(ended, waits.SelfBlockedError):
            raise run.self_blocked(ended.wait) from None
        raise
    if finished:
        return  # what it has done is looked at while it ends
    status, printed = child.close(now=False), run.masked(child.printed())
    if failure is None:
        _cancel(run, child)
        raise alembic_errors.died(status, printed, run.truth())
    error = alembic_errors.failed(failure, printed, (run.tree, run.location), child.python, run.truth())
    passes = failure["sqlstate"] in _NO_LOCK and not run.waits_for_itself
    if passes and failure["clean"] and failure["stage"] == "revision":
        raise NoLockError(failure["revision"] or "", error)
    raise error


def _listen(run: Run, child: Child, asked: protocol.Migrate) -> tuple[protocol.Failure | None, bool]:
    """Return the error that the child reported, if any, and whether it came to its end."""
    standstill = waits.Standstill(child.pid, _THREADS + child.stays)
    for event in child.events(run.deadline, every=min(_LOOK_EVERY, run.tree.lock_timeout / 2)):
        if event["event"] == "ready":
            child.ask(asked)
        elif event["event"] == "quiet":
            run.look(standstill)
        elif event["event"] == "finished":
            child.has_served(event)
            return None, True
        elif event["event"] == "error":
            return event, False
        else:
            _hear(run, child, event)
            if run.done and len(run.done) < len(asked["revisions"]) - 1 and run.rehearsal is None:
                child.gather()
    return None, False


def _hear(run: Run, child: Child, event: protocol.Event) -> None:
    """Note what the child reports on its way."""
    if event["event"] == "session":
        run.pids.append(event["pid"])
    elif event["event"] == "connected":
        run.pids.append(event["pid"])
        run.tables.append(event["table"])
        run.places.append(f"database {event['database']} (version table {event['table']})")
    elif event["event"] == "read":
        run.read = event if run.attempts == 1 else None
    elif event["event"] == "committed":
        run.committed.append((event["revision"] or "", event["statement"]))
    elif event["event"] == "revision-start":
        run.running = event["revision"]
        run.on_event(MigrationEvent("started", event["revision"], _message(run, event)))
    elif event["event"] == "revision-done":
        run.running = None
        run.waits.clear()
        run.done.append((event["revision"], event["seconds"]))
        run.on_event(MigrationEvent("done", event["revision"], _message(run, event), event["seconds"]))
    elif run.rehearsal is not None:
        run.rehearsal.on_event(child, event)


def _message(run: Run, event: protocol.RevisionStart | protocol.RevisionDone) -> str:
    """Return a revision's message, with the version table where it is not the declared one."""
    other = "" if event["table"] == run.table else f"({event['table']})"
    return "  ".join(filter(None, (event["message"], other)))


def _cancel(run: Run, child: Child) -> None:
    """End the child, and its statements on the server."""
    child.close()
    with suppress(UnavailableError):
        run.lock.end_all(run.pids)
