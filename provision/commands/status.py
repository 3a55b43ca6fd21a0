"""``provision status``: what runs, where, and at which revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    detailed_exitcode_option,
    json_option,
    load_spec,
    no_commands_option,
    pass_console,
    spec_argument,
    switches,
)

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("status", epilog="Example: provision status --json specs/dev.yml")
@spec_argument
@detailed_exitcode_option
@no_commands_option
@json_option
@switches
@pass_console
def command(console: Console, spec: Path | None, *, detailed_exitcode: bool) -> int:
    """Show the server, its version, its data, its revision, and what differs from the spec.

    Nothing is changed. Where no plan can be made, the error follows what is known. Exits with 69 when the engine or the
    server cannot be reached.
    """
    from provision.errors import EXIT_CHANGES_PENDING, EXIT_DONE, EXIT_UNAVAILABLE
    from provision.observe import overview

    found = overview(load_spec(console, spec, may_lack=True))
    if console.json and found.refusal is None:
        from provision.report.documents import status

        console.document(status(found))
    elif not console.json:
        from provision.report import text

        for line in text.status(found, console.paint(console.out), verbose=console.verbose):
            console.say(line)
    if found.refusal is not None:
        raise found.refusal
    if found.status.server == "unreachable":
        return EXIT_UNAVAILABLE
    return EXIT_CHANGES_PENDING if detailed_exitcode and found.plan.differs else EXIT_DONE
