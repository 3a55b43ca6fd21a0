"""One migration under way: what is known of it, who it waits for, and what its failure means."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from provision.alembic.running.advice import url_way
from provision.alembic.running.events import MigrationEvent, Truth
from provision.alembic.running.leftovers import NOT_SEEN, Before, leftovers
from provision.alembic.running.process import Child, masked
from provision.alembic.running.waits import Standstill, Wait, waits_of
from provision.alembic.tree.graph import Graph, unread_places
from provision.alembic.tree.version_table import read_rows
from provision.errors import ProvisionError, StepFailedError, UnavailableError
from provision.model.value import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.alembic.child import protocol
    from provision.alembic.running.lock import LockConnection
    from provision.alembic.tree.location import Location
    from provision.model import Endpoint
    from provision.model.effects import Migrate
    from provision.spec.model import Migrations

    OnEvent = Callable[[MigrationEvent], None]


@dataclass(frozen=True)
class Rehearsal:
    """What a run on a scratch database asks for beyond a migration, and who hears what else the child reports."""

    asks: protocol.Rehearsal
    on_event: Callable[[Child, protocol.Event], None] = lambda _child, _event: None


@dataclass
class Run:
    """One migration under way. ``pids`` are the child's sessions on the server, ``places`` what they reached.

    ``table`` is the declared version table with its schema, ``tables`` are those that ``env.py`` keeps.
    ``committed`` are statements that a revision committed by itself before its row was written. ``read`` is what the
    code has read, known only where the first of the ``attempts`` did not fail. ``first`` are the rows before them.
    ``children`` sees every process ended that was started for it.
    """

    tree: Migrations
    graph: Graph
    location: Location
    endpoint: Endpoint
    lock: LockConnection
    deadline: float
    on_event: OnEvent
    effect: Migrate
    children: ExitStack
    rehearsal: Rehearsal | None = None
    before: Before = NOT_SEEN
    table: str = ""
    pids: list[int] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    committed: list[tuple[str, str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    done: list[tuple[str, float]] = field(default_factory=list)
    running: str | None = None
    waits: dict[tuple[int, int], str] = field(default_factory=dict)
    waits_for_itself: bool = False
    attempts: int = 0
    first: tuple[str, ...] = ()
    read: protocol.Read | None = None

    def rows(self) -> tuple[str, ...] | None:
        """Return the rows of the version table, or None where there is none."""
        return read_rows(self.tree, self.lock)

    def masked(self, text: str) -> str:
        """Return a text without secrets."""
        return masked(text, self.endpoint.password, self.tree)

    def truth(self) -> Truth:
        """Return what is so on the server now, for an error: a lost connection must not hide that error."""
        waits, is_scratch = tuple(self.waits.values()), self.rehearsal is not None
        at, database = self.endpoint.address, self.database
        with suppress(UnavailableError):
            upgrade = self.effect.direction == "upgrade"
            left = leftovers(self.lock, self.tree, self.before) if upgrade else ()
            rows = self.rows() or ()
            applied = self.graph.ancestors([row for row in rows if row in self.graph])
            committed = tuple([each for each in self.committed if (each[0] in applied) != upgrade])
            return Truth(
                self.graph, rows, left, waits, committed=committed, server=at, database=database, is_scratch=is_scratch
            )
        return Truth(self.graph, None, (), waits, server=at, database=database, is_scratch=is_scratch)

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
    def database(self) -> str:
        """The declared database, also where a scratch one is migrated."""
        return self.tree.database or self.endpoint.database

    @property
    def others(self) -> tuple[str, ...]:
        """The version tables that env.py keeps besides the declared one."""
        return tuple(dict.fromkeys([each for each in self.tables if each != self.table]))

    def look(self, standstill: Standstill) -> None:
        """Report each session that the migration waits for, once.

        Raises:
            SelfBlockedError: it waits for itself.
            UnavailableError: the server went away, and it is one that others run.
        """
        try:
            found = waits_of(self.lock, self.pids)
        except UnavailableError as error:
            if error.server_is_gone and not self.endpoint.is_ours:
                raise  # a host that is switched off does not end the session of the migration
            return
        # A look after the statement's own time limit finds no wait any more.
        self.waits_for_itself |= any(wait.is_own for wait in found)
        standstill.check(found)
        for wait in found:
            key = wait.waiter, wait.blocker
            if key not in self.waits:
                own = "this migration's own other session, which waits for it in turn, " if wait.is_own else ""
                who = own + self.masked(wait.who)
                self.waits[key] = f"waiting for {who}"
                self.on_event(MigrationEvent("blocked", who, self.running or "env.py"))

    def self_blocked(self, wait: Wait) -> ProvisionError:
        """Return the error for a migration that waits for itself; its sessions have ended."""
        self.waits.clear()
        who = self.tree.command[0] if self.tree.command else "env.py"
        name = f"revision {self.graph.describe(self.running)}" if self.running else who
        return StepFailedError(
            f"{name} was ended: it waits for a lock that it holds itself",
            evidence=[
                f"its session with pid {wait.waiter} waits: {self.masked(wait.statement)}",
                f"its session with pid {wait.blocker} holds the lock, and is idle after: {self.masked(wait.last)}",
                *self.truth().lines,
            ],
            next_step="run both statements on one connection, op.get_bind(), "
            "or commit the first before the second begins",
        )

    def elsewhere(self, table: str, expected: Sequence[str], found: Sequence[str] | None) -> ProvisionError:
        """Return the error for a migration that ended well and left a version table as it should not be."""
        tree, command = self.tree, self.tree.command
        places, way = unread_places(self.graph.unread if self.graph.unknown(found or ()) else ())
        if command and tree.target not in {"head", "heads"} and not any("{target}" in each for each in command):
            way = way or "write `{target}` as the argument of the program that says how far to go"
        return StepFailedError(
            f"{command[0] if command else 'env.py'} ended without an error, but {table} does not hold what it should",
            evidence=(
                f"expected: {', '.join(expected) or 'no rows'}",
                "found: " + ("no such table" if found is None else ", ".join(found) or "no rows"),
                *(f"env.py connected to {each}" for each in self.places),
                *(() if self.places or command else ("env.py made no connection that migrations ran on",)),
                *places,
            ),
            next_step=way
            or f"{url_way(tree, self.location)}; "
            "if it names its own version table, write `version_table` into the spec",
        )
