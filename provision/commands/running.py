"""What the verbs that act without planning share: they tell their steps, and then what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from provision.errors import EXIT_DONE, EXIT_FAILED
from provision.report.progress import told
from provision.report.text import recap

if TYPE_CHECKING:
    from provision.model import Progress, Result
    from provision.report.console import Console
    from provision.spec.model import Spec


class Verb(Protocol):
    """An operation of :mod:`provision.apply` on the environment of a spec."""

    def __call__(self, spec: Spec, *, progress: Progress) -> Result:
        """Carry it out."""


def carry_out(console: Console, spec: Spec, verb: Verb, *, nothing: str, must_run: bool = False) -> int:
    """Carry out a verb and tell what it did; ``nothing`` is what to say when there was nothing to do.

    Raises:
        provision.errors.UnavailableError: nothing was done, and there is no server although it ``must_run`` now.
    """
    with told(console) as progress:
        done = verb(spec, progress=progress)
    paint = console.paint(console.out)
    if not done.outcomes:
        if must_run:
            from provision.observe import require_running, world

            require_running(world(spec))
        console.say(f"{paint('bold', spec.name)}: {nothing}")
        return EXIT_DONE
    for line in recap(spec.name, done, paint):
        console.say(line)
    for outcome in done.outcomes:
        if outcome.error is None and outcome.step.consequence:
            console.say(f"  {outcome.step.consequence}")
    return EXIT_FAILED if any(outcome.error is not None for outcome in done.outcomes) else EXIT_DONE
