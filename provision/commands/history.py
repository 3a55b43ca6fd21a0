"""``provision history``: what was done to an environment, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_environment, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@subcommand(
    "history",
    "provision history --last 3 specs/dev.yml",
    click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="So many runs."),
)
def command(console: Console, spec: Path | None, *, last: int) -> None:
    """Show the last runs that changed something, or failed on the way: who, when, from which commit, and what.

    They are noted in the table provision.runs of the environment's database. -v also shows rendered files.
    """
    from provision.report import history as report

    environment = load_environment(console, spec)
    runs = environment.history(last)
    lines = report.lines(environment.spec, runs, console.paint(console.out), verbose=console.verbose)
    console.show(lambda: report.document(environment.spec, runs), lines, prose=True)
