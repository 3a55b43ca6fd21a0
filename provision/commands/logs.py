"""``provision logs``: what the server has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("logs", epilog="Example: provision logs -f -n 20 specs/dev.yml")
@spec_argument
@click.option("-f", "--follow", is_flag=True, help="Go on printing until interrupted.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
@switches
@pass_console
def command(console: Console, spec: Path | None, *, follow: bool, tail: int | None) -> int:
    """Print the server's log, oldest line first."""
    from provision.errors import EXIT_DONE, EXIT_INTERRUPTED
    from provision.observe import logs

    try:
        found = logs(load_spec(console, spec, may_lack=True), follow=follow, tail=tail)
        if found.elsewhere:
            console.complain(
                "logging_collector is on: the server writes its log into files, and prints its first lines only"
            )
            console.complain(f"next: {found.elsewhere}")
        for line in found.lines:
            console.put(line.rstrip("\r\n"))
            if console.reader_gone:
                break
    except KeyboardInterrupt:
        if not follow:
            raise
        return EXIT_INTERRUPTED  # the way to end it, so there is nothing to say
    return EXIT_DONE
