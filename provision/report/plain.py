"""Progress for pipes and logs: one line when a step ends, and no control characters.

A step that lasts gets a line when it begins too, and then one of its details every few seconds, so that whoever
watches a pipeline sees that it lives.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from provision.model.effects import EngineCall, Migrate, ServerCall, WaitReady
from provision.report.grouping import Grouping, subject
from provision.report.text import below
from provision.report.words import clean, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.model import Outcome, Step
    from provision.report.console import Console

PAUSE: Final = 5.0


def lasts(step: Step) -> bool:
    """Tell whether a step may take longer than people wait without a word."""
    return any(
        isinstance(effect, Migrate | ServerCall | WaitReady)
        or (isinstance(effect, EngineCall) and effect.operation == "pull_image")
        for effect in step.effects
    )


class Plain(Grouping):
    """One line per event."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._spoke = 0.0
        self._detail = ""

    def started(self, step: Step) -> None:
        """Announce a step that lasts."""
        super().started(step)
        if lasts(step):
            self.console.say(f"{step.action} {step.address} …")
        self._spoke, self._detail = self._clock(), ""

    def detail(self, text: str) -> None:
        """Pass on a detail: with ``--verbose`` each that is new, else one every few seconds."""
        wanted = text != self._detail if self.console.verbose else self._clock() - self._spoke >= PAUSE
        self._detail = text
        if wanted:
            self.console.say(f"  {clean(text)}")
            self._spoke = self._clock()

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Say how steps ended, and why they were done."""
        steps = [each.step for each in outcomes]
        paint = self.console.paint(self.console.talk)
        how = paint("red", "failed after") if outcomes[0].error is not None else paint("green", "done in")
        took = seconds(sum(each.seconds for each in outcomes))
        self.console.say(f"{steps[0].action} {subject(steps)}: {how} {took}")
        for line in below(outcomes, verbose=self.console.verbose):
            self.console.say(f"  {line}")

    def note(self, text: str) -> None:
        """Pass on a note."""
        self.console.say(clean(text))
