"""``provision tunnel``: the port of this machine that leads to a server behind ssh, also after the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_environment, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from provision.export.tunnels import Open
    from provision.report.console import Console


@subcommand("tunnel", "provision tunnel specs/dev.yml", click.option("--stop", is_flag=True, help="End the tunnel."))
def command(console: Console, spec: Path | None, *, stop: bool) -> None:
    """Open a tunnel to a server whose engine is reached by ssh, and keep it open in the background.

    Then url and env have an address for other programs. Every other command opens a tunnel by itself, which ends with
    it. The port of this machine stays the same from one time to the next, where it is free.
    """
    environment = load_environment(console, spec)
    if stop:
        was_open = environment.close_tunnel()
        _answer(console, environment.made.name, None, "tunnel closed" if was_open else "no tunnel was open")
        return
    found = environment.open_tunnel()
    if not found.process:
        words = f"no tunnel is needed: the server is reached at {found.endpoint.address}"
    else:
        words = f"tunnel {'open' if found.is_new else 'is open already'}: {found.endpoint.address} → {found.leads_to}"
    _answer(console, environment.made.name, found, words)


def _answer(console: Console, name: str, found: Open | None, words: str) -> None:
    if console.json:
        from provision.report import documents

        console.document(documents.tunnel(name, found))
        return
    from provision.report.survey import suggestions

    paint = console.paint(console.out)
    console.say(f"{paint('bold', name)}: {words}")
    if found is not None and found.is_new:
        commands = {
            console.line("url"): "its URL, with the password",
            console.line("tunnel --stop"): "end it",
        }
        console.lines(suggestions(commands, paint))
