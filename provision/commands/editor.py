"""``provision schema``: what an editor knows of a spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import pass_console, switches
from provision.version import __version__

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command("schema", epilog="Example: provision schema -o .provision/spec.schema.json")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it into this file."
)
@switches
@pass_console
def schema(console: Console, *, output: Path | None) -> None:
    """Print the JSON schema of a spec: every key, every setting of PostgreSQL, and what each may be.

    An editor with yaml-language-server (VS Code: the extension YAML) reads it where the first line of a spec names it.
    Both `init` and `apply` keep it in .provision/ for that. docs/editors.md has the line.
    """
    from provision.environment import schema

    found = schema(output)
    if output is None:
        console.document(found)
    else:
        console.say(f"{output}: the schema of provision {__version__}")
