"""``provision migrate history``: the revisions, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, on_a_tree, one, open_tree, show_revisions, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "history", cls=MigrateCommand, arguments="[FROM:TO]", epilog="Example: provision migrate history specs/dev.yml -3:"
)
@on_a_tree
@click.option("-i", "--indicate-current", is_flag=True, help="Mark where the database is; this asks the server.")
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None, *, indicate_current: bool) -> None:
    """List the revisions, newest first, as `alembic history` does. The files are read, and nothing is run.

    FROM:TO lists a part of them, both ends included: base:0004, 0002:, :head. An end that counts from where the
    database is (current, -2, +1) asks the server.
    """
    from provision.alembic.tree.listing import entries, history
    from provision.alembic.tree.targets import needs_rows
    from provision.report import migrations

    given, rest = split(words)
    between = one(rest, default=":", what="range")
    chosen = open_tree(console, given, tree)
    rows = None
    if indicate_current or any(needs_rows(each) for each in between.split(":")):
        from provision.alembic.verbs.scratch import applied_rows

        rows = applied_rows(chosen)
    names = history(chosen.graph, between, rows or ())
    listed = entries(chosen.graph, names, rows if indicate_current else None)
    show_revisions(console, chosen, listed, migrations.history)
