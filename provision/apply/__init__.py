"""Plan → Result: the only place where effects happen.

A run observes, plans and acts until nothing is left to do. Steps that reveal more (the server was started) end a round;
the next one observes again. The run ends with a look that finds nothing to do, or with an error: nothing is called done
because a command exited with 0.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Literal

from provision import observe
from provision.apply.run import LOCK_TIMEOUT, Run
from provision.apply.trial import Trial
from provision.errors import ProvisionError
from provision.model import File, Outcome, Plan, Progress, Result, Step
from provision.observe import Survey, external, logins, outside
from provision.system import files as filesystem, lock, owned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provision.alembic import Migrated
    from provision.observe.logins import Choice
    from provision.observe.outside import World
    from provision.reviewed import Reviewed
    from provision.spec.model import Spec

    Adding = Callable[[Survey, Sequence[Outcome]], Survey]

Move = Literal["start", "stop", "restart"]
_CURRENT = 10.0
"""How old a look may be that is acted on, in seconds."""


def converge(
    first: Survey,
    *,
    progress: Progress,
    lock_timeout: float = LOCK_TIMEOUT,
    reviewed: Reviewed | None = None,
    adding: Adding = lambda seen, _: seen,
) -> Result:
    """Bring the world to what the spec of a first survey says; with a ``reviewed`` plan, by nothing but its steps.

    The survey counts where no other run held the environment since it began; else everything is looked at again.
    ``adding`` completes each later one, by what the run has done so far.

    Raises:
        ProvisionError: a step failed, was refused, or the world does not converge.
        LockedError: another run holds the environment for longer than ``lock_timeout`` seconds.
    """
    started = time.monotonic()
    spec, began = first.spec, first.world.look.began
    run = Run(progress, lock_timeout=lock_timeout, trial=Trial(first.wishes))
    run.reviewed = reviewed

    def look(*, lacks_database: bool | None) -> Survey:
        seen = observe.survey(spec, runtime=first.runtime, wishes=run.trial.wishes, lacks_database=lacks_database)
        return adding(run.trial.offered(seen), run.outcomes)

    if not first.world.site.is_ours:
        external.insist(first.world)
    with closing(run.performer(first.world)) as performer:
        performer.start_children(first.plan)  # they load while the lock is taken
        with lock.hold(spec.home / "lock", timeout=lock_timeout, waiting=progress.note, since=began) as is_calm:
            # Somebody may have thought about an older look before this run went on.
            is_current = is_calm and time.time() - began < _CURRENT
            run.converge(look, performer, first if is_current else None)
            if first.wishes.golden and not run.trial.has_begun_seeds:
                run.save_golden(spec)
        last, taken = run.last, time.monotonic() - started
        remarks = (*run.said, *last.remarks)
        return Result(tuple(run.outcomes), taken, last.notes, remarks, run.endpoint, run.trial.begun, performer.reads)


def move(spec: Spec, verb: Move, *, progress: Progress) -> Result:
    """Start the environment's server as it was made before, stop it and keep everything, or both."""
    return _lifecycle(spec, lambda world: getattr(world.site, verb)(), progress)


def destruction(spec: Spec, *, data: bool) -> Plan:
    """Return what :func:`destroy` would do."""
    return Plan(outside.world(spec).site.destroy(data=data))


def destroy(
    spec: Spec, *, data: bool, progress: Progress, first: Callable[[World], Sequence[Step]] = lambda _: ()
) -> Result:
    """Remove the environment's server; its data, and what was rendered, only with ``data``. ``first`` comes before."""

    def steps(world: World) -> Sequence[Step]:
        own = world.site.destroy(data=data)
        return (*first(world), *own) if own else ()

    return _lifecycle(spec, steps, progress)


def _lifecycle(spec: Spec, steps: Callable[[World], Sequence[Step]], progress: Progress) -> Result:
    from provision.golden import saving

    started = time.monotonic()
    if not steps(outside.world(spec)):
        return Result((), time.monotonic() - started)
    with Run.alone(spec, progress) as run:
        world = outside.world(spec)
        run.carry_out(world, Plan(saving.with_saving(world, steps(world))))
        return run.result()


def carry(spec: Spec, plan: Plan, *, progress: Progress) -> Migrated | None:
    """Carry out a plan of migrations alone; nothing of the server is touched. None: there was nothing to migrate.

    Raises:
        ProvisionError: a step failed.
        LockedError: another run holds the environment.
    """
    with Run.alone(spec, progress, "migrate") as run:
        world = outside.world(spec)
        if not world.site.is_ours:
            external.insist(world)
        with closing(run.performer(world)) as performer:
            try:
                progress.planned(plan)
                performer.prepare(plan)
                run.perform(plan, performer)
                run.note(spec, world.endpoint())
            except ProvisionError as error:
                with suppress(ProvisionError):
                    run.note(spec, world.endpoint(), error)
                raise
        return performer.migrated


def write(home: Path, rendered: Sequence[File]) -> tuple[Path, ...]:
    """Write files that differ from what is there; return the paths of those.

    Raises:
        RefusedError: another user has put something into ``home``.
    """
    owned.keep(home)
    changed = []
    for each in rendered:
        text = each.content if isinstance(each.content, str) else each.content.reveal()
        if owned.text(each.path) != text or filesystem.mode_of(each.path) != each.mode:
            filesystem.write_atomically(each.path, text, each.mode)
            changed.append(each.path)
    return tuple(changed)


def psql(spec: Spec, arguments: Sequence[str], choice: Choice) -> int:
    """Run psql on a database and return its exit code.

    Raises:
        UnavailableError: no server runs, or it refuses the login.
        UsageError: the spec has no such database, or no such role that logs in.
        ProvisionError: there is no psql, or the password is not known.
    """
    from provision.system import psql as programs
    from provision.system.login_errors import diagnosed, of_role
    from provision.system.postgres import Login, LoginError, log_in
    from provision.system.read_only import ReadOnlyQuery

    seen = outside.world(spec)
    site = seen.site
    at = logins.chosen(seen, choice)
    try:
        log_in(at)  # in a container, psql would need no password
    except LoginError as error:
        if error.login is Login.REFUSED:
            if at.user == spec.server.user:
                raise diagnosed(error, at) from error
            with closing(ReadOnlyQuery(seen.endpoint())) as query:
                raise of_role(error, at, query) from error
    engine = seen.look.reader if site.container_name is not None else None
    major = seen.spec.server.major
    return programs.run(at, major, arguments, container=site.container_name, programs=site.programs, engine=engine)
