"""Rendered files on one line: steps that write files one after the other are shown together."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from provision.kinds import file
from provision.model.words import count, shown
from provision.report.silent import Silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provision.model import Change, Outcome, Plan, Step
    from provision.report.console import Console


def is_file(step: Step) -> bool:
    """Tell whether a step writes a file in the environment's directory."""
    return step.address.kind == file.KIND and isinstance(step.after, file.File)


def grouped(steps: Iterable[Step], *, every: bool) -> Iterator[tuple[Step, ...]]:
    """Yield the steps that share a line; with ``every``, each step has its own."""

    def key(numbered: tuple[int, Step]) -> object:
        number, step = numbered
        return step.action if is_file(step) and not every else number

    for _, found in groupby(enumerate(steps), key):
        yield tuple([step for _, step in found])


def subject(steps: Sequence[Step]) -> str:
    """Return what a line is about: an address, or ``4 files in .provision/shop``."""
    after = steps[0].after
    if len(steps) == 1 or not isinstance(after, file.File):
        return str(steps[0].address)
    home = after.path.parents[steps[0].address.name.count("/")]
    return f"{count(len(steps), 'file')} in {shown(home)}"


def reasons_of(steps: Sequence[Step]) -> tuple[Change | str, ...]:
    """Return the reasons for a line; those of several files begin with their names."""
    if len(steps) == 1:
        return steps[0].why
    return tuple([f"{step.address.name}: {why}" for step in steps for why in step.why])


class Grouping(Silent):
    """Holds files back until another step begins, and shows them together."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._held: list[Outcome] = []

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Show steps that ended, on one line."""
        raise NotImplementedError

    def planned(self, plan: Plan) -> None:
        """Show what was held back: a new plan begins."""
        self._release()
        super().planned(plan)

    def started(self, step: Step) -> None:
        """Show what was held back, unless the step goes with it."""
        if self._held and not (is_file(step) and step.action is self._held[0].step.action):
            self._release()

    def finished(self, outcome: Outcome) -> None:
        """Hold a file back; show anything else."""
        super().finished(outcome)
        if is_file(outcome.step) and outcome.error is None and not self.console.verbose:
            self._held.append(outcome)
            return
        self._release()
        self.show((outcome,))

    def close(self) -> None:
        """Show what was held back."""
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        if held:
            self.show(held)
