"""The question before data goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from provision.errors import CancelledError, RefusedError, UsageError

if TYPE_CHECKING:
    from provision.model import Plan
    from provision.report.console import Console

FINAL: Final = "This cannot be undone."


def confirm(console: Console, name: str, plan: Plan, *, what: str, again: str, warning: str = FINAL) -> None:
    """Show what would be done, and ask for the name of the environment.

    ``what`` would happen, in words; ``again`` is the command that does it without asking, with ``--yes`` in it;
    ``warning`` says what cannot be brought back.

    Raises:
        provision.errors.UsageError: there is no terminal to ask on.
        provision.errors.RefusedError: another answer was given.
        provision.errors.CancelledError: Ctrl-C was.
    """
    import sys

    from provision.report.plan import lines

    paint = console.paint(console.err)
    console.complain(f"{paint('bold', name)}: this would be done")
    for line in lines(plan, paint, verbose=console.verbose):
        console.complain(line)
    if not (sys.stdin.isatty() and console.err.isatty()):
        raise UsageError(f"{what}, and there is no terminal to confirm it on; nothing was done", next_step=again)
    asking = " ".join(word for word in again.split(" ") if word != "--yes")
    try:
        console.err.write(f"{warning} Type {name} to continue: ".lstrip())
        console.err.flush()
        answer = sys.stdin.readline().strip()
    except KeyboardInterrupt:
        raise CancelledError("interrupted; nothing was done", next_step=asking) from None
    if answer != name:
        raise RefusedError(f"that is not {name}; nothing was done", next_step=asking)
