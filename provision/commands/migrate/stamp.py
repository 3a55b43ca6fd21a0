"""``provision migrate stamp``: write a revision into the version table, and run nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, carry_out, on_a_tree, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "stamp", cls=MigrateCommand, arguments="TARGET...", epilog="Example: provision migrate stamp specs/dev.yml 0004"
)
@on_a_tree
@click.option("--purge", is_flag=True, help="Forget every row that is there, also of revisions that nobody knows.")
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None, *, purge: bool) -> int:
    """Write into the version table that TARGET is applied. No revision is run, and no other table is touched.

    Several targets are several heads. Rows on other branches stay, unless --purge takes them away.
    """
    from provision.alembic.verbs.moving import stamp

    given, rest = split(words)
    if not rest:
        raise click.UsageError("which revision? Write the one that the database is really at, heads, or base")
    chosen = open_tree(console, given, tree)
    return carry_out(console, stamp(chosen, rest, purge=purge), "stamp")
