"""``provision start``, ``stop``, ``restart`` and ``destroy``: what acts on the server without a plan of the spec."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from provision.commands.options import load_environment, pass_console, spec_argument, switches
from provision.commands.several import specs_argument
from provision.errors import CancelledError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provision.model import Plan, Result
    from provision.report.console import Console

FINAL: Final = "This cannot be undone."


def _command(name: str, about: str, *, nothing: str, argument: Any = spec_argument) -> click.Command:
    """Return a command; ``nothing`` is what to say where there was nothing to do."""

    def run(console: Console, spec: Path | None) -> None:
        environment = load_environment(console, spec)
        _carry_out(console, environment.made.name, getattr(environment, name), nothing=nothing)

    run.__doc__ = about
    example = f"Example: provision {name} specs/dev.yml"
    return click.command(name, epilog=example)(argument(switches(pass_console(run))))


start = _command(
    "start",
    "Start the server that was stopped or paused.\n\n    It runs as it was made: apply brings a changed spec to it.",
    nothing="already running",
)
stop = _command(
    "stop",
    "Stop the server; its data, its container and its settings stay.\n\n"
    "    Sessions are ended and the server shuts down cleanly, within the stop_timeout of the spec.",
    nothing="not running",
    argument=specs_argument(lenient=True),
)
restart = _command(
    "restart",
    "Stop the server and start it again.\n\n"
    "    Sessions are ended. For a setting that needs a restart use apply, which restarts only if it must.",
    nothing="nothing to do",
)


@click.command("destroy", epilog="Example: provision destroy specs/dev.yml")
@spec_argument
@click.option("--data", is_flag=True, help="Remove the data too, for good. Asks for the environment's name.")
@click.option("--yes", is_flag=True, help="Do not ask. Needed to remove data where there is no terminal to ask on.")
@switches
@pass_console
def destroy(console: Console, spec: Path | None, *, data: bool, yes: bool) -> None:
    """Remove the server, and keep its data: apply brings it back with the same rows.

    With --data the data is removed as well, after the environment's name was typed. There is no way back from that.
    """
    environment = load_environment(console, spec)
    name, plan = environment.made.name, environment.destruction(data=data)
    removes_data = data or any(step.destroys for step in plan.steps)
    if plan.is_empty:
        console.say(f"{name}: nothing to destroy")
        return
    if removes_data and not yes:
        again = console.line(f"destroy {'--data ' if data else ''}--yes")
        confirm(console, name, plan, what=f"the data of {name} would be removed for good", again=again)
    _carry_out(console, name, partial(environment.destroy, data=data), nothing="nothing to destroy")
    if not removes_data and any(step.address.kind != "directory" for step in plan.steps):
        console.say(f"  the data stays; {console.line('apply')} brings the server back")


def _carry_out(console: Console, name: str, act: Callable[..., Result], *, nothing: str) -> None:
    from provision.report.plan import recap
    from provision.report.progress import followed

    with followed(console) as progress:
        done = act(progress=progress)
    paint = console.paint(console.out)
    if not done.outcomes:
        console.say(f"{paint('bold', name)}: {nothing}")
        return
    console.lines(recap(name, done, paint))
    console.lines(f"  {each.step.consequence}" for each in done.outcomes if each.step.consequence)


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
