"""One run: it observes, plans and acts until there is nothing left to do, and keeps what became of each step."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from provision import plan as planner, runtimes
from provision.apply import last_good, transactions
from provision.apply.caches import remember, remember_engine, remember_rendered
from provision.apply.effects import Performer
from provision.apply.history import History
from provision.apply.losses import Losses
from provision.apply.starting import TIMEOUT
from provision.apply.trial import Trial
from provision.errors import NotConvergedError, ProvisionError, RacedError, UnavailableError, command
from provision.kinds import database, file, login, settings
from provision.model import INTERRUPTED, Action, Effect, Endpoint, Outcome, Plan, Progress, Result, Step, Wishes
from provision.model.effects import ReloadSettings, ServerCall, WaitReady
from provision.observe import Survey, outside
from provision.runtimes.names import GOLDEN
from provision.system import files, lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from provision.observe.outside import World
    from provision.reviewed import Reviewed
    from provision.spec.model import Spec

_MOST_ROUNDS = 20
_MOST_RACES, _BUSY_FOR = 3, 60.0
LOCK_TIMEOUT = TIMEOUT


class Run:
    """One run: the outcomes so far, and what follows its progress."""

    def __init__(
        self, progress: Progress, *, lock_timeout: float = LOCK_TIMEOUT, trial: Trial | None = None, verb: str = "apply"
    ) -> None:
        self.progress = progress
        self.trial = trial or Trial(Wishes())
        self._lock_timeout = lock_timeout
        self.outcomes: list[Outcome] = []
        self.said: list[str] = []
        """What is worth knowing besides."""
        self.last = Plan(())
        self.endpoint: Endpoint | None = None
        self.reviewed: Reviewed | None = None
        self._history = History(verb)
        self._seen: Survey | None = None
        self.restores = True
        """Whether a configuration with which a server does not start is taken back."""
        self._races, self._raced, self._trusted = 0, 0.0, 0
        self._losses = Losses(progress)
        self._began = time.monotonic()

    @classmethod
    @contextmanager
    def alone(cls, spec: Spec, progress: Progress, verb: str = "apply") -> Iterator[Run]:
        """Keep all other runs off an environment within the block."""
        run = cls(progress, verb=verb)
        with lock.hold(spec.home / "lock", timeout=LOCK_TIMEOUT, waiting=progress.note):
            yield run

    def carry_out(self, world: World, plan: Plan, *, prepared: bool = False) -> Performer:
        """Show a plan, and do its steps; ``prepared``: what they need is loaded meanwhile."""
        self.progress.planned(plan)
        with closing(self.performer(world)) as performer:
            if prepared:
                performer.prepare(plan)
            self.perform(plan, performer)
        return performer

    def result(self, *said: str) -> Result:
        """Return what was done, and ``said`` before the notes of the last plan."""
        seconds = time.monotonic() - self._began
        return Result(tuple(self.outcomes), seconds, (*said, *self.last.notes), self.last.remarks)

    def converge(
        self, look: Callable[..., Survey], performer: Performer | None = None, first: Survey | None = None
    ) -> None:
        """Observe, plan and act until there is nothing left to do; a ``first`` look saves one.

        ``look(lacks_database=…)`` looks at everything, as :func:`provision.observe.survey` does.
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
        elif self._history.xid is not None and files.exists(spec.home / GOLDEN):
            from provision.golden import saving

            saving.follow(spec, self._history.xid)

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
            why = step
        else:
            try:
                why = self.carry_out(world, Plan((step,))).unsaved
            except KeyboardInterrupt:
                world = outside.world(spec)
                self.carry_out(world, Plan(world.site.restart()))
                raise
            if why:
                self.outcomes.pop()
        if why:
            self.said.append(f"no golden is saved: {why}")

    def _converge(self, look: Callable[..., Survey], performer: Performer | None, first: Survey | None) -> None:
        before, lacks = Plan(()), None
        try:
            for number in range(_MOST_ROUNDS):
                survey = first if first and not number else look(lacks_database=lacks)
                lacks = _starts_without_database(survey)
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
                last_good.restore(plan, performer, failure, restarted=not isinstance(effect, ReloadSettings))
            raise


def _what(step: Step) -> tuple[object, ...]:
    """Return what a step does, to see that it is the same again: a few words can stand for other objects, too."""
    return step.address, step.action, step.why, step.before


def _not_logged_in(step: Step) -> UnavailableError:
    words = step.before.login if isinstance(step.before, login.Login) else ""
    return UnavailableError(
        f"the login of {step.address.name!r} is still refused, although its password was set through the local socket",
        evidence=[words, "so another server answers there, or something between here and this server refuses it"],
        next_step=command("status")
        + "   # where it is looked for; set another `server.port` if another program has it",
    )


def _starts_without_database(survey: Survey) -> bool:
    """Tell whether the new server of a plan starts without the declared database, which a step makes then."""
    if (begun := survey.begun) is not None and begun.key:
        return begun.level == 0
    return survey.world.site.is_fresh and not runtimes.load(survey.runtime).MAKES_DATABASE


def _not_converged(plan: Plan) -> NotConvergedError:
    lines = [f"{step.address}: {step.action}" + "".join(f"; {why}" for why in step.why) for step in plan.steps]
    return NotConvergedError(
        "every step was done, and the server still differs from the spec", evidence=lines, next_step=command("plan")
    )
