"""What the commands share: switches and options, the environment, and the question before data goes away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from provision.commands.specfile import DEFAULT_NAMES, find_spec, shell_word
from provision.environ import INSECURE_TCP, NO_COMMANDS
from provision.errors import EXIT_USAGE, CancelledError, ProvisionError, RefusedError, UsageError, command
from provision.report.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.environment import Environment
    from provision.model import Plan

F = TypeVar("F", bound="Callable[..., Any]")

_OFF = ("", "0", "false", "no", "off", "f", "n")

pass_console = click.make_pass_decorator(Console)


def _switch(*names: str, sets: str, text: str, envvar: str | None = None) -> Callable[[F], F]:
    """Return an option that sets an attribute of the console."""

    def turn_on(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's shape
        if value:
            setattr(ctx.obj, sets, True)

    return click.option(*names, is_flag=True, expose_value=False, envvar=envvar, callback=turn_on, help=text)


def switches(function: F) -> F:
    """Add the switches that every command, and the program itself, understands."""
    for option in (
        _switch("--no-color", sets="colourless", text="No colours (so does NO_COLOR=1 in the environment)."),
        _switch("-v", "--verbose", sets="verbose", text="More: every effect, all evidence, tracebacks."),
        _switch("-q", "--quiet", sets="quiet", text="Errors only (and data that was asked for, such as a URL)."),
    ):
        function = option(function)
    return function


def help_without_verb(ctx: click.Context) -> None:
    """Print the help page of a group where no verb was named, which is a wrong command line."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(EXIT_USAGE)


json_option = _switch("--json", sets="json", text="Print one JSON document (docs/json.md) instead of text.")
no_commands_option = _switch(
    "--no-commands",
    sets="no_commands",
    envvar=NO_COMMANDS,
    text=f"Run nothing that the spec names, and log in nowhere ({NO_COMMANDS}=1 in the environment says the same).",
)


def format_option(*others: str) -> Callable[[F], F]:
    """Return the option that says for whom results are written; a runner of GitHub says it by a variable."""

    def choose(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        console: Console = ctx.obj
        console.verb = ctx.command_path
        console.format = value or ("github" if console.environ.get("GITHUB_ACTIONS") == "true" else "text")
        console.prints_data = console.prints_data or console.format in others

    text = "github: annotations and a summary beside the text, which is the default in GitHub Actions"
    documents = "".join(f"; {each}: this document and nothing else on standard output" for each in others)
    choices = click.Choice(["text", "github", *others])
    return click.option("--format", type=choices, expose_value=False, callback=choose, help=f"{text}{documents}.")


def teller(console: Console) -> Callable[[Console, ProvisionError], None] | None:
    """Return what tells an error to the pipeline that this runs in; None where there is none to tell."""
    if console.format != "github":
        return None
    from provision.report.pipelines.results import failed

    return failed


diff_option = click.option("--diff", is_flag=True, help="Show how the rendered files change.")
detailed_exitcode_option = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when changes are pending."
)


TENANTS: Final = (
    click.option(
        "--tenant",
        "tenants",
        multiple=True,
        metavar="NAME",
        help="Of the tenants of the migrations, only this one. Repeatable.",
    ),
    click.option("--except", "without", multiple=True, metavar="NAME", help="All tenants but this one. Repeatable."),
)
"""The options that choose some of the tenants of the migrations."""
PLANNING: Final = (
    diff_option,
    click.option("--sql", is_flag=True, help="Print the SQL that the migrations would run."),
    detailed_exitcode_option,
    click.option("--golden", is_flag=True, help="Save what was made as a golden, which new data can begin with."),
    click.option("--no-golden", is_flag=True, help="Begin new data with no golden (docs/golden.md)."),
    click.option(
        "--runtime",
        type=click.Choice(["docker", "embedded", "external"]),
        help="Where a new server lives, whatever the spec says; for this run.",
    ),
    click.option("--allow-downgrade", is_flag=True, help="Undo revisions where the database is ahead of the target."),
    click.option("--data", is_flag=True, help="Also remove what holds data, where the spec says `state: absent`."),
    click.option("--seed", is_flag=True, help="Run seeds also where others run the server, and all `run: always`."),
    click.option(
        "--take-ownership", is_flag=True, help="Give the role of the migrations what earlier ones made as another."
    ),
    click.option("--no-restart", is_flag=True, help="Leave what restarts or recreates a running server for later."),
    click.option(
        "--restart-cluster", is_flag=True, help="Have Patroni restart the members that wait for it, standbys first."
    ),
    click.option(
        "--reset-overrides", is_flag=True, help="Take back what ALTER SYSTEM has set, so that the spec is in force."
    ),
    *TENANTS,
)
"""The options that plan and apply share, as :func:`planning` takes them."""


def planning(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a plan with one for goldens: None where neither was given."""
    golden, without = options.pop("golden"), options.pop("no_golden")
    if golden and without:
        raise click.UsageError("--golden and --no-golden exclude each other")
    return {**options, "golden": golden or (False if without else None)}


def spec_argument(function: F) -> F:
    """Add the spec that a command is about."""
    return about_spec(
        click.argument("spec", required=False, type=click.Path(path_type=Path), metavar="[SPEC]")(function)
    )


def about_spec(function: F) -> F:
    """Say in the help of a command which spec it takes where none is named, and add what changes the spec for a run.

    Click shows no help for arguments.
    """
    function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n    Without SPEC it is ./{DEFAULT_NAMES[0]}.\n    "
    return _set_option(_insecure_option(function))


def _allow_tcp(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's shape
    if value:
        ctx.obj.environ = {**ctx.obj.environ, INSECURE_TCP: "1"}


_insecure_option = click.option(
    "--insecure-tcp",
    is_flag=True,
    expose_value=False,
    callback=_allow_tcp,
    help=f"Let the Docker engine be a tcp:// of another host without TLS ({INSECURE_TCP}=1 says the same).",
)


def _keep_overrides(ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        ctx.obj.overrides = list(value)


_set_option = click.option(
    "--set",
    multiple=True,
    expose_value=False,
    callback=_keep_overrides,
    metavar="KEY=VALUE",
    help="Change a key of the spec for this run, like server.port=5433. Repeatable; no secrets.",
)


def load_environment(console: Console, given: Path | None, *, runs_nothing: bool = False) -> Environment:
    """Find the spec file; its environment is in use until the command ends, which may run nothing that it names."""
    path = find_spec(given, Path())
    name_spec(console, path if given is not None else None)
    if not (console.no_commands or runs_nothing) and console.environ.get(NO_COMMANDS, "") not in _OFF:
        raise _runs_commands(console.spec)
    found = environment_of(console, path)
    click.get_current_context().with_resource(found.context())
    return found


def environment_of(console: Console, path: Path) -> Environment:
    """Return the environment of a spec as this command line changes it."""
    from provision.environment import Environment

    return Environment(path, environ=console.environ, commands=not console.no_commands, set=console.overrides)


def name_spec(console: Console, given: Path | None) -> None:
    """Have the commands that are suggested name the spec as it was typed, with what is set for this run."""
    console.path = shell_word(given) if given is not None else ""
    set_ = [f"--set {shell_word(Path(each)) if each else repr('')}" for each in console.overrides]
    console.spec = " ".join([*([console.path] if given is not None else []), *set_])


def _runs_commands(spec: str) -> UsageError:
    """Return the error of a command that cannot do its work without what the spec names."""
    name = click.get_current_context().command_path
    again = f"{name} {spec}".rstrip()
    return UsageError(
        f"`{name}` runs what the spec names, and {NO_COMMANDS} forbids that",
        evidence=["validate, plan, render, status, verify and migrate check --files do without"],
        next_step=command("plan") + f"   (where you trust the spec: env -u {NO_COMMANDS} {again})",
    )


def trusted(console: Console, line: str) -> str:
    """Return a command line that runs what the spec names, where the environment forbids that."""
    unset = f"env -u {NO_COMMANDS} " if console.environ.get(NO_COMMANDS, "") not in _OFF else ""
    return f"{unset}{line}   (where you trust the spec: it runs what the spec names)"


def subcommand(
    name: str,
    example: str,
    *options: Callable[[Any], Any],
    argument: Callable[[Any], Any] | None = spec_argument,
    json: bool = True,
    group: click.Group | None = None,
    **more: Any,
) -> Callable[[Callable[..., object]], click.Command]:
    """Make a command of a function of the console: about one spec unless ``argument`` says another, with the switches.

    ``options`` are in the order of the help page, and ``more`` is for click.
    """

    def make(function: Callable[..., object]) -> click.Command:
        made: Any = pass_console(function)
        for each in reversed((argument, *options, json_option if json else None, switches)):
            made = each(made) if each is not None else made
        found: click.Command = (group or click).command(name, epilog=f"Example: {example}", **more)(made)
        return found

    return make


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
    console.complain(*lines(plan, paint, verbose=console.verbose))
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
