"""``provision migrate heads``: the revisions that nothing follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, none, on_a_tree, open_tree, show_revisions, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command("heads", cls=MigrateCommand, epilog="Example: provision migrate heads specs/dev.yml")
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> None:
    """List the revisions that nothing follows, as `alembic heads` does. The files are read, and nothing is run."""
    from provision.alembic.tree.listing import entries
    from provision.report import migrations

    given, rest = split(words)
    none(rest)
    chosen = open_tree(console, given, tree)
    show_revisions(console, chosen, entries(chosen.graph, chosen.graph.heads), migrations.head)
