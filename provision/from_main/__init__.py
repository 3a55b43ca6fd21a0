"""``apply --from main``: a new environment in a worktree begins with the data of the main checkout's.

Where the server of the main checkout runs, its databases and roles are dumped into the new one, with the programs that
an upgrade uses; where it is stopped, its data is copied. Apply then goes on as it does with any data: it sets the
passwords that this checkout declares, and runs what revisions are pending. Until the copy is whole a file says so, so
that nothing goes on with a part of it.
"""

from __future__ import annotations

import importlib
import time
from contextlib import ExitStack, closing, suppress
from typing import Protocol

from provision import observe
from provision.apply.effects import Performer
from provision.apply.run import LOCK_TIMEOUT, Run
from provision.errors import ProvisionError, RacedError, RefusedError, command
from provision.kinds import server, settings, table
from provision.model import Action, Address, Endpoint, Plan, Progress, Result, Step, Wishes, words
from provision.model.value import replace
from provision.observe import outside
from provision.observe.outside import World
from provision.runtimes.names import COPYING
from provision.spec.model import Spec
from provision.system import files, lock
from provision.system.read_only import ReadOnlyQuery
from provision.upgrade.copying import DATABASES, Copying

_MOST_ROUNDS = 10
_AGAIN = command("apply --from main")
_MAJOR = 10_000
"""The factor of the major version in ``server_version_num``."""


class Copies(Protocol):
    """What the module of a runtime offers."""

    def copying(self, source: Endpoint, main: World, new: World) -> Copying:
        """Return the programs that dump the running server ``source`` of the main checkout into the new one.

        Raises:
            provision.errors.RefusedError: the new one cannot reach it.
        """

    def check(self, main: World, new: World) -> None:
        """Refuse data of a stopped server that cannot be copied, and become that of the new one.

        Raises:
            provision.errors.RefusedError: why, and what to do.
        """

    def filled(self, step: Step, main: World, new: World) -> Step:
        """Return a step of a plan for new data that takes the data of the stopped server in its place."""


def copy(spec: Spec, main: Spec, *, progress: Progress) -> Result:
    """Fill a new environment with the data of another one, and have its server run.

    Raises:
        RefusedError: it is not new, or the data of the other one cannot be copied.
        ProvisionError: a step failed; what was copied was removed.
        LockedError: another run holds one of the two environments.
    """
    started, run = time.monotonic(), Run(progress)
    source = _source(main)
    at = source.site.endpoint(source.inputs.password)
    with ExitStack() as held:
        if at is None:  # no other run starts it meanwhile
            held.enter_context(lock.hold(main.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note))
            source = _source(main)
        held.enter_context(lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note))
        if files.exists(spec.home / COPYING):
            progress.note("removing the part that an interrupted copy has left")
            _discard(spec, progress)
        _check(outside.world(spec), source, at)
        try:
            files.write_atomically(spec.home / COPYING, str(main.kept_in), 0o644)
            _start(run, spec, source, is_dumped=at is not None)
            if at is not None:
                _dump(run, spec, source, source.endpoint())
        except BaseException as error:
            with suppress(ProvisionError):
                _discard(spec, progress)
                if isinstance(error, ProvisionError):
                    error.evidence = (*error.evidence, "what was copied was removed")
            raise
        files.remove(spec.home / COPYING)
    return Result(tuple(run.outcomes), time.monotonic() - started)


def _source(main: Spec) -> World:
    """Look at the environment of the main checkout.

    Raises:
        RefusedError: it has no data, or others run it.
    """
    seen = outside.world(main)
    if not seen.site.is_ours:
        raise RefusedError(
            f"the server of {main.name!r} is external, so there is no data of the main checkout's to copy",
            next_step=command("apply"),
        )
    if seen.site.is_fresh:
        raise RefusedError(
            f"the environment {main.name!r} of the main checkout has no data yet",
            evidence=[f"its spec is {main.path}"],
            next_step=command("apply") + "   (without --from), or apply the main checkout's first",
        )
    return seen


def _check(new: World, source: World, at: Endpoint | None) -> None:
    """Refuse to fill what has data, and data that does not fit.

    Raises:
        RefusedError: with the reason and a way out.
    """
    spec, main = new.spec, source.spec
    if not new.site.is_ours:
        raise RefusedError("`--from` fills a new server, and this one is external", next_step=command("apply"))
    if not new.site.is_fresh:
        raise RefusedError(
            f"the environment {spec.name!r} has data already, and `--from` fills a new one",
            next_step=command("destroy --data") + "   (if it is not needed), then: " + _AGAIN,
        )
    if at is None and (source.runtime != new.runtime or main.server.image != spec.server.image):
        raise RefusedError(
            f"the server of the main checkout is stopped, and its data fits only {main.server.image!r}"
            f" in the runtime {source.runtime!r}",
            evidence=[f"this spec has {spec.server.image!r} in the runtime {new.runtime!r}"],
            next_step=f"provision start {main.path}   (a server that runs is dumped, which fits newer versions)",
        )
    if at is None:
        _module(new).check(source, new)


def _module(world: World) -> Copies:
    return importlib.import_module(f"provision.from_main.{world.runtime}")


def _start(run: Run, spec: Spec, source: World, *, is_dumped: bool) -> None:
    """Do what a first apply does outside the server, up to one that runs."""
    wishes = Wishes(golden=False)
    for _ in range(_MOST_ROUNDS):
        seen = observe.survey(spec, wishes=wishes, load=lambda _: None)
        if seen.endpoint is not None:
            return
        inside = {each.KIND for each in table.inside(spec, seen.runtime)} - {server.KIND, settings.KIND}
        steps = [each for each in seen.plan.steps if each.address.kind not in inside]
        if not is_dumped and seen.world.site.is_fresh:
            steps = [_module(seen.world).filled(each, source, seen.world) for each in steps]
        try:
            run.carry_out(seen.world, Plan(tuple(steps)))
        except RacedError as error:  # the port was taken meanwhile, so another one is
            run.progress.note(f"looking again: {error.sentence}")
    raise RefusedError("the new server does not run", next_step=command("apply"))


def _dump(run: Run, spec: Spec, source: World, at: Endpoint) -> None:
    """Copy roles and databases from the server that runs.

    Raises:
        RefusedError: it is newer than this one, or cannot be reached from there.
        ProvisionError: a program failed.
    """
    new = outside.world(spec)
    with closing(ReadOnlyQuery(at)) as query:
        ((version,),) = query.rows("SELECT current_setting('server_version_num')::int")
        databases = [(str(name), int(size)) for name, size, _ in query.rows(DATABASES)]
        extensions = {
            name for each, _ in databases for (name,) in query.rows("SELECT extname FROM pg_extension", database=each)
        }
    if version // _MAJOR > new.spec.server.major:
        raise RefusedError(
            f"the main checkout's server is PostgreSQL {version // _MAJOR}, which {spec.server.image!r} cannot read",
            next_step=f"set `server.image` to a PostgreSQL {version // _MAJOR} or newer, then: " + _AGAIN,
        )
    copying = _module(new).copying(at, source, new)
    made = "with their passwords and memberships, from the main checkout's server, which runs on"
    roles = (copying.extensions(tuple(sorted(extensions))), copying.roles())
    steps = [Step(Address("role", "*"), Action.CREATE, None, None, roles, (made,))]
    for name, size in databases:
        effects, why = (copying.database(name),), (f"from the main checkout's: about {words.size(size)}",)
        steps.append(Step(Address("database", name), Action.CREATE, None, None, effects, why))
    statistics = (copying.analyze(),)
    steps[-1] = replace(steps[-1], effects=(*steps[-1].effects, *statistics))
    run.carry_out(new, Plan(tuple(steps)))


def _discard(spec: Spec, progress: Progress) -> None:
    """Remove a copy that is not whole, and its server."""
    world = outside.world(spec)
    with closing(Performer(world, progress)) as performer:
        for step in world.site.destroy(data=True):
            for effect in step.effects:
                performer.perform(effect)
    files.remove(spec.home / COPYING)
