"""Progress on a terminal: the running step with a spinner, its newest detail and the time; a line for each that ended.

Rich is loaded when the first step begins, so a run with nothing to do does not pay for it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from provision.report.grouping import Grouping
from provision.report.text import WORD_WIDTH, below, finished
from provision.report.words import clean, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.live import Live as RichLive
    from rich.text import Text

    from provision.model import Outcome, Step
    from provision.report.console import Console

FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAMES_PER_SECOND: Final = 10
_FREE: Final = 3
"""Columns for the ``^C`` that a terminal writes: a line that it wraps would not be taken off the screen."""


class Live(Grouping):
    """The steps that ended stand above the one that runs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._paint = console.paint(console.talk)
        self._live: RichLive | None = None
        self._step: Step | None = None
        self._detail = ""
        self._since = 0.0

    def started(self, step: Step) -> None:
        """Put the step on the last line of the screen."""
        super().started(step)
        self._step, self._detail, self._since = step, "", time.monotonic()
        if self._live is None:
            self._live = self._open()
        self._live.refresh()

    def detail(self, text: str) -> None:
        """Show a detail behind the step; with ``--verbose`` it stays."""
        before, self._detail = self._detail, clean(text)
        if self.console.verbose and self._detail != before:
            self._line(f"    {self._paint('dim', self._detail)}")

    def finished(self, outcome: Outcome) -> None:
        """Take the step off the last line."""
        self._step = None
        super().finished(outcome)

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Leave a line for steps that ended, and why they were done."""
        if self._live is not None:
            self._live.refresh()
        self._line(finished(outcomes, self._paint))
        for line in below(outcomes, verbose=self.console.verbose):
            self._line(f"{' ' * (WORD_WIDTH + 6)}{self._paint('dim', line)}")

    def note(self, text: str) -> None:
        """Leave a line."""
        self._line(self._paint("dim", clean(text)))

    def close(self) -> None:
        """Take the running step off the screen."""
        super().close()
        self._step = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self, text: str) -> None:
        if self._live is None:
            self.console.say(text)
            return
        from rich.text import Text

        text = self.console.wrapped(self.console.talk, text)
        self._live.console.print(Text.from_ansi(text), soft_wrap=True)

    def _open(self) -> RichLive:
        from rich.console import Console as RichConsole
        from rich.live import Live as RichLive

        screen = RichConsole(
            file=self.console.talk,
            force_terminal=True,
            color_system="standard" if self._paint.on else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        live = RichLive(
            get_renderable=self._running,
            console=screen,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )
        live.start()
        return live

    def _running(self) -> Text:
        from rich.text import Text

        step = self._step
        if step is None:
            return Text("")
        elapsed = time.monotonic() - self._since
        frame = FRAMES[int(elapsed * FRAMES_PER_SECOND) % len(FRAMES)]
        text = f"  {self._paint('cyan', frame)} {step.action:<{WORD_WIDTH}}  {step.address}  {seconds(elapsed)}"
        if self._detail:
            text = f"{text}  {self._paint('dim', self._detail)}"
        line = Text.from_ansi(text)
        if self._live is not None:
            line.truncate(max(self._live.console.width - _FREE, 1), overflow="ellipsis")
        line.no_wrap = True
        return line
