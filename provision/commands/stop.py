"""``provision stop``: stop the server, and keep everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("stop", epilog="Example: provision stop specs/dev.yml")
@spec_argument
@switches
@pass_console
def command(console: Console, spec: Path | None) -> int:
    """Stop the server; its data, its container and its settings stay.

    Sessions are ended and the server shuts down cleanly, within the stop_timeout of the spec.
    """
    from provision.apply import stop
    from provision.commands.running import carry_out

    return carry_out(console, load_spec(console, spec, may_lack=True), stop, nothing="not running")
