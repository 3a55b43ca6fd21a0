"""``provision list``, ``start``, ``stop``, ``restart`` and ``destroy``: servers, without a plan of their specs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.commands.options import confirm, load_environment, spec_argument, subcommand
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
    from provision.report.progress import followed

    with followed(console) as progress:
        done = act(progress=progress)
    show(console, verb, environment.made.name, environment.path, done, nothing=nothing)


@subcommand("list", "provision list", argument=None)
def list_(console: Console) -> None:
    """List every environment of this machine and engine, whatever directory it was made in.

    Of each: its state, version, address, revision and size, and where its spec is, or that its directory is gone.
    Nothing is started, and no program of a project is run; what only that would tell is a question mark.
    """
    from provision.api import environments
    from provision.report import listing

    found = environments(environ=console.environ)
    console.show(lambda: listing.document(found), listing.lines(found, console.paint(console.out)), prose=True)
    if found.silence and not console.json:
        console.complain(f"note: those of Docker are not known: {found.silence}")


def stop_all(console: Console) -> int:
    """Stop every server that runs and that this user has made from this machine; return the exit code."""
    from provision.everywhere import acting, listing

    others = [each for each in listing(console.environ, inside=False).environments if each.not_mine and each.is_up]
    done = acting.stop_all(console.environ)
    code = max((error.exit_code for *_, error in done if error is not None), default=EXIT_DONE)
    if console.json:
        from provision.report.documents import acted

        console.document(
            [
                acted("stop", row.name, row.spec, found, error=error.sentence if error else None)
                for row, found, error in done
            ]
        )
        return code
    paint = console.paint(console.out)
    for row, found, error in done:
        if error is None:
            lost = "".join(f"; {each.step.consequence}" for each in found.outcomes if each.step.destroys)
            console.say(f"{paint('bold', row.name)}: stopped  ({row.runtime}, {row.directory}){lost}")
        else:
            console.complain(f"{row.name} of {row.directory}: {error.sentence}")
    if not done:
        console.say("nothing of yours runs")
    for row in others:
        console.say(f"{paint('bold', row.name)}: left, {row.not_mine}")
    return code


def destroy_named(console: Console, name: str, directory: Path | None, *, data: bool, yes: bool) -> Path | None:
    """Remove an environment by its name; return its spec where that is there and says the same name.

    The spec knows more: what of the data was made for it, and what its templates have.
    """
    import shlex

    from provision.api import spec_of
    from provision.everywhere import acting
    from provision.report.progress import followed

    row = acting.named(console.environ, name, directory)
    spec = spec_of(row, environ=console.environ)
    if spec is not None:
        return spec
    plan = acting.destruction(row, console.environ, data=data)
    if not yes and any(step.destroys for step in plan.steps):
        where = f"of {row.directory}" + (", which is gone," if row.is_gone else "")
        options = ["destroy", *(["--data"] if data else []), "--yes", "--name", name]
        again = shlex.join(["provision", *options, *(["--directory", str(directory)] if directory else [])])
        confirm(console, name, plan, what=f"the data of {name} {where} would be removed for good", again=again,
                warning=f"This is the environment {where.rstrip(',')}. This cannot be undone.")  # fmt: skip
    with followed(console) as progress:
        done = acting.destroy(row, console.environ, progress, data=data)
    show(console, "destroy", name, None, done, nothing="nothing to destroy without --data")
    return None


def show(console: Console, verb: str, name: str, spec: Path | None, done: Result, *, nothing: str) -> None:
    """Show what was done to a server; ``nothing`` is what to say where that was nothing."""
    if console.json:
        from provision.report.documents import acted

        console.document(acted(verb, name, spec, done))
        return
    from provision.report.plan import recap

    paint = console.paint(console.out)
    if not done.outcomes:
        console.say(f"{paint('bold', name)}: {nothing}")
        return
    console.lines(recap(name, done, paint))
    console.lines(f"  {each.step.consequence}" for each in done.outcomes if each.step.consequence)
