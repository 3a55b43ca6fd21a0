"""The line that shows what runs, while nothing of it can be shown yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from provision.report.progress import FRAMES, FREE
from provision.report.words import fitting, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.report.console import Console


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
