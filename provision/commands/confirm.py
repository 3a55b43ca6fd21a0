"""Asking before something is done that nobody can take back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.model import Plan
    from provision.report.console import Console


def confirm(console: Console, name: str, plan: Plan, *, what: str, again: str, is_final: bool = True) -> None:
    """Show what would be done, and ask for the name of the environment.

    ``what`` would happen, in words; ``again`` is the command that does it without asking, with ``--yes`` in it.

    Raises:
        provision.errors.UsageError: nobody is there to answer.
        provision.errors.RefusedError: another answer was given.
        provision.errors.CancelledError: Ctrl-C was.
    """
    from provision.errors import CancelledError, RefusedError, UsageError
    from provision.report import text

    paint = console.paint(console.err)
    console.complain(f"{paint('bold', name)}: this would be done")
    for line in text.plan(plan, paint, verbose=console.verbose):
        console.complain(line)
    if not (sys.stdin.isatty() and console.err.isatty()):
        raise UsageError(f"{what}, and nobody is here to confirm it; nothing was done", next_step=again)
    warning = "This cannot be undone. " if is_final else ""
    asking = " ".join(word for word in again.split(" ") if word != "--yes")
    try:
        console.err.write(f"{warning}Type {name} to go on: ")
        console.err.flush()
        answer = sys.stdin.readline().strip()
    except KeyboardInterrupt:
        raise CancelledError("interrupted; nothing was done", next_step=asking) from None
    if answer != name:
        raise RefusedError(f"that is not {name}; nothing was done", next_step=asking)
