"""Plan → Result: the only place where effects happen.

A run observes, plans and acts until nothing is left to do. Steps that reveal more (the server was started) end a round;
the next one observes again. The run ends with a look that finds nothing to do, or with an error: nothing is called done
because a command exited with 0.
"""

from __future__ import annotations

import os.path
import time
from contextlib import closing, suppress
from itertools import chain
from typing import TYPE_CHECKING

from provision import observe
from provision import plan as planner
from provision.apply import transactions
from provision.apply.caches import GOOD, remember, remember_engine, remember_rendered
from provision.apply.effects import Performer
from provision.apply.history import History
from provision.apply.losses import Losses
from provision.apply.starting import TIMEOUT
from provision.apply.trial import GOLDEN, Trial
from provision.errors import NotConvergedError, ProvisionError, RacedError, UnavailableError, command
from provision.kinds import configuration, database, file, login, settings
from provision.model import INTERRUPTED, Action, File, Outcome, Plan, Result, Wishes
from provision.model.effects import EngineCall, ReloadSettings, ServerCall, WaitReady, WriteFile
from provision.observe import external, logins, outside
from provision.system import files as filesystem
from provision.system import lock, owned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from provision.alembic import Migrated
    from provision.model import Effect, Endpoint, Progress, Step
    from provision.observe import Survey
    from provision.observe.logins import Choice
    from provision.observe.outside import World
    from provision.reviewed import Reviewed
    from provision.spec.model import Spec

    Adding = Callable[[Survey, Sequence[Outcome]], Survey]

_MOST_ROUNDS = 20
_MOST_RACES, _BUSY_FOR = 3, 60.0
_CURRENT = 10.0
"""How old a look may be that is acted on, in seconds."""
_LOGS = command("logs")
LOCK_TIMEOUT = TIMEOUT


def _nothing_added(seen: Survey, _outcomes: Sequence[Outcome]) -> Survey:
    return seen


def converge(
    first: Survey,
    *,
    progress: Progress,
    lock_timeout: float = LOCK_TIMEOUT,
    reviewed: Reviewed | None = None,
    adding: Adding = _nothing_added,
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

    def look(*, new: bool) -> Survey:
        seen = observe.survey(spec, runtime=first.runtime, wishes=run.trial.wishes, new=new)
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
        taken = time.monotonic() - started
        last = run.last
        done = tuple(run.outcomes)
        return Result(done, taken, last.notes, last.remarks, run.endpoint, run.trial.begun, performer.reads)


def start(spec: Spec, *, progress: Progress) -> Result:
    """Start the environment's server as it was made before."""
    return _lifecycle(spec, lambda world: world.site.start(), progress)


def stop(spec: Spec, *, progress: Progress) -> Result:
    """Stop the environment's server and keep everything."""
    return _lifecycle(spec, lambda world: world.site.stop(), progress)


def restart(spec: Spec, *, progress: Progress) -> Result:
    """Stop and start the environment's server."""
    return _lifecycle(spec, lambda world: world.site.restart(), progress)


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
    started = time.monotonic()
    if not steps(outside.world(spec)):
        return Result((), time.monotonic() - started)
    with lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note):
        world = outside.world(spec)
        plan = Plan(_saving(world, steps(world)))
        progress.planned(plan)
        run = Run(progress)
        with closing(Performer(world, progress)) as performer:
            run.perform(plan, performer)
        return Result(tuple(run.outcomes), time.monotonic() - started)


def _saving(world: World, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return steps that stop a server with what saves its data as a golden, where it was made for that."""
    if not world.look.exists(world.spec.home / GOLDEN):
        return tuple(steps)
    from provision.golden import saving

    return saving.with_saving(world, steps)


def carry(spec: Spec, plan: Plan, *, progress: Progress) -> Migrated | None:
    """Carry out a plan of migrations alone; nothing of the server is touched. None: there was nothing to migrate.

    Raises:
        ProvisionError: a step failed.
        LockedError: another run holds the environment.
    """
    with lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note):
        world, run = outside.world(spec), Run(progress, verb="migrate")
        if not world.site.is_ours:
            external.insist(world)
        performer = run.performer(world)
        try:
            progress.planned(plan)
            performer.prepare(plan)
            run.perform(plan, performer)
            run.note(spec, world.endpoint())
        except ProvisionError as error:
            with suppress(ProvisionError):
                run.note(spec, world.endpoint(), error)
            raise
        finally:
            performer.close()
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


class Run:
    """One run: the outcomes so far, and what follows its progress."""

    def __init__(
        self,
        progress: Progress,
        *,
        lock_timeout: float = LOCK_TIMEOUT,
        trial: Trial | None = None,
        verb: str = "apply",
    ) -> None:
        self.progress = progress
        self.trial = trial or Trial(Wishes())
        self._lock_timeout = lock_timeout
        self.outcomes: list[Outcome] = []
        self.last = Plan(())
        self.endpoint: Endpoint | None = None
        self.reviewed: Reviewed | None = None
        self._history = History(verb)
        self._seen: Survey | None = None
        self.restores = True
        """Whether a configuration with which a server does not start is taken back."""
        self._races, self._raced, self._trusted = 0, 0.0, 0
        self._losses = Losses(progress)

    def converge(
        self, look: Callable[..., Survey], performer: Performer | None = None, first: Survey | None = None
    ) -> None:
        """Observe, plan and act until there is nothing left to do; a ``first`` look saves one.

        ``look(new=…)`` looks at everything; ``new``: the server was started a moment ago on new data.
        """
        try:
            try:
                self._converge(look, performer, first)
            except ProvisionError as error:
                if not self.trial.blames(error):
                    raise
                self._discard(error)
                self._converge(look, None, None)
        except ProvisionError as error:
            if self._seen is not None and self.outcomes:
                self.note(self._seen.spec, self._seen.endpoint, error)
            raise

    def note(self, spec: Spec, at: Endpoint | None, failure: ProvisionError | None = None) -> None:
        """Add the run to the history of the environment."""
        if why := self._history.note(spec, at, self.outcomes, failure):
            self.progress.note(f"this run is not in the history: {why} (`history: false` in the spec does without)")

    def _discard(self, error: ProvisionError) -> None:
        """Remove what a golden made, and the golden, because of an error."""
        from provision.golden import load

        world = self.trial.world
        assert world is not None  # noqa: S101  # it is that of the plan
        goldens, name = load(world.runtime), self.trial.end(world)
        self.progress.note(f"{name} is not used, and was removed: {error.sentence}; the data is made without it")
        has_made, made = self.trial.has_made(self.outcomes), self.trial.containers
        gone = goldens.discarding(world, made, with_data=has_made) if goldens else ()
        self.outcomes = [each for each in self.outcomes if each.step.address.kind == file.KIND]
        with closing(self.performer(world)) as performer:
            for effect in gone:
                performer.perform(effect)

    def save_golden(self, spec: Spec) -> None:
        """Save what was made as a golden, for which the server stops and starts; or say why there is none."""
        from provision.golden import saving

        world = outside.world(spec)
        step = saving.step(world)
        if isinstance(step, str):
            self.progress.note(f"no golden is saved: {step}")
            return
        plan = Plan((step,))
        self.progress.planned(plan)
        with closing(self.performer(world)) as performer:
            self.perform(plan, performer)
        if not performer.has_saved:  # it was said why
            self.outcomes.pop()

    def _converge(self, look: Callable[..., Survey], performer: Performer | None, first: Survey | None) -> None:
        before, is_new = Plan(()), False
        try:
            for number in range(_MOST_ROUNDS):
                survey = first if first and not number else look(new=is_new)
                is_new = survey.world.site.is_fresh
                self.trial.follow(survey)
                self._count_made(before, survey)
                before = survey.plan
                self._seen = survey
                if survey.plan.is_empty:
                    self.note(survey.spec, survey.endpoint)
                    remember(survey.world, proved=not survey.wishes.no_restart)
                    self.trial.note(survey, performer.reads if performer else {})
                    self.last, self.endpoint = survey.plan, survey.login
                    planner.insist(survey.plan)
                    return
                if self.reviewed is not None:
                    self.reviewed.insist(survey)
                performer = performer.move_to(survey.world) if performer else self.performer(survey.world)
                if self._saves_before_seeds(survey, performer):
                    continue
                self._refuse_to_repeat(survey.plan)
                self.progress.planned(survey.plan)
                remember_engine(survey.world)
                survey.world.trees.remember()  # a run that fails keeps what it has learned
                performer.prepare(survey.plan)
                try:
                    self.perform(survey.plan, performer)
                except ProvisionError as error:
                    self._go_on(error, performer)
                self._distrust(performer)
                self.trial.sow(survey.plan, self.outcomes[self._trusted :])
                remember_rendered(survey.world)  # the next look need not render it again
            raise _not_converged(survey.plan)
        finally:
            if performer is not None:
                self.trial.containers += performer.containers
                performer.close()

    def _go_on(self, error: ProvisionError, performer: Performer) -> None:
        """Go on where another session came between, or the server went away and another one takes writes.

        Raises:
            ProvisionError: it is something else, or none takes writes in time.
        """
        if isinstance(error, RacedError):
            self._look_again(error)
            return
        lost = self._losses.outcome
        if lost is None:
            raise error
        try:
            self._losses.outlive(error, performer.endpoint, performer.world.spec.server.ready_timeout)
        except ProvisionError:
            self.outcomes.append(lost)
            self.progress.finished(lost)
            raise
        performer.failovers += 1

    def _distrust(self, performer: Performer) -> None:
        """Let what was done on a server that went away be done again: its successor can lack it."""
        if performer.failovers:
            self._trusted, performer.failovers = len(self.outcomes), 0

    def _saves_before_seeds(self, survey: Survey, performer: Performer) -> bool:
        """Note what was made before seeds bring rows, and save a golden of it where one is wanted: then look again."""
        if not self.trial.begins_seeds(survey.plan):
            return False
        self.trial.note(survey, performer.reads)
        if not self.trial.wishes.golden:
            return False
        performer.close()  # it holds the data while the server starts
        self.save_golden(survey.spec)
        return True

    def _look_again(self, error: RacedError) -> None:
        """Go on after another session came between.

        Raises:
            RacedError: it was the third time, or what it holds was waited for long enough.
        """
        if self._is_over(error):
            raise error
        self._races += 1
        self._raced = self._raced or time.monotonic()
        self.progress.note(f"looking again, because another session came between: {error.evidence[-1]}")

    def _is_over(self, error: RacedError) -> bool:
        if error.is_busy:
            return bool(self._raced) and time.monotonic() - self._raced > _BUSY_FOR
        return self._races + 1 >= _MOST_RACES

    def _count_made(self, before: Plan, survey: Survey) -> None:
        """Count the planned database as made where the server's first start has made it: the image does that itself."""
        done = {outcome.step.address for outcome in self.outcomes}
        for step in before.steps:
            is_made = step.address.kind == database.KIND and survey.observed.get(step.address) == step.after
            if is_made and step.effects and step.address not in done:
                self.progress.started(step)
                self.outcomes.append(Outcome(step, 0.0))
                self.progress.finished(self.outcomes[-1])

    def performer(self, world: World) -> Performer:
        """Return what performs the steps of this run."""
        made = Performer(world, self.progress, lock_timeout=self._lock_timeout)
        made.ran, made.tenants = self._history.revisions, self._history.tenants
        return made

    def _refuse_to_repeat(self, plan: Plan) -> None:
        done = [_what(each.step) for each in self.outcomes[self._trusted :] if each.error is None]
        again = [step for step in plan.steps if step.effects and _what(step) in done]
        if again or not any(step.effects for step in plan.steps):
            raise _not_logged_in(again[0]) if again and again[0].address.kind == login.KIND else _not_converged(plan)

    def perform(self, plan: Plan, performer: Performer) -> None:
        """Do the steps of one round, up to the first that reveals more."""
        others = any(step.effects for step in plan.steps if step.action is not Action.SEED)
        for steps in transactions.groups(plan.steps):
            if steps[0].action is Action.SEED and others:
                return  # another look shows first that all else is as declared
            if steps[1:]:
                self._do_together(steps, performer)
            else:
                self._do(steps[0], plan, performer)
            if steps[-1].reveals:
                return

    def _do_together(self, steps: Sequence[Step], performer: Performer) -> None:
        """Do steps in one transaction; none of them counts as done before all are."""
        at, began, seconds = steps[0], time.monotonic(), []
        try:
            self.progress.started(at)
            for file in chain.from_iterable(map(transactions.written, steps)):
                performer.perform(file)
            with performer.transaction(transactions.parts(at)[0]) as run:
                for at in steps:
                    for effect in transactions.parts(at):
                        run(effect)
                    seconds.append(time.monotonic() - began)
        except ProvisionError as failure:
            self._ended(Outcome(at, time.monotonic() - began, failure.sentence), failure)
            raise
        for number, step in enumerate(steps):
            if number:
                self.progress.started(step)
            self._ended(Outcome(step, seconds[number] - (seconds[number - 1] if number else 0.0)))

    def _ended(self, outcome: Outcome, failure: ProvisionError | None = None) -> None:
        if isinstance(failure, RacedError) and not self._is_over(failure):
            return  # it is planned once more
        if failure is not None and self.trial.blames(failure):
            return  # it is done in another way
        if failure is not None and self._seen is not None and self._losses.is_one(failure, self._seen.world):
            self._losses.note(outcome)
            return  # it is planned once more, or was done
        self.outcomes.append(outcome)
        self.progress.finished(outcome)

    def _do(self, step: Step, plan: Plan, performer: Performer) -> None:
        if step.clients:
            who = "1 connected client is" if step.clients == 1 else f"{step.clients} connected clients are"
            self.progress.note(f"{step.action} {step.address}: {who} disconnected")
        self.progress.started(step)
        began = time.monotonic()
        error: str | None = INTERRUPTED
        failure: ProvisionError | None = None
        try:
            performer.begin(step)
            for effect in step.effects:
                self._perform(effect, step, plan, performer)
            error = None
        except ProvisionError as found:
            failure, error = found, found.sentence
            raise
        finally:
            revisions = failure.revisions if failure else {}
            self._ended(Outcome(step, time.monotonic() - began, error, revisions), failure)

    def _perform(self, effect: Effect, step: Step, plan: Plan, performer: Performer) -> None:
        try:
            with performer.explained():
                performer.perform(effect)
        except ProvisionError as failure:
            of_settings = isinstance(effect, ReloadSettings | WaitReady | ServerCall)
            if self.restores and (of_settings or step.address.kind == settings.KIND):
                _restore_configuration(plan, performer, failure, restarted=not isinstance(effect, ReloadSettings))
            raise


def _what(step: Step) -> tuple[object, ...]:
    """Return what a step does, to see that it is the same again: a few words can stand for other objects, too."""
    return step.address, step.action, step.why, step.before


def _restore_configuration(plan: Plan, performer: Performer, failure: ProvisionError, *, restarted: bool) -> None:
    """Put the last good configuration back when the new one does not work, and have the server run with it.

    A server that refused to read the new one still runs with what it had.
    """
    old, new = _last_good(plan, performer.world)
    if old is None or new is None or old.content == new.content:
        return
    ground = performer.world.site.ground(starting=False)
    performer.perform(WriteFile(old.path, old.content, old.mode))
    with suppress(ProvisionError, ValueError):
        for effect in ground.publish:
            performer.perform(_as_before(effect, old, new))
        again = ground.restart if restarted else (ReloadSettings(configuration.parse(str(old.content))),)
        for effect in again:
            performer.perform(effect)
        failure.undone = tuple([str(step.address) for step in plan.steps if step.after == new])
        said = failure.evidence
        failure.evidence = (*said, "the last good configuration is back, and the server runs with it")
        if failure.next_step in (performer.world.site.log_command, _LOGS) and _is_told(said):
            failure.next_step = _correction(performer.world.spec, old, new, said)


def _is_told(said: Sequence[str]) -> bool:
    """Tell whether the reason is there already: errors of the file, or the last words of a server that ended."""
    return any("FATAL" in line or "PANIC" in line or line.startswith("line ") for line in said)


def _correction(spec: Spec, old: File, new: File, said: Sequence[str]) -> str:
    """Return what to do about a configuration that did not work: the settings that changed, where the spec has them."""
    from provision.kinds import blame

    names = blame.suspects(str(old.content), str(new.content), said)
    texts = {os.path.relpath(each): filesystem.read_text(each) or "" for each in (spec.path, spec.base) if each}
    places = blame.places(names, texts)
    return f"correct {' or '.join(places)}, then: " + command("apply")


def _last_good(plan: Plan, world: World) -> tuple[File | None, File | None]:
    """Return the last configuration that a server was proved to run with, and the one that it shall have.

    It is kept from run to run: after a ``kill -9`` what stands in its place may be the one that does not work.
    """
    wanted = world.files.get("configuration")
    if wanted is None:
        return None, None
    new = wanted
    text = owned.text(world.spec.home / GOOD)
    if text is not None:
        return File(wanted.path, text, wanted.mode), new
    step = next((each for each in plan.steps if each.after == new), None)
    return (step.before if step is not None and isinstance(step.before, File) else None), new


def _as_before(effect: Effect, old: File, new: File) -> Effect:
    """Return an effect that publishes the new configuration as one that publishes the old."""
    if not isinstance(effect, EngineCall) or "files" not in effect.body:
        return effect
    published = {
        path: (old.content if content == new.content else content, mode)
        for path, (content, mode) in effect.body["files"].items()
    }
    return EngineCall(effect.operation, effect.target, {**effect.body, "files": published})


def _not_logged_in(step: Step) -> UnavailableError:
    words = step.before.login if isinstance(step.before, login.Login) else ""
    return UnavailableError(
        f"the login of {step.address.name!r} is still refused, although its password was set through the local socket",
        evidence=[words, "so another server answers there, or something between here and this server refuses it"],
        next_step=command("status")
        + "   # where it is looked for; set another `server.port` if another program has it",
    )


def _not_converged(plan: Plan) -> NotConvergedError:
    lines = [f"{step.address}: {step.action}" + "".join(f"; {why}" for why in step.why) for step in plan.steps]
    return NotConvergedError(
        "every step was done, and the server still differs from the spec", evidence=lines, next_step=command("plan")
    )
