"""``provision restart``: restart the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("restart", epilog="Example: provision restart specs/dev.yml")
@spec_argument
@switches
@pass_console
def command(console: Console, spec: Path | None) -> int:
    """Stop the server and start it again.

    Sessions are ended. A setting that needs a restart is the business of apply, which restarts only if it must.
    """
    from provision.apply import restart
    from provision.commands.running import carry_out

    return carry_out(console, load_spec(console, spec, may_lack=True), restart, nothing="nothing to do", must_run=True)
