"""``provision migrate current``: the revision of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, none, on_a_tree, open_tree, show_revisions, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command("current", cls=MigrateCommand, epilog="Example: provision migrate current specs/dev.yml")
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> None:
    """Show the rows of the version table, as `alembic current` does. Changes nothing."""
    from provision.alembic.tree.listing import entries
    from provision.alembic.verbs.scratch import applied_rows
    from provision.report import migrations

    given, rest = split(words)
    none(rest)
    chosen = open_tree(console, given, tree)
    rows = applied_rows(chosen)
    show_revisions(console, chosen, entries(chosen.graph, rows, rows), migrations.current)
