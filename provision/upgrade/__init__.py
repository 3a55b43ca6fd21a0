"""``provision upgrade``: the data of one major version becomes that of a newer one, and the old data is kept.

The stages up to the switch are a plan of their own; the switch itself is what apply does when it sees the new place of
the data, so the next apply ends an upgrade that was killed there. Before that, a failure brings everything back.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from enum import Enum
from functools import partial
from typing import Any

from provision import desired as desires, observe
from provision.apply.run import Run
from provision.errors import ProvisionError, RefusedError, command
from provision.model import CLONE, OWN_DATABASES, SNAPSHOT, Effect, Plan, Progress, Result, Step
from provision.model.value import dataclass, replace
from provision.observe import outside
from provision.observe.outside import World
from provision.spec.model import Spec
from provision.spec.parameters import canonical_name, catalogue
from provision.system.limits import limited
from provision.system.read_only import ReadOnlyQuery
from provision.upgrade.copying import DATABASES
from provision.upgrade.stages import Origin, Source, Upgrader

_STAYING = """
SELECT count(*) FILTER (WHERE starts_with(datname, %s)), count(*) FILTER (WHERE starts_with(datname, %s))
FROM pg_database
"""
_HINDRANCES = f"""
SELECT format('the tablespace %I is outside of the data directory; move what is in it to pg_default', spcname)
FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')
UNION ALL SELECT format('the prepared transaction %L of %I has to be committed or rolled back', gid, database)
FROM pg_prepared_xacts
UNION ALL SELECT format('the database %I accepts no connections', datname) FROM pg_database
WHERE datname <> 'template0' AND datname !~ '^{OWN_DATABASES}' AND (NOT datallowconn OR datconnlimit = -2)
UNION ALL SELECT format('%I is no superuser', current_user) FROM pg_roles
WHERE rolname = current_user AND NOT rolsuper
"""  # noqa: S608  # from constants only


class Verb(Enum):
    """What to do, with the option that asks for it."""

    UPGRADE = ""
    FINISH = "--finish"
    ROLLBACK = "--rollback"


@dataclass(frozen=True)
class Survey:
    """What a verb would do. ``undo`` is empty where the old server has to be started first."""

    verb: Verb
    world: World
    upgrader: Upgrader[Any]
    plan: Plan
    undo: tuple[Effect, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether only the switch is left, which is the task of apply."""
        return self.verb is Verb.UPGRADE and self.plan.is_empty and self.upgrader.is_pending


def survey(spec: Spec, verb: Verb = Verb.UPGRADE) -> Survey:
    """Look at the environment and its old server, and plan.

    Raises:
        RefusedError: this cannot be upgraded, or not here.
        UnavailableError: the old server cannot be read.
    """
    world = outside.world(spec)
    upgrader = _upgrader(world)
    if verb is not Verb.UPGRADE:
        return Survey(verb, world, upgrader, Plan(upgrader.finish() if verb is Verb.FINISH else upgrader.rollback()))
    upgrader.check()
    if upgrader.major == world.spec.server.major:
        return Survey(verb, world, upgrader, Plan(()))
    if world.site.endpoint(world.inputs.password) is None:
        return Survey(verb, world, upgrader, Plan(upgrader.begin()))
    steps = _with_backups(world, upgrader.major, upgrader.steps(_ask(world, upgrader)))
    return Survey(verb, world, upgrader, Plan(steps), upgrader.undo())


def _with_backups(world: World, major: int, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the stages with the backups of the old data before the first that does not only look for more."""
    if not world.spec.backs_up:
        return steps
    from provision.backups import before

    first = next((number for number, step in enumerate(steps) if not step.reveals), len(steps))
    return (*steps[:first], *before.of_upgrade(world, major), *steps[first:])


def _upgrader(world: World) -> Upgrader[Any]:
    if not world.site.is_ours:
        raise RefusedError(
            f"the server of {world.spec.name!r} is external: provision never upgrades it",
            evidence=["`runtime: external` in the spec"],
            next_step="whoever runs the server upgrades it; then change the image in the spec",
        )
    module = importlib.import_module(f"provision.upgrade.{world.runtime}")
    found: Upgrader[Any] = module.UPGRADER(world.site)
    return found


def _ask(world: World, upgrader: Upgrader[Any]) -> Source:
    """Ask the old server what has to be copied.

    Raises:
        RefusedError: something in it cannot be copied.
    """
    password = world.inputs.password
    at = world.endpoint()
    query = ReadOnlyQuery(at)
    try:
        if hindrances := [line for (line,) in query.rows(_HINDRANCES)]:
            raise RefusedError("the old server cannot be copied as it is", evidence=hindrances)
        ((sessions,),) = query.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            " AND application_name <> 'provision'"
        )
        ((bootstrap,),) = query.rows("SELECT rolname FROM pg_roles WHERE oid = 10")
        staying = query.rows(_STAYING, (SNAPSHOT, CLONE))[0]
        databases = tuple((name, int(size)) for name, size, _ in query.rows(DATABASES))
        extensions = {
            name for each, _ in databases for (name,) in query.rows("SELECT extname FROM pg_extension", database=each)
        }
    finally:
        query.close()
    files = desires.files(upgrader.target(), replace(world.inputs, memo=None), limited)
    return Source(files, password, bootstrap, databases, tuple(sorted(extensions)), int(sessions), *staying)


def carry_out(spec: Spec, verb: Verb, *, progress: Progress) -> Result:
    """Do what :func:`survey` shows. A result without outcomes: there was nothing to do.

    Raises:
        ProvisionError: a stage failed; before the switch the old server has everything as it was.
    """
    with Run.alone(spec, progress, "upgrade") as run:
        found = survey(spec, verb)
        if verb is Verb.UPGRADE:
            with _saying_how_to_go_back(spec):
                _upgrade(run, found, spec)
        else:
            before = _before(spec, found.upgrader.origin()) if verb is Verb.ROLLBACK else None
            progress.planned(found.plan)
            _perform(run, found)
            if before is not None:
                run.converge(partial(observe.survey, before))
        return replace(run.result(), remarks=())


def _saying_how_to_go_back(spec: Spec) -> AbstractContextManager[None]:
    if not spec.backs_up:
        return nullcontext()
    from provision.backups import before

    return before.explained(spec)


def _upgrade(run: Run, found: Survey, spec: Spec) -> None:
    run.restores = False  # the old server keeps its configuration anyway
    if found.plan.is_empty and not found.is_pending:
        return
    if not found.plan.is_empty and not found.undo:
        _perform(run, found)
        found = survey(spec)
    while found.plan.steps and found.plan.steps[0].reveals:  # an image, and what only it can show
        _perform(run, replace(found, plan=Plan(found.plan.steps[:1])))
        found = survey(spec)
    if not found.is_pending:
        run.progress.planned(found.plan)
        _stages(run, found)
    run.restores = True
    try:
        run.converge(partial(observe.survey, spec))
    except ProvisionError as error:
        error.evidence = (
            *error.evidence,
            "the data was copied and compared; the next apply does what is left",
            "back to the old data: " + command("upgrade --rollback"),
        )
        raise


def _perform(run: Run, found: Survey) -> None:
    with closing(run.performer(found.world)) as performer:
        run.perform(found.plan, performer)


def _stages(run: Run, found: Survey) -> None:
    try:
        _perform(run, found)
    except BaseException as error:
        with closing(run.performer(found.world)) as performer:
            for effect in found.undo:
                with suppress(ProvisionError), performer.explained():
                    performer.perform(effect)
        if isinstance(error, ProvisionError):
            kept = "the old server keeps running with all of its data; the copy was removed"
            error.evidence = (*error.evidence, kept)
            error.next_step = (error.next_step or command("upgrade")).instead("apply", "upgrade")
        raise


def _before(spec: Spec, origin: Origin) -> Spec:
    """Return the spec as it was for the older version, without settings that came later."""
    server, major = spec.server, origin.major
    if major == server.major:
        return spec
    known = catalogue(major)
    kept = [each for each in server.settings if "." in each or canonical_name(major, each.lower()) in known]
    settings = {each: server.settings[each] for each in kept}
    server = replace(server, image=origin.image, major=major, settings=settings, bin_dir=origin.bin_dir)
    return replace(spec, server=server)
