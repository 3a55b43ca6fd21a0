"""``provision erd``: the tables of a database as text for programs that draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_environment, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@subcommand(
    "erd",
    "provision erd --dot specs/dev.yml | dot -Tsvg > tables.svg",
    click.option("--mermaid", "language", flag_value="mermaid", default="mermaid", help="As Mermaid (the default)."),
    click.option("--dot", "language", flag_value="dot", help="As a graph for Graphviz."),
    click.option("--database", metavar="NAME", help="Another declared database than that of the server."),
)
def command(console: Console, spec: Path | None, *, language: str, database: str | None) -> None:
    """Print the tables of the database with their columns and keys, as text that other programs draw.

    The server is asked, and nothing is changed. `provision report` draws them by itself.
    """
    from provision.report.diagram import erd_text as erd

    environment = load_environment(console, spec)
    name, found = environment.tables(database=database)
    lines = erd.mermaid(found) if language == "mermaid" else erd.dot(found)
    console.show(lambda: erd.tables(environment.spec, name, found), lines)
