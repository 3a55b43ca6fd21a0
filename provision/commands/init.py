"""``provision init``: what a directory lacks for ``apply``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import json_option, pass_console, shell_word, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command("init", epilog="Example: provision init --image postgres:16")
@click.option("--directory", type=click.Path(path_type=Path), default=Path(), help="Where; the current directory.")
@click.option("--name", metavar="NAME", help="The name of the environment; that of the directory.")
@click.option("--image", metavar="IMAGE", help="The image of the server, with its major version: postgres:17.")
@click.option("--port", metavar="PORT", help="The port on this host, or auto; 5432 where it is free.")
@json_option
@switches
@pass_console
def command(console: Console, *, directory: Path, name: str | None, image: str | None, port: str | None) -> None:
    """Write a spec, an Alembic environment and models where they are missing.

    What is there is found and used: Alembic's configuration, the PostgreSQL of a compose file, models, a virtual
    environment. Nothing is overwritten, and nothing of the project is run. Needs neither Docker nor a server.
    """
    from provision.init.found import Options
    from provision.init.initialise import initialise
    from provision.report import beginning

    done = initialise(directory, Options(name, image, port))
    if console.json:
        console.document(beginning.document(done, directory))
        return
    there = shell_word(directory) if directory != Path() else None
    for line in beginning.lines(done, there, console.paint(console.out)):
        console.say(line)
