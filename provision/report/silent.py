"""Progress that says nothing: what ``--quiet`` gets, and what the other ways of telling are built on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.model import Outcome, Plan, Step
    from provision.report.console import Console


class Silent:
    """Only keeps the steps and their outcomes, so that an error can say what was done before it, and what was not."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def planned(self, plan: Plan) -> None:
        """Keep the steps; they speak for themselves."""
        self.console.planned = plan.steps

    def started(self, step: Step) -> None:
        """Say nothing."""

    def detail(self, text: str) -> None:
        """Say nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Keep the outcome."""
        self.console.outcomes.append(outcome)

    def note(self, text: str) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Have nothing to put away."""
