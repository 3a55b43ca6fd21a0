"""The command line: the table of verbs, and the one boundary where an error becomes text and an exit code.

Nothing but click is loaded here, so that help, version and completion answer at once; the module of a verb is
imported when that verb is chosen. Click's own way to end a program is not used, because it exits with 2 for a
mistyped option, and 2 means "changes are pending" here.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn, cast

import click
from click.shell_completion import CompletionItem

from provision import __version__
from provision.commands.options import switches
from provision.report.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM: Final = "provision"

COMMANDS: Final = {
    "validate": "Check a spec, and show every problem at its line.",
    "render": "Write the files that a spec stands for, and nothing else.",
    "plan": "Show what apply would do, and why. Changes nothing.",
    "apply": "Make the server what the spec says.",
    "status": "Show what runs, where, and at which revision.",
    "verify": "Compare everything that is declared with what is. Changes nothing.",
    "logs": "Print what the server has logged.",
    "psql": "Open a psql session, logged in.",
    "url": "Print the connection URL, with its password.",
    "start": "Start the server that was stopped.",
    "stop": "Stop the server. The data stays.",
    "restart": "Restart the server.",
    "upgrade": "Bring the data to a newer major version.",
    "destroy": "Remove the server; its data only with --data.",
}
"""Every verb and its one-line help, in the order of the help page."""


class Verbs(click.Group):
    """A group that knows its commands by the table, and loads one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f"provision.commands.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, without loading a single verb."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or say which one was probably meant."""
        name = args[0]
        if name not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(_no_such_command(name, args[1:]), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb from the table."""
        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found + [item for item in click.Command.shell_complete(self, ctx, incomplete) if item not in found]


def _no_such_command(name: str, rest: Sequence[str]) -> str:
    if name.endswith((".yml", ".yaml")):
        return f"`{name}` stands where a command belongs: {PROGRAM} apply {' '.join((name, *rest))}"
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    if near:
        return f"there is no command `{name}`; did you mean `{near[0]}`?"
    return f"there is no command `{name}`; there are {', '.join(COMMANDS)}"


@click.group(
    PROGRAM,
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Help on one command: provision apply --help",
)
@click.version_option(__version__, "--version", prog_name=PROGRAM, message="%(prog)s %(version)s")
@switches
@click.pass_context
def verbs(ctx: click.Context) -> None:
    """Turn one YAML spec into a running, configured, migrated PostgreSQL."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(64)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. This is the one place that catches everything."""
    console = Console()
    try:
        with verbs.make_context(PROGRAM, list(arguments), obj=console) as ctx:
            code = verbs.invoke(ctx)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the boundary
        from provision.report.errors import tell

        before_dashes = list(arguments)[: list(arguments).index("--")] if "--" in arguments else arguments
        console.json = console.json or "--json" in before_dashes
        code = tell(error, console)
    console.close()
    return int(code or 0)


def main() -> NoReturn:
    """Run the program on the arguments of this process."""
    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        verbs.main(prog_name=PROGRAM)
    sys.exit(run(sys.argv[1:]))
