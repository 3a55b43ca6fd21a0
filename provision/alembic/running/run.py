"""One run of the child, from the request to its end: what it tells, who it waits for, and what its failure means."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provision.alembic.running import errors as alembic_errors
from provision.alembic.running import watch as alembic_watch
from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.lock import CLASS_ID, OBJECT_ID
from provision.alembic.running.process import Child, OutOfTimeError, secrets_of
from provision.alembic.running.standstill import SelfBlockedError, Standstill
from provision.alembic.tree import version_table
from provision.errors import ProvisionError, UnavailableError
from provision.system.postgres import tls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.alembic.running.lock import LockConnection
    from provision.alembic.running.process import Event
    from provision.alembic.tree import Graph, Location
    from provision.model import Endpoint, Secret
    from provision.model.effects import Migrate
    from provision.spec.model import Migrations

_LOOK_EVERY = 1.0
_THREADS = 2
"""Of a child: the one that runs the revisions, and the one that listens to us."""
NO_LOCK = frozenset({"55P03", "40P01"})
"""``lock_not_available`` and ``deadlock_detected``: what passes by itself."""


class NoLockError(Exception):
    """A revision got no lock and was rolled back as a whole; ``error`` is what to say when it is not tried again."""

    def __init__(self, revision: str, error: ProvisionError) -> None:
        super().__init__(revision)
        self.revision = revision
        self.error = error


def _nothing(_child: Child, _event: Event) -> None:
    """Do without what else a child has to say."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run on a scratch database asks for beyond a migration, and who is told what else the child says."""

    asks: Mapping[str, Any]
    on_event: Callable[[Child, Event], None] = _nothing


@dataclass(slots=True)
class Run:
    """One migration under way. ``pids`` are the child's sessions on the server, ``places`` what they reached.

    ``table`` is the declared version table with its schema, ``tables`` are those that ``env.py`` keeps.
    ``committed`` are statements that a revision committed by itself before its row was written.
    """

    tree: Migrations
    graph: Graph
    location: Location
    endpoint: Endpoint
    lock: LockConnection
    deadline: float
    on_event: Callable[[MigrationEvent], None]
    effect: Migrate
    before: alembic_watch.Before
    rehearsal: Rehearsal | None = None
    table: str = ""
    pids: list[int] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    committed: list[tuple[str, str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    done: list[tuple[str, float]] = field(default_factory=list)
    running: str | None = None
    waits: dict[tuple[int, int], str] = field(default_factory=dict)
    waits_for_itself: bool = False

    @property
    def _address(self) -> str:
        return f"{self.endpoint.host}:{self.endpoint.port}"

    def rows(self) -> tuple[str, ...] | None:
        """Return the rows of the version table, or None where there is none."""
        return version_table.read_rows(self.tree, self.lock)

    def truth(self) -> alembic_errors.Truth:
        """Return what is so on the server now, for an error that is being told: a lost connection must not hide it."""
        is_scratch = self.rehearsal is not None
        with suppress(UnavailableError):
            upgrade = self.effect.direction == "upgrade"
            left = alembic_watch.leftovers(self.lock, self.tree, self.before) if upgrade else ()
            rows = self.rows() or ()
            applied = self.graph.ancestors([row for row in rows if row in self.graph])
            committed = tuple([each for each in self.committed if (each[0] in applied) != upgrade])
            waits = tuple(self.waits.values())
            return alembic_errors.Truth(
                self.graph, rows, left, waits, committed=committed, server=self._address, is_scratch=is_scratch
            )
        return alembic_errors.Truth(
            self.graph, None, (), tuple(self.waits.values()), server=self._address, is_scratch=is_scratch
        )

    def fates(self) -> dict[str, str]:
        """Return what became of each revision, by what the version table holds now; nothing where it cannot be read."""
        with suppress(UnavailableError):
            applied = self.graph.ancestors(self.rows() or ())
            upgrade = self.effect.direction == "upgrade"
            done = {name for name, _ in self.effect.revisions if (name in applied) == upgrade}
            words = {True: "applied" if upgrade else "undone", False: "not reached"}
            return {
                name: "failed" if name == self.running and name not in done else words[name in done]
                for name, _ in self.effect.revisions
            }
        return {}

    @property
    def others(self) -> tuple[str, ...]:
        """The version tables that env.py keeps besides the declared one."""
        return tuple(dict.fromkeys([each for each in self.tables if each != self.table]))

    def look(self, standstill: Standstill) -> None:
        """Tell once about each session that the migration waits for.

        Raises:
            SelfBlockedError: it waits for itself.
        """
        with suppress(UnavailableError):
            waits = alembic_watch.waits(self.lock, self.pids)
            self.waits_for_itself = any(wait.is_own for wait in waits)
            standstill.check(waits)
            for wait in waits:
                key = wait.waiter, wait.blocker
                if key in self.waits:
                    continue
                who = alembic_errors.masked(wait.who, self.endpoint.password, self.tree)
                own = "this migration's own other session, which waits for it in turn, " if wait.is_own else ""
                self.waits[key] = f"waiting for {own}{who}"
                self.on_event(MigrationEvent("blocked", own + who, self.running or "env.py"))

    def self_blocked(self, wait: alembic_watch.Wait) -> ProvisionError:
        """Return the error for a migration that waits for itself; its sessions have ended."""
        told = [alembic_errors.masked(each, self.endpoint.password, self.tree) for each in (wait.statement, wait.last)]
        self.waits.clear()
        who = self.tree.command[0] if self.tree.command else "env.py"
        name = f"revision {self.graph.describe(self.running)}" if self.running else who
        return alembic_errors.self_blocked(name, (wait.waiter, told[0]), (wait.blocker, told[1]), self.truth())


def request(run: Run, rows: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what the child is asked to do."""
    direction, target = run.effect.direction, run.effect.target
    return {
        **common(run.tree, run.location, run.endpoint),
        "kind": "migrate",
        "words": [direction, (target or ("base",))[0]],
        "transaction_per_revision": run.tree.transaction_per_revision and direction != "stamp",
        "direction": direction,
        "target": list(target),
        "revisions": list(names),
        "rows": list(rows),
        "declared_table": run.table,
        "lock": {"pid": run.lock.pid, "classid": CLASS_ID, "objid": OBJECT_ID},
        **(run.rehearsal.asks if run.rehearsal else {}),
    }


def common(tree: Migrations, location: Location, endpoint: Endpoint) -> dict[str, Any]:
    """Return what every request needs that runs ``env.py``: the tree, what it is given, and the database."""
    password = endpoint.password.reveal()
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "user": endpoint.user,
        "password": password,
        "database": endpoint.database,
        "secrets": [password, *secrets_of(tree)],
        "tls": tls(endpoint),
        "prepare": tree.prepare,
        "url_driver": tree.url_driver,
        "config": str(tree.config) if tree.config else None,
        "section": tree.section,
        "script_location": None if tree.config else str(location.script),
        "env_file": str(location.env),
        "cwd": str(location.cwd),
        "options": _clear(tree.options),
        "env": _clear(tree.env),
        "x": _clear(tree.x),
        "attributes": dict(tree.attributes),
        "version_table": tree.version_table,
        "version_table_schema": tree.version_table_schema,
        "lock_timeout": tree.lock_timeout,
        "transaction_per_revision": tree.transaction_per_revision,
    }


def _clear(values: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in values.items()}


def serve(run: Run, child: Child, asked: dict[str, Any]) -> None:
    """Have the child run a request to its end; whatever goes wrong, it and its statements are over afterwards.

    Raises:
        NoLockError: the failure is worth another try.
        StepFailedError: any other.
    """
    try:
        failure, finished = _listen(run, child, asked)
    except OutOfTimeError:
        cancel(run, child)
        raise alembic_errors.out_of_time(run.tree, run.running, run.truth()) from None
    except SelfBlockedError as found:
        cancel(run, child)
        raise run.self_blocked(found.wait) from None
    except BaseException:
        cancel(run, child)
        raise
    status = child.close(now=False)
    if failure is not None:
        failure["printed"] = alembic_errors.masked(child.printed(), run.endpoint.password, run.tree)
        error = alembic_errors.failed(failure, (run.tree, run.location), child.python, run.truth())
        passes = failure["sqlstate"] in NO_LOCK and not run.waits_for_itself
        if passes and failure["clean"] and failure["stage"] == "revision":
            raise NoLockError(failure["revision"], error)
        raise error
    if not finished:
        cancel(run, child)
        printed = alembic_errors.masked(child.printed(), run.endpoint.password, run.tree)
        raise alembic_errors.died(status, printed, run.truth())


def _listen(run: Run, child: Child, asked: dict[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """Return the error that the child reported, if any, and whether it came to its end."""
    standstill = Standstill(child.pid, _THREADS)
    for event in child.events(run.deadline, every=min(_LOOK_EVERY, run.tree.lock_timeout / 2)):
        match event["event"]:
            case "ready":
                child.ask(asked)
            case "quiet":
                run.look(standstill)
            case "finished":
                return None, True
            case "error":
                return event, False
            case _:
                _hear(run, child, event)
    return None, False


def _hear(run: Run, child: Child, event: Event) -> None:
    """Note what the child says on its way."""
    match event["event"]:
        case "session" | "connected":
            run.pids.append(event["pid"])
            if event["event"] == "connected":
                run.tables.append(event["table"])
                run.places.append(f"database {event['database']} (version table {event['table']})")
        case "committed":
            run.committed.append((event["revision"], event["statement"]))
        case "revision-start":
            run.running = event["revision"]
            run.on_event(MigrationEvent("started", event["revision"], _words(run, event)))
        case "revision-done":
            run.running = None
            run.waits.clear()
            run.done.append((event["revision"], event["seconds"]))
            run.on_event(MigrationEvent("done", event["revision"], _words(run, event), event["seconds"]))
        case _ if run.rehearsal is not None:
            run.rehearsal.on_event(child, event)


def _words(run: Run, event: Event) -> str:
    """Return a revision's message, with the version table where it is not the declared one."""
    other = "" if event["table"] == run.table else f"({event['table']})"
    return "  ".join(filter(None, (event["message"], other)))


def cancel(run: Run, child: Child) -> None:
    """End the child, and its statements on the server."""
    child.close()
    with suppress(UnavailableError):
        run.lock.end_all(run.pids)
