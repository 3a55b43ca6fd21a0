"""``provision migrate upgrade``: run the revisions up to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, carry_out, on_a_tree, one, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "upgrade", cls=MigrateCommand, arguments="[TARGET]", epilog="Example: provision migrate upgrade specs/dev.yml +1"
)
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> int:
    """Run the revisions up to TARGET, as an apply does: under the lock, with retries, and proved afterwards.

    TARGET is a revision or the beginning of one, head, heads, branch@head, or steps like +1; without it, the target of
    the spec. What is beyond it stays.
    """
    from provision.alembic.verbs.moving import upgrade

    given, rest = split(words)
    target = one(rest, default="", what="target")
    chosen = open_tree(console, given, tree)
    return carry_out(console, upgrade(chosen, target or chosen.declared.target), "upgrade")
