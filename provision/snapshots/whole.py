"""Snapshots of the whole cluster: stopped, copied, started; what a runtime does for that is in a module of its own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

from provision import observe
from provision.errors import RefusedError, UnavailableError, UsageError, command
from provision.model import Action, Address, Effect, Plan, Step
from provision.model.value import replace
from provision.model.words import size
from provision.observe.outside import World
from provision.snapshots.kept import by, check_room, moment, now, said, written
from provision.snapshots.requests import Request, Verb
from provision.snapshots.steps import at, check_name, near
from provision.spec.model import Ephemeral

_CLIENTS = """
SELECT count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'provision'
"""
_STOPPED = "the server is away while it is stopped and started"
_LIST = command("snapshot list --all")
_KEPT = "what it replaces is kept until the next restore: " + command("snapshot undo --all")


class KeptCluster(NamedTuple):
    """A data directory that is kept: the name of the snapshot or the verb that has replaced it, since when (ISO 8601).

    ``revisions`` are the rows of each tree, ``size`` is in bytes; both are what was known when it was saved. ``place``
    is the directory or the volume.
    """

    name: str
    at: str
    revisions: Mapping[str, Sequence[str]]
    major: int
    size: int
    place: str = ""

    @property
    def moment(self) -> str:
        """Since when it is kept, as people read it."""
        return moment(self.at)

    def text(self) -> str:
        """Return the text that says all of this."""
        return written(self._asdict(), but="place")


class Clusters(Protocol):
    """The clusters of one environment, as they were seen once."""

    major: int
    size: int
    """Of the data in use, in bytes."""
    kept: tuple[KeptCluster, ...]
    """The newest first."""
    replaced: KeptCluster | None
    copies_twice: bool = False
    """Whether a restore and an undo copy both data while the server is stopped."""

    is_half_done: bool = False
    """Whether the data is being replaced."""

    def check(self) -> None:
        """Refuse what cannot be copied or exchanged here."""

    def free(self) -> int | None:
        """Return the bytes that are free for copies, or None where copies take no room, or nothing is known."""

    def saving(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Return what copies the data of a server that is stopped."""

    def restoring(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
        """Return what is done while the server still runs, and what when it is stopped."""

    def undoing(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[Effect, ...]:
        """Return what puts back what was replaced, while the server is stopped."""

    def removing(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Return what removes a snapshot."""

    def stopping(self) -> tuple[Effect, ...]:
        """Return what stops the server that runs."""

    def starting(self) -> tuple[Effect, ...]:
        """Return what starts it again."""


def read(text: str | None, place: str) -> KeptCluster | None:
    """Return what a text says; None where it says nothing that we know."""
    return said(KeptCluster, text, place=place)


def clusters(world: World) -> Clusters:
    """Look at what is kept of an environment's cluster."""
    module = importlib.import_module(f"provision.snapshots.whole_{world.runtime}")
    found: Clusters = module.CLUSTERS(world)
    return found


def listing(world: World) -> tuple[tuple[KeptCluster, ...], tuple[KeptCluster, ...]]:
    """Return the snapshots of the cluster, and what the last restore has replaced."""
    if world.site.is_fresh or isinstance(world.spec.server.data, Ephemeral):
        return (), ()
    found = clusters(world)
    return found.kept, (found.replaced,) if found.replaced else ()


def survey(world: World, request: Request) -> tuple[Plan, int]:
    """Return what a request would do, and how many bytes it copies.

    Raises:
        RefusedError: it cannot be done here, or there is no room.
        UsageError: there is no such snapshot.
    """
    _check(world, request)
    found = clusters(world)
    planner = _Planner(world, found)
    match request.verb:
        case Verb.SAVE:
            steps, copies = planner.save(request.name), found.size
        case Verb.RESTORE:
            kept = planner.named(request.name)
            steps, copies = planner.restore(kept), found.size if found.copies_twice else kept.size
        case Verb.UNDO:
            steps, copies = planner.undo(), found.size if found.copies_twice else 0
        case _:
            steps, copies = planner.remove(planner.named(request.name)), 0
    check_room(copies, found.free() if copies else None)
    return Plan((*world.site.leftovers(), *steps)), copies


def starting_again(world: World) -> tuple[Effect, ...]:
    """Return what starts the server that was stopped for a copy."""
    return clusters(world).starting() if _runs(world) else ()


def is_half_done(world: World) -> bool:
    """Whether data is being replaced, which only the next apply may end."""
    return clusters(world).is_half_done


def _check(world: World, request: Request) -> None:
    if request.database is not None:
        raise UsageError("--all is about the whole cluster, and --database about a part of it; leave one out")
    if isinstance(world.spec.server.data, Ephemeral):
        raise RefusedError(
            "the whole cluster is not copied where its data is ephemeral: it goes away when the server stops for that",
            next_step=command("snapshot save NAME") + "   (without --all: the databases, inside the server)",
        )
    if world.site.is_fresh:
        raise UnavailableError(f"there is no data of {world.spec.name!r} yet", next_step=command("apply"))


def _runs(world: World) -> bool:
    return world.site.status.server == "running"


class _Planner:
    """Makes the plans of one moment."""

    def __init__(self, world: World, found: Clusters) -> None:
        self.world, self.found = world, found
        self._runs = _runs(world)
        self._server = Address("container" if world.site.container_name else "process", world.spec.name)

    def save(self, name: str) -> tuple[Step, ...]:
        check_name(name)
        if taken := next((each for each in self.found.kept if each.name == name), None):
            raise RefusedError(
                f"there is a snapshot {name!r} of the cluster, saved {taken.moment}",
                next_step=command(f"snapshot rm {name} --all") + "   (or save it under another name)",
            )
        self.found.check()
        kept = self._now(name)
        text = f"the server is stopped while {_much(kept.size)} copied"
        copying = self._step(Address("snapshot", name), Action.CREATE, self.found.saving(kept), _what(kept))
        return self._around((copying,), text)

    def restore(self, kept: KeptCluster) -> tuple[Step, ...]:
        if kept.major != self.found.major:
            raise RefusedError(
                f"the snapshot {kept.name!r} is of PostgreSQL {kept.major}, and the data of {self.found.major}",
                next_step=_LIST + f"   (what there is; or {command('upgrade --rollback')} first)",
            )
        self.found.check()
        before, while_stopped = self.found.restoring(kept, self._now("restore"))
        copying = (self._step(Address("copy", kept.name), Action.CREATE, before, _what(kept)),) if before else ()
        away = _STOPPED if before else self._copied(kept)
        why = f"as it was saved {kept.moment}{at(kept.revisions)}"
        swap = self._step(Address("data", self.world.spec.name), Action.UPDATE, while_stopped, why, _KEPT)
        return (*copying, *self._around((swap,), away))

    def undo(self) -> tuple[Step, ...]:
        kept = self.found.replaced
        if kept is None:
            raise RefusedError(
                "nothing is kept that a restore of the whole cluster has replaced",
                next_step=_LIST + "   (what there is)",
            )
        self.found.check()
        effects = self.found.undoing(kept, self._now("undo"))
        why = f"as {by(kept.name)} has replaced it {kept.moment}{at(kept.revisions)}"
        swap = self._step(Address("data", self.world.spec.name), Action.UPDATE, effects, why, _KEPT)
        return self._around((swap,), self._copied(kept) if self.found.copies_twice else _STOPPED)

    def _copied(self, kept: KeptCluster) -> str:
        both = self.found.size + kept.size if self.found.size and kept.size else 0
        return f"the server is away while {_much(both)} copied: the data to a place beside it, and the other one back"

    def remove(self, kept: KeptCluster) -> tuple[Step, ...]:
        why = f"saved {kept.moment}{at(kept.revisions)}, {size(kept.size)}"
        removal = self._step(Address("snapshot", kept.name), Action.REMOVE, self.found.removing(kept), why)
        return (replace(removal, destroys=True),)

    def named(self, name: str) -> KeptCluster:
        """Return the snapshot of a name.

        Raises:
            UsageError: there is none.
        """
        found = next((each for each in self.found.kept if each.name == name), None)
        if found is None:
            raise near(name, [each.name for each in self.found.kept], _LIST)
        return found

    def _around(self, steps: tuple[Step, ...], text: str) -> tuple[Step, ...]:
        """Return steps between a stop and a start of a server that runs."""
        if not self._runs:
            return steps
        before = self.world.site.status
        stop = Step(
            self._server, Action.STOP, None, None, self.found.stopping(),
            ("no server may run on data that is copied or replaced",), text, clients=self._clients(),
        )  # fmt: skip
        start = Step(self._server, Action.START, None, None, self.found.starting(), (f"it was {before.server}",))
        return (stop, *steps, start)

    def _step(self, at: Address, action: Action, effects: tuple[Effect, ...], why: str, text: str = "") -> Step:
        return Step(at, action, None, None, effects, (why,), text)

    def _now(self, name: str) -> KeptCluster:
        """Return what is known of the data in use."""
        revisions: dict[str, Any] = {}
        if self._runs:
            revisions = {tree: list(rows) for tree, rows in observe.overview(self.world.spec).status.revisions.items()}
        return KeptCluster(name, now(), revisions, self.found.major, self.found.size)

    def _clients(self) -> int:
        from provision.system.postgres import LoginError
        from provision.system.read_only import ReadOnlyQuery

        try:
            with closing(ReadOnlyQuery(self.world.endpoint(), named=True)) as query:
                ((number,),) = query.rows(_CLIENTS)
                return int(number)
        except LoginError:
            return 0


def _much(number: int) -> str:
    return f"{size(number)} are" if number else "it is"


def _what(kept: KeptCluster) -> str:
    return (
        f"{size(kept.size)} of " if kept.size else ""
    ) + f"PostgreSQL {kept.major}, all databases and roles{at(kept.revisions)}"
