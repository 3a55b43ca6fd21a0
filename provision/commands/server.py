"""``provision start``, ``stop``, ``restart`` and ``destroy``: what acts on the server without a plan of the spec."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.commands.asking import confirm
from provision.commands.options import load_environment, spec_argument, subcommand
from provision.commands.several import specs_argument
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.environment import Environment
    from provision.model import Result
    from provision.report.console import Console


def _command(name: str, about: str, *options: Any, nothing: str, argument: Any = spec_argument) -> click.Command:
    """Return a command; ``nothing`` is what to say where there was nothing to do."""

    def run(console: Console, spec: Path | None, *, every: bool = False) -> int:
        if every:
            from provision.commands.list_ import stop_all

            if spec is not None:
                raise click.UsageError("--all goes without SPEC")
            return stop_all(console)
        environment = load_environment(console, spec)
        _carry_out(console, environment, name, getattr(environment, name), nothing=nothing)
        return EXIT_DONE

    run.__doc__ = about
    return subcommand(name, f"provision {name} specs/dev.yml", *options, argument=argument)(run)


start = _command(
    "start",
    "Start the server that was stopped or paused.\n\n    It runs as it was made: apply brings a changed spec to it.",
    nothing="already running",
)
stop = _command(
    "stop",
    "Stop the server; its data, its container and its settings stay.\n\n"
    "    Sessions are ended and the server shuts down cleanly, within the stop_timeout of the spec.",
    click.option(
        "--all", "every", is_flag=True, help="Stop every server that you have made from this machine (see list)."
    ),
    nothing="not running",
    argument=specs_argument(lenient=True),
)
restart = _command(
    "restart",
    "Stop the server and start it again.\n\n"
    "    Sessions are ended. For a setting that needs a restart use apply, which restarts only if it must.",
    nothing="nothing to do",
)


@subcommand(
    "destroy",
    "provision destroy specs/dev.yml",
    click.option(
        "--name", metavar="NAME", help="The environment of this name (see list), also where its spec is gone."
    ),
    click.option(
        "--directory", type=click.Path(path_type=Path), metavar="PATH", help="With --name: the one that was made there."
    ),
    click.option("--data", is_flag=True, help="Remove the data too, for good. Asks for the environment's name."),
    click.option("--yes", is_flag=True, help="Do not ask. Needed to remove data where there is no terminal to ask on."),
)
def destroy(
    console: Console, /, spec: Path | None, *, name: str | None, directory: Path | None, data: bool, yes: bool
) -> None:
    """Remove the server, and keep its data: apply brings it back with the same rows.

    With --data the data is removed as well, after the environment's name was typed. There is no way back from that.
    """
    if (spec and name) or (directory and not name):
        raise click.UsageError("write SPEC, or --name NAME, which --directory PATH goes with")
    if name is not None:
        from provision.commands.list_ import destroy_named

        spec = destroy_named(console, name, directory, data=data, yes=yes)
        if spec is None:
            return
    _destroy(console, load_environment(console, spec), data=data, yes=yes)


def _destroy(console: Console, environment: Environment, *, data: bool, yes: bool) -> None:
    name, plan = environment.made.name, environment.destruction(data=data)
    removes_data = data or any(step.destroys for step in plan.steps)
    for each in plan.remarks:
        console.complain(f"{each}; to have one: {console.line('start')}")
    if removes_data and not yes and not plan.is_empty:
        again = console.line(f"destroy {'--data ' if data else ''}--yes")
        confirm(console, name, plan, what=f"the data of {name} would be removed for good", again=again)
    act = partial(environment.destroy, data=data)
    _carry_out(console, environment, "destroy", act, nothing="nothing to destroy")
    if not removes_data and any(step.address.kind != "directory" for step in plan.steps):
        from provision.spec.model import Ephemeral

        is_kept = not isinstance(environment.made.server.data, Ephemeral)
        console.say(f"  {'the data stays; ' if is_kept else ''}{console.line('apply')} brings the server back")


def _carry_out(
    console: Console, environment: Environment, verb: str, act: Callable[..., Result], *, nothing: str
) -> None:
    from provision.commands.list_ import show
    from provision.report.progress import followed

    with followed(console) as progress:
        done = act(progress=progress)
    show(console, verb, environment.made.name, environment.path, done, nothing=nothing)
