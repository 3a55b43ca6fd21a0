"""Brings one Alembic tree to its target: takes the lock, has the child run it, and looks at what is really there.

Nothing that happened before the lock was ours is believed: somebody else may have migrated while we waited. And
nothing that the child says is believed either: the version table of our database is read again in the end.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from provision.errors import MigrationsError, UnavailableError
from provision.revisions import version_table
from provision.system import alembic_errors
from provision.system.alembic_lock import CLASS_ID, OBJECT_ID, LockConnection
from provision.system.alembic_process import Child, OutOfTimeError
from provision.system.postgres import tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.model import Endpoint, Migrate
    from provision.revisions import Graph, Location
    from provision.spec.model import Migrations


@dataclass(frozen=True, slots=True)
class MigrationEvent:
    """Something worth seeing while a tree is migrated; as text, one line.

    ``subject`` is a revision's id, or who holds the lock.
    """

    what: Literal["waiting", "started", "done", "nothing"]
    subject: str = ""
    message: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        name = f"{self.subject}  {self.message}".rstrip()
        match self.what:
            case "waiting":
                return f"waiting for the migration of {self.subject}"
            case "started":
                return name
            case "done":
                return f"{name} ({self.seconds:.2f} s)"
            case "nothing":
                return "somebody else has migrated meanwhile; nothing to do"


@dataclass(frozen=True, slots=True)
class Migrated:
    """The rows of the version table before and after, and the revisions that ran with their seconds, in order."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    revisions: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class _Run:
    """One migration under way. ``pids`` are the child's sessions on the server, ``places`` what they reached."""

    tree: Migrations
    graph: Graph
    endpoint: Endpoint
    lock: LockConnection
    deadline: float
    on_event: Callable[[MigrationEvent], None]
    pids: list[int]
    places: list[str]
    done: list[tuple[str, float]]
    running: str | None = None

    def rows(self) -> tuple[str, ...] | None:
        return version_table.read_rows(self.tree, self.lock)

    def rows_if_any(self) -> tuple[str, ...] | None:
        """Return the rows for an error that is being told: a server that is gone must not hide it."""
        with suppress(UnavailableError):
            return self.rows() or ()
        return None


def migrate(
    tree: Migrations,
    files: tuple[Graph, Location],
    endpoint: Endpoint,
    effect: Migrate,
    on_event: Callable[[MigrationEvent], None],
    child: Child | None = None,
) -> Migrated:
    """Perform one :class:`~provision.model.Migrate`; ``child`` is one that was started early, and is used up.

    Raises:
        LockedError: somebody else was migrating all the time.
        MigrationsError: the database is at a revision that the tree does not have.
        StepFailedError: the interpreter, env.py or a revision failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    graph, location = files
    deadline = time.monotonic() + tree.timeout
    try:
        with closing(LockConnection(endpoint)) as lock:
            lock.acquire(deadline, lambda holder: on_event(MigrationEvent("waiting", holder)))
            run = _Run(tree, graph, endpoint, lock, deadline, on_event, [], [], [])
            before = run.rows() or ()
            names, expected = _work(graph, before, effect)
            if not names:
                on_event(MigrationEvent("nothing"))
                return Migrated(before, before, ())
            child = child or Child.start(tree, location)
            _serve(run, child, _request(run, location, effect, before, names))
            after = run.rows()
            if (after or ()) != expected:
                table = version_table.table_name(tree)
                raise alembic_errors.elsewhere(table, expected, after, run.places)
            return Migrated(before, expected, tuple(run.done))
    finally:
        if child is not None:
            child.__exit__()


def _work(graph: Graph, rows: tuple[str, ...], effect: Migrate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the revisions to run from where the database really is, and the rows that must be there afterwards."""
    unknown = graph.unknown(rows)
    if unknown:
        raise MigrationsError(
            f"the database is at revision {', '.join(unknown)}, which this checkout does not have",
            next_step="switch to the branch that has it",
        )
    if effect.direction == "upgrade":
        return graph.pending(rows, effect.target), graph.version_rows([*rows, *effect.target])
    names = graph.downgrades(rows, effect.target)
    return names, graph.version_rows(graph.ancestors(rows) - set(names))


def _request(
    run: _Run, location: Location, effect: Migrate, rows: tuple[str, ...], names: tuple[str, ...]
) -> dict[str, Any]:
    tree, endpoint = run.tree, run.endpoint
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "user": endpoint.user,
        "password": endpoint.password.reveal(),
        "database": endpoint.database,
        "tls": tls(endpoint),
        "url_driver": None,
        "config": str(tree.config) if tree.config else None,
        "script_location": str(location.script),
        "cwd": str(location.cwd),
        "version_table": tree.version_table,
        "version_table_schema": tree.version_table_schema,
        "direction": effect.direction,
        "target": list(effect.target),
        "revisions": list(names),
        "rows": list(rows),
        "lock": {"pid": run.lock.pid, "classid": CLASS_ID, "objid": OBJECT_ID},
    }


def _serve(run: _Run, child: Child, request: dict[str, Any]) -> None:
    """Have the child run the request to its end; whatever goes wrong, it and its statements are over afterwards."""
    try:
        failure, finished = _listen(run, child, request)
    except OutOfTimeError:
        _cancel(run, child)
        raise alembic_errors.out_of_time(run.tree, run.running, run.graph, run.rows_if_any()) from None
    except BaseException:
        _cancel(run, child)
        raise
    status = child.close(now=False)
    if failure is not None:
        raise alembic_errors.failed(failure, run.tree, run.graph, child.python, run.rows_if_any())
    if not finished:
        _cancel(run, child)
        printed = alembic_errors.masked(child.printed(), run.endpoint.password)
        raise alembic_errors.died(status, printed, run.graph, run.rows_if_any())


def _listen(run: _Run, child: Child, request: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """Return the error that the child reported, if any, and whether it came to its end."""
    for event in child.events(run.deadline):
        match event["event"]:
            case "ready":
                child.ask(request)
            case "connected":
                run.pids.append(event["pid"])
                run.places.append(f"database {event['database']} (version table {event['table']})")
            case "revision-start":
                run.running = event["revision"]
                run.on_event(MigrationEvent("started", event["revision"], event["message"]))
            case "revision-done":
                run.running = None
                run.done.append((event["revision"], event["seconds"]))
                run.on_event(MigrationEvent("done", event["revision"], event["message"], event["seconds"]))
            case "finished":
                return None, True
            case "error":
                return event, False
    return None, False


def _cancel(run: _Run, child: Child) -> None:
    child.close()
    with suppress(UnavailableError):
        run.lock.end(run.pids)
