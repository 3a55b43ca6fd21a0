"""Which way progress is told: live on a terminal, one line per step in a pipe, not at all with ``--quiet``."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from provision.model import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.model import Outcome, Plan, Step
    from provision.report.console import Console


class Silent:
    """Tells nothing."""

    def planned(self, plan: Plan) -> None:
        """Tell nothing."""

    def started(self, step: Step) -> None:
        """Tell nothing."""

    def detail(self, text: str) -> None:
        """Tell nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Tell nothing."""

    def note(self, text: str) -> None:
        """Tell nothing."""

    def close(self) -> None:
        """Have nothing to put away."""


class Closing(Progress, Protocol):
    """Progress that may hold the screen, and gives it back."""

    def close(self) -> None:
        """Give the screen back."""


@contextmanager
def told(console: Console) -> Iterator[Progress]:
    """Choose the way that fits the console, and give the screen back whatever happens."""
    progress = _choose(console)
    try:
        yield progress
    finally:
        progress.close()


def _choose(console: Console) -> Closing:
    if console.quiet:
        return Silent()
    if console.is_terminal(console.talk):
        from provision.report.live import Live

        return Live(console)
    from provision.report.plain import Plain

    return Plain(console)
