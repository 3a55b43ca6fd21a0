"""``provision url``: the connection URL, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_spec, pass_console, spec_argument, switches

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("url", epilog='Example: export DATABASE_URL="$(provision url specs/dev.yml)"')
@spec_argument
@click.option("--driver", metavar="NAME", help="Name the driver, as SQLAlchemy wants it: postgresql+NAME://…")
@switches
@pass_console
def command(console: Console, spec: Path | None, *, driver: str | None) -> None:
    """Print the connection URL with its password, percent-encoded, and nothing else.

    This is the only command that prints the password; it is meant for programs.
    """
    from provision.observe import endpoint
    from provision.report.words import url

    console.put(url(endpoint(load_spec(console, spec)), whole=True, driver=driver))
