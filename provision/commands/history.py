"""``provision history``: what was done to an environment, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import json_option, load_environment, pass_console, spec_argument, switches
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("history", epilog="Example: provision history --last 3 specs/dev.yml")
@spec_argument
@click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="So many runs.")
@json_option
@switches
@pass_console
def command(console: Console, spec: Path | None, *, last: int) -> int:
    """Show the last runs that changed something, or failed on the way: who, when, from which commit, and what.

    They are noted in the table provision.runs of the environment's database. -v also shows rendered files.
    """
    from provision.report import history as report

    environment = load_environment(console, spec)
    runs = environment.history(last)
    if console.json:
        console.document(report.document(environment.spec, runs))
        return EXIT_DONE
    for line in report.lines(environment.spec, runs, console.paint(console.out), verbose=console.verbose):
        console.put(line, prose=True)
    return EXIT_DONE
