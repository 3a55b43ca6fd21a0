"""``provision migrate merge``: write a revision that joins several heads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, message_option, on_a_tree, open_tree, show_written, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "merge",
    cls=MigrateCommand,
    arguments="[REVISION...]",
    epilog="Example: provision migrate merge -m 'join the branches' specs/dev.yml",
)
@on_a_tree
@message_option
@click.option("--branch-label", metavar="LABEL", help="A label for the branch that begins with it.")
@click.option("--rev-id", metavar="ID", help="Its id, in place of one that is made up.")
@json_option
@switches
@pass_console
def command(
    console: Console,
    words: tuple[str, ...],
    tree: str | None,
    *,
    message: str,
    branch_label: str | None,
    rev_id: str | None,
) -> None:
    """Write a revision that follows several heads: those that are named, or all of them."""
    from provision.alembic.verbs.writing import Wanted, merge

    given, rest = split(words)
    chosen = open_tree(console, given, tree)
    wanted = Wanted(message, branch_label=branch_label, rev_id=rev_id)
    show_written(console, chosen, merge(chosen, wanted, rest))
