"""Snapshots of the databases of an environment: saved, restored, reset, and what was replaced put back.

All of it stays inside the server. A restore makes a copy beside the database, and two names change in one transaction:
a run that is killed at any moment leaves a database of the right name, with all of its rows. What it has copied, and
not used yet, is removed by the next run, also by an apply.
"""

from __future__ import annotations

from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from provision import observe
from provision.apply.run import Run
from provision.errors import AGAIN, ProvisionError, RefusedError, UnavailableError, UsageError, command
from provision.model import Plan, Progress, Result
from provision.model.effects import CopyDatabase
from provision.model.words import short
from provision.observe import Survey, outside
from provision.snapshots import whole
from provision.snapshots.kept import Kept, Server, ask, check_room
from provision.snapshots.requests import Request, Verb
from provision.snapshots.steps import Planner, automatic_name, chosen, declared
from provision.system import database_copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.alembic import Destroying
    from provision.apply.effects import Performer
    from provision.observe.outside import World
    from provision.snapshots.whole import KeptCluster
    from provision.spec.model import Spec

__all__ = ["Listing", "Look", "Request", "Verb", "carry_out", "listing", "ours", "save_before", "server_of", "survey"]
_LONGEST = 80


class Look(NamedTuple):
    """What a request would do; ``copies`` is how many bytes are copied."""

    world: World
    plan: Plan
    copies: int


class Listing(NamedTuple):
    """The snapshots, and what a restore or a reset has replaced; the newest first.

    ``clusters`` and ``replaced_clusters`` are those of all databases together.
    """

    snapshots: tuple[Kept, ...]
    replaced: tuple[Kept, ...]
    clusters: tuple[KeptCluster, ...] = ()
    replaced_clusters: tuple[KeptCluster, ...] = ()


def listing(spec: Spec, database: str | None = None, *, is_whole: bool = False) -> Listing:
    """Return what is kept of an environment's databases, and of its cluster; with ``is_whole``, of that alone.

    Raises:
        RefusedError: the server is one that others run.
        UnavailableError: it does not run.
    """
    names = chosen(spec, database)
    world = ours(spec)
    clusters = whole.listing(world) if database is None else ((), ())
    if is_whole:
        return Listing((), (), *clusters)
    found = server_of(world, names)
    wanted = [[each for each in kept if each.database in names] for kept in (found.snapshots, found.replaced)]
    return Listing(tuple(wanted[0]), tuple(wanted[1]), *clusters)


def survey(spec: Spec, request: Request) -> Look:
    """Look at an environment, and plan.

    Raises:
        RefusedError: this cannot be done here, or there is no room for a copy.
        UnavailableError: the server does not run.
        UsageError: there is no such snapshot, or database.
    """
    names = chosen(spec, request.database)
    world = ours(spec)
    if request.is_whole:
        return Look(world, *whole.survey(world, request))
    server = server_of(world, declared(spec))
    mine = {each.name for each in server.snapshots}
    is_sought = request.verb in (Verb.RESTORE, Verb.REMOVE) and request.name not in mine
    if is_sought and request.name in [each.name for each in whole.listing(world)[0]]:
        raise UsageError(
            f"the snapshot {request.name!r} is one of all databases together",
            next_step=command(f"snapshot {request.verb.value} {request.name} --all"),
        )
    planner = Planner(spec, server, observe.overview(spec).status.revisions)
    match request.verb:
        case Verb.SAVE:
            plan = planner.save(names, request.name, automatic=request.is_automatic)
        case Verb.RESTORE:
            plan = planner.restore(names, request.name)
        case Verb.UNDO:
            plan = planner.undo(names)
        case Verb.RESET:
            plan = planner.reset(names)
        case Verb.REMOVE:
            plan = planner.remove(names, request.name)
    return Look(world, plan, _check_room(server, plan))


def carry_out(spec: Spec, request: Request, *, progress: Progress) -> Result:
    """Do what :func:`survey` shows; after a reset, also what an apply does. The notes name the sessions that it ended.

    Raises:
        ProvisionError: a step failed. Every database has its name, and its rows.
        LockedError: another run holds the environment.
    """
    with Run.alone(spec, progress, request.verb.value) as run:
        found = survey(spec, request)
        progress.planned(found.plan)
        with closing(run.performer(found.world)) as performer:
            performer.prepare(found.plan)
            if request.is_whole:
                _whole(run, found, performer)
            else:
                run.perform(found.plan, performer)
        if request.verb is Verb.RESET:
            _make(run, spec)
        elif request.verb in (Verb.RESTORE, Verb.UNDO):
            with suppress(ProvisionError):  # it is done, whatever becomes of the server
                run.note(spec, outside.world(spec).endpoint())
        return run.result(*(f"ended: {each}" for each in performer.ended))


def save_before(seen: Survey, revisions: Sequence[Destroying], *, progress: Progress) -> Result:
    """Save the databases in which revisions are about to destroy data, each under the name of the first of these.

    Raises:
        UnavailableError: there is data, and the server does not run, so that nothing can be saved.
        ProvisionError: as in :func:`carry_out`.
    """
    spec, world = seen.spec, seen.world
    first = {each.database: each for each in reversed(revisions)}
    if not spec.migrations or world.site.is_fresh:
        return Result((), 0.0)
    if seen.endpoint is None:
        raise world.not_running("`--snapshot` saves the data before revisions that destroy some of it")
    _refuse_tenants(spec, revisions)
    done: list[Result] = []
    for database, each in first.items():
        name = automatic_name(each.revision)
        progress.note(f"saving {database} first, because {each.revision} destroys data: {short(each.why, _LONGEST)}")
        done.append(carry_out(spec, Request(Verb.SAVE, name, database, is_automatic=True), progress=progress))
    outcomes = tuple([outcome for each in done for outcome in each.outcomes])
    return Result(outcomes, 0.0, tuple([note for each in done for note in each.notes]))


def _refuse_tenants(spec: Spec, revisions: Sequence[Destroying]) -> None:
    """Refuse to save the databases of tenants, of which there may be hundreds.

    Raises:
        RefusedError: a revision destroys data in them.
    """
    trees = {each.name for each in spec.migrations if each.tenants is not None and each.tenants.kind == "databases"}
    for each in revisions:
        if each.tree in trees:
            raise RefusedError(
                "`--snapshot` saves no databases of tenants, and a revision destroys data in them",
                evidence=[f"migrations/{each.tree}, revision {each.revision}: {short(each.why, _LONGEST)}"],
                next_step="back them up by yourself, then: " + command("apply"),
            )


def _whole(run: Run, found: Look, performer: Performer) -> None:
    """Perform what stops the server; whatever comes between, it is started again, unless its data is half replaced."""
    again = whole.starting_again(found.world)
    run.restores = False  # the configuration is not what has changed
    try:
        run.perform(found.plan, performer)
    except BaseException as error:
        with suppress(ProvisionError):
            if whole.is_half_done(outside.world(found.world.spec)):
                again, said = (), getattr(error, "evidence", ())
                # A Ctrl-C has neither by itself, and is reported with both.
                error.evidence = (*said, "the data is half replaced; no row is lost, and apply ends it")  # type: ignore[attr-defined]
                error.next_step = command("apply")  # type: ignore[attr-defined]
        for effect in again:
            with suppress(ProvisionError), performer.explained():
                performer.perform(effect)
        raise


def _make(run: Run, spec: Spec) -> None:
    """Make what is declared in databases that are empty."""
    try:
        run.converge(partial(observe.survey, spec))
    except ProvisionError as error:
        kept = "the database that the reset has replaced is kept: provision snapshot undo puts it back"
        error.evidence = (*error.evidence, kept)
        if error.next_step is not None:  # another reset would remove what was kept
            error.next_step = error.next_step.replaced(AGAIN, "run " + command("apply"))
        raise


def ours(spec: Spec) -> World:
    """Return an environment whose databases may be replaced.

    Raises:
        RefusedError: its server is one that others run.
    """
    found = outside.world(spec)
    if not found.site.is_ours:
        raise RefusedError(
            f"the server of {spec.name!r} is external: provision neither copies nor replaces databases there",
            evidence=["`runtime: external` in the spec"],
            next_step=command("backup make") + "   # a dump in a file, which others can restore",
        )
    return found


def server_of(world: World, names: tuple[str, ...]) -> Server:
    """Ask the server for its databases.

    Raises:
        UnavailableError: it does not run, or there is no data yet.
    """
    if world.site.is_fresh:
        raise UnavailableError(f"there is no data of {world.spec.name!r} yet", next_step=command("apply"))
    return ask(world.endpoint(), names)


def _check_room(server: Server, plan: Plan) -> int:
    """Return how many bytes a plan copies.

    Raises:
        RefusedError: there is no room for them.
    """
    sizes = {each.name: each.size for each in server.databases.values()}
    sizes |= {each.place: each.size for each in (*server.snapshots, *server.replaced)}
    copied = [each.source for step in plan.steps for each in step.effects if isinstance(each, CopyDatabase)]
    needed = sum(sizes.get(name, 0) for name in copied)
    check_room(needed, database_copy.free(server.at) if needed else None, "where the server keeps its data ")
    return needed
