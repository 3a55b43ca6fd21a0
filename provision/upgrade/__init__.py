"""``provision upgrade``: the data of one major version becomes that of a newer one, and the old data is kept.

The stages up to the switch are a plan of their own; the switch itself is what apply does when it sees the new volume,
so an upgrade that was killed there is ended by the next apply. Before that, everything goes back to how it was.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provision import desired as desires
from provision import observe, runtimes
from provision.apply import LOCK_TIMEOUT, Run
from provision.apply.effects import Performer, told
from provision.errors import ProvisionError, RefusedError, command
from provision.model import Plan, Result
from provision.runtimes.upgrading import Old
from provision.spec.parameters import canonical_name, catalogue
from provision.system import lock
from provision.system.limits import limited
from provision.system.postgres import ReadOnlyQuery

if TYPE_CHECKING:
    from provision.model import Effect, Endpoint, Progress
    from provision.observe import World
    from provision.runtimes.upgrading import Origin, Upgrader
    from provision.spec.model import Spec

_DATABASES = """
SELECT datname, pg_database_size(oid), datallowconn AND datconnlimit <> -2 FROM pg_database
WHERE datname <> 'template0' ORDER BY datname = 'template1' DESC, datname = 'postgres' DESC, 2
"""
_HINDRANCES = """
SELECT format('the tablespace %I is outside of the data directory; move what is in it to pg_default', spcname)
FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')
UNION ALL SELECT format('the prepared transaction %L of %I has to be committed or rolled back', gid, database)
FROM pg_prepared_xacts
UNION ALL SELECT format('the database %I accepts no connections', datname) FROM pg_database
WHERE datname <> 'template0' AND (NOT datallowconn OR datconnlimit = -2)
UNION ALL SELECT format('%I is no superuser', current_user) FROM pg_roles
WHERE rolname = current_user AND NOT rolsuper
"""


@dataclass(frozen=True)
class Found:
    """What an upgrade would do. ``is_pending`` tells that only the switch is left, which is the business of apply."""

    world: World
    plan: Plan
    undo: tuple[Effect, ...] = ()
    is_pending: bool = False
    major: int = 0


def survey(spec: Spec) -> Found:
    """Look at the environment and its old server, and plan.

    Raises:
        RefusedError: this cannot be upgraded, or not here.
        UnavailableError: the old server cannot be read.
    """
    seen, upgrader = _seen(spec)
    upgrader.check()
    major = upgrader.major
    if major == seen.spec.server.major:
        return Found(seen, Plan(()), is_pending=upgrader.is_pending, major=major)
    at = seen.site.endpoint(seen.inputs.password)
    if at is None:
        return Found(seen, Plan(upgrader.begin()), major=major)
    old = _ask(at)
    files = desires.files(upgrader.target(), replace(seen.inputs, memo=None), limited)
    upgrade_ = upgrader.upgrade(files, old, seen.inputs.password)
    return Found(seen, Plan(upgrade_.steps()), upgrade_.undo(), major=major)


def upgrade(spec: Spec, *, progress: Progress, lock_timeout: float = LOCK_TIMEOUT) -> Result:
    """Bring the data to the major version of the spec's image. A result without outcomes: there was nothing to do.

    Raises:
        ProvisionError: a stage failed; the old server has everything as it was.
    """
    started = time.monotonic()
    with lock.hold(spec.home / "lock", timeout=lock_timeout, waiting=progress.note):
        run, found = Run(progress), survey(spec)
        run.restores = False  # the old server keeps its configuration anyway
        if found.plan.is_empty and not found.is_pending:
            return Result((), time.monotonic() - started)
        if not found.plan.is_empty and not found.undo:
            with closing(Performer(found.world, progress)) as beginner:
                run.perform(found.plan, beginner)
            found = survey(spec)
        found = _prepared(run, found, spec, progress)
        performer = Performer(found.world, progress)
        try:
            if not found.is_pending:
                progress.planned(found.plan)
                _stages(run, found, performer)
            _switch(run, spec)
        finally:
            performer.close()
        return Result(tuple(run.outcomes), time.monotonic() - started, run.last.notes)


def _prepared(run: Run, found: Found, spec: Spec, progress: Progress) -> Found:
    """Have the image, and what only it can tell, before anything is made from it."""
    while found.plan.steps and found.plan.steps[0].reveals:
        first = Plan(found.plan.steps[:1])
        run.perform(first, Performer(found.world, progress))
        found = survey(spec)
    return found


def _stages(run: Run, found: Found, performer: Performer) -> None:
    try:
        run.perform(found.plan, performer)
    except BaseException as error:
        performer.close()
        for effect in found.undo:
            with suppress(ProvisionError):
                told(effect, performer)
        if isinstance(error, ProvisionError):
            error.evidence = (*error.evidence, "the old server goes on with all of its data; the copy was removed")
            error.next_step = (error.next_step or command("upgrade")).instead("apply", "upgrade")
        raise


def _switch(run: Run, spec: Spec) -> None:
    run.restores = True
    try:
        run.converge(lambda new: observe.survey(spec, new=new))
    except ProvisionError as error:
        error.evidence = (
            *error.evidence,
            "the data was copied and compared; what is left to do is the business of apply",
            "back to the old data: " + command("upgrade --rollback"),
        )
        raise


def finishing(spec: Spec) -> Plan:
    """Return what :func:`finish` would do."""
    return Plan(_seen(spec)[1].finish())


def finish(spec: Spec, *, progress: Progress) -> Result:
    """Remove the data that an upgrade has kept."""
    started = time.monotonic()
    with lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note):
        seen, upgrader = _seen(spec)
        run, plan = Run(progress), Plan(upgrader.finish())
        progress.planned(plan)
        with closing(Performer(seen, progress)) as performer:
            run.perform(plan, performer)
        return Result(tuple(run.outcomes), time.monotonic() - started)


def returning(spec: Spec) -> tuple[Plan, Origin]:
    """Return what :func:`rollback` would do, and what it goes back to."""
    _, upgrader = _seen(spec)
    return Plan(upgrader.rollback()), upgrader.origin()


def rollback(spec: Spec, *, progress: Progress) -> Result:
    """Go back to the data from before the upgrade, with the image it had."""
    started = time.monotonic()
    with lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note):
        seen, upgrader = _seen(spec)
        run, plan = Run(progress), Plan(upgrader.rollback())
        before = _before(spec, upgrader.origin())
        progress.planned(plan)
        with closing(Performer(seen, progress)) as performer:
            run.perform(plan, performer)
        run.converge(lambda new: observe.survey(before, new=new))
        return Result(tuple(run.outcomes), time.monotonic() - started, run.last.notes)


def _before(spec: Spec, origin: Origin) -> Spec:
    """Return the spec as it was for the older version, without settings that came later."""
    major = origin.major
    if major == spec.server.major:
        return spec
    known = catalogue(major)
    settings = {
        name: value
        for name, value in spec.server.settings.items()
        if "." in name or canonical_name(major, name.lower()) in known
    }
    server = replace(spec.server, image=origin.image, major=major, settings=settings, bin_dir=origin.bin_dir)
    return replace(spec, server=server)


def _seen(spec: Spec) -> tuple[World, Upgrader]:
    seen = observe.world(spec)
    return seen, runtimes.load(seen.runtime).upgrades(seen.site)


def _ask(at: Endpoint) -> Old:
    """Ask the old server what has to be copied.

    Raises:
        RefusedError: something in it stands against that.
    """
    query = ReadOnlyQuery(at)
    try:
        if hindrances := [line for (line,) in query.rows(_HINDRANCES)]:
            raise RefusedError("the old server cannot be copied as it is", evidence=hindrances)
        ((sessions,),) = query.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND application_name <> 'provision'"
        )
        ((bootstrap,),) = query.rows("SELECT rolname FROM pg_roles WHERE oid = 10")
        databases = tuple((name, int(size)) for name, size, _ in query.rows(_DATABASES))
        extensions = {
            name for each, _ in databases for (name,) in query.rows("SELECT extname FROM pg_extension", database=each)
        }
        return Old(bootstrap, databases, tuple(sorted(extensions)), int(sessions))
    finally:
        query.close()
