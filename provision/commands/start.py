"""``provision start``: start the server that was stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("start", epilog="Example: provision start specs/dev.yml")
@spec_argument
@switches
@pass_console
def command(console: Console, spec: Path | None) -> int:
    """Start the server that was stopped or paused.

    It runs as it was made: a changed spec is the business of apply.
    """
    from provision.apply import start
    from provision.commands.running import carry_out

    return carry_out(console, load_spec(console, spec, may_lack=True), start, nothing="already running", must_run=True)
