"""``provision psql``: a session on the declared database, logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console

PSQL_ARGUMENTS: Final = "provision.psql"


class AfterDashes(click.Command):
    """A command that keeps what follows ``--`` for another program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the other program's arguments aside, and parse the rest."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[PSQL_ARGUMENTS] = tuple(args[at + 1 :])
        try:
            return super().parse_args(ctx, args[:at])
        except click.UsageError as error:
            message = f"{error.format_message().rstrip('.')}; what is meant for psql follows --"
            raise click.UsageError(message, ctx) from error


@click.command(
    "psql",
    cls=AfterDashes,
    options_metavar="[OPTIONS]",
    epilog="Example: provision psql specs/dev.yml -- -c 'SELECT version()'",
)
@spec_argument
@switches
@pass_console
@click.pass_context
def command(ctx: click.Context, console: Console, spec: Path | None) -> int:
    """Open psql on the declared database. What follows -- is passed on to it.

    The password is handed over without appearing in a command line. The exit code is psql's own.
    """
    from provision.apply import psql

    return psql(load_spec(console, spec), ctx.meta[PSQL_ARGUMENTS])
