"""How progress is shown: a live line on a terminal, one line per step in a pipe, nothing with ``--quiet``."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from provision.model import Outcome, Plan, Progress, Step
from provision.model.effects import EngineCall, Migrate, MigrateTenants, ServerCall, WaitReady
from provision.report.console import Console
from provision.report.plan import WORD_WIDTH, below, finished, is_file, subject
from provision.report.words import clean, fitting, seconds

PAUSE: Final = 5.0
"""So many seconds pass between two details of a step in a pipe."""
FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_PER_SECOND: Final = 10
FREE: Final = 3
"""Columns for the ``^C`` that a terminal writes: a line that it wraps would not be taken off the screen."""


@contextmanager
def followed(console: Console) -> Iterator[Progress]:
    """Show progress in the way that fits the console, and give the screen back whatever happens.

    A pipeline that is cancelled (SIGTERM) and a terminal that is closed (SIGHUP) interrupt the work as Ctrl-C does,
    so that locks and child processes are put away.
    """
    kind = Silent if console.quiet else Live if console.is_terminal(console.talk) else Plain
    if console.is_part and not console.quiet:
        kind = Kept
    progress = kind(console)
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield progress
    finally:
        progress.close()
        for number, handler in before:
            signal.signal(number, handler)


class Silent(Progress):
    """Only keeps the steps and their outcomes, so that an error can say what was done before it, and what was not."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def planned(self, plan: Plan) -> None:
        """Keep the steps."""
        self.console.planned = plan.steps

    def finished(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        self.console.outcomes.append(outcome)

    def close(self) -> None:
        """Put away what is on the screen."""


class Plain(Silent):
    """One line when a step ends, and no control characters. Files that are written one after the other share a line.

    A step that lasts gets a line when it begins too, and then one of its details every few seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._paint = console.paint(console.talk)
        self._clock = clock
        self._spoke = 0.0
        self._detail = ""
        self._held: list[Outcome] = []

    def planned(self, plan: Plan) -> None:
        """Show what was held back: a new plan begins."""
        self.close()
        super().planned(plan)

    def started(self, step: Step) -> None:
        """Show the files that were held back, unless the step goes with them, and announce a step that lasts."""
        if self._held and not (is_file(step) and step.action is self._held[0].step.action):
            self._release()
        self._begin(step)

    def detail(self, text: str) -> None:
        """Show a detail: with ``--verbose`` each that is new, else one every few seconds."""
        wanted = text != self._detail if self.console.verbose else self._clock() - self._spoke >= PAUSE
        self._detail = text
        if wanted:
            self.console.say(f"  {clean(text)}")
            self._spoke = self._clock()

    def finished(self, outcome: Outcome) -> None:
        """Hold a file back; show anything else."""
        super().finished(outcome)
        if is_file(outcome.step) and outcome.error is None and not self.console.verbose:
            self._held.append(outcome)
            return
        self._release()
        self._show((outcome,))

    def note(self, text: str) -> None:
        """Show a note."""
        self.console.say(clean(text))

    def close(self) -> None:
        """Show what was held back."""
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        if held:
            self._show(held)

    def _begin(self, step: Step) -> None:
        if _lasts(step):
            self.console.say(f"{step.action} {step.address} …")
        self._spoke, self._detail = self._clock(), ""

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        """Say how steps ended, and why they were done."""
        steps = [each.step for each in outcomes]
        failed = outcomes[0].error is not None
        how = self._paint("red", "failed after") if failed else self._paint("green", "done in")
        took = seconds(sum(each.seconds for each in outcomes))
        self.console.say(f"{steps[0].action} {subject(steps)}: {how} {took}")
        for line in below(outcomes, verbose=self.console.verbose):
            self.console.say(f"  {line}")


class Live(Plain):
    """The steps that ended stand above a line with the one that runs, its newest detail and the time."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._step: Step | None = None
        self._since = 0.0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def detail(self, text: str) -> None:
        """Show a detail behind the step; with ``--verbose`` it stays."""
        before, self._detail = self._detail, clean(text)
        if self.console.verbose and self._detail != before:
            self._line(f"    {self._paint('dim', self._detail)}")

    def finished(self, outcome: Outcome) -> None:
        """Take the step off the last line."""
        self._step = None
        super().finished(outcome)

    def note(self, text: str) -> None:
        """Leave a line."""
        self._line(self._paint("dim", clean(text)))

    def close(self) -> None:
        """Take the running step off the screen, and show the cursor again."""
        super().close()
        self._step = None
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            self.console.screen("\r\x1b[K\x1b[?25h")

    def _begin(self, step: Step) -> None:
        self._step, self._detail, self._since = step, "", time.monotonic()
        if self._thread is None:
            self._over.clear()
            self.console.screen("\x1b[?25l")
            self._thread = threading.Thread(target=self._animate, daemon=True)
            self._thread.start()
        self._draw()

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        self._line(finished(outcomes, self._paint))
        for line in below(outcomes, verbose=self.console.verbose):
            self._line(f"{' ' * (WORD_WIDTH + 6)}{self._paint('dim', line)}")

    def _line(self, text: str) -> None:
        """Leave a line above the running step."""
        with self._lock:
            if self._thread is not None:
                self.console.screen("\r\x1b[K")
            self.console.say(text)
            self._draw()

    def _animate(self) -> None:
        while not self._over.wait(1 / _FRAMES_PER_SECOND):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            step = self._step
            if step is None or self._thread is None:
                return
            elapsed = time.monotonic() - self._since
            frame = FRAMES[int(elapsed * _FRAMES_PER_SECOND) % len(FRAMES)]
            head = f" {step.action:<{WORD_WIDTH}}  {subject((step,))}  {seconds(elapsed)}"
            room = max(self.console.columns(self.console.talk) - FREE - len("  ⠋"), 1)
            text = fitting(f"{head}  {self._detail}" if self._detail else head, room)
            detail = self._paint("dim", text[len(head) :])
            self.console.screen(f"\r\x1b[K  {self._paint('cyan', frame)}{text[: len(head)]}{detail}")


class Kept(Live):
    """The lines of :class:`Live` that stay: they are shown when all of them are there."""

    def _begin(self, step: Step) -> None:
        self._step = step


def _lasts(step: Step) -> bool:
    """Tell whether a step may take longer than people wait without a word."""
    return any(
        isinstance(effect, Migrate | MigrateTenants | ServerCall | WaitReady)
        or (isinstance(effect, EngineCall) and effect.operation == "pull_image")
        for effect in step.effects
    )


class Waiting:
    """A line on a terminal, and nothing elsewhere."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console, self._names = console, names
        self._is_on = console.is_terminal(console.talk) and not console.quiet
        self._is_there = False
        self._began = time.monotonic()

    def show(self, running: Sequence[int], ended: int) -> None:
        """Show the names of what runs."""
        if not self._is_on or not running:
            return
        console, elapsed = self._console, time.monotonic() - self._began
        names = ", ".join(self._names[number] for number in running)
        text = f"  {FRAMES[int(elapsed * 10) % len(FRAMES)]} {ended} of {len(self._names)}  {seconds(elapsed)}  {names}"
        console.screen(f"\r\x1b[K{fitting(text, max(console.columns(console.talk) - FREE, 1))}")
        self._is_there = True

    def clear(self) -> None:
        """Take the line off the screen."""
        if self._is_there:
            self._console.screen("\r\x1b[K")
            self._is_there = False
