"""``provision migrate downgrade``: undo the revisions down to a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, carry_out, on_a_tree, one, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "downgrade", cls=MigrateCommand, arguments="TARGET", epilog="Example: provision migrate downgrade specs/dev.yml -1"
)
@on_a_tree
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can answer.")
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None, *, yes: bool) -> int:
    """Undo the revisions that follow TARGET, and what depends on them. What they added goes away, with its data.

    TARGET is a revision that is applied, steps like -1 or branch@-1, or base. Shows the revisions first, and asks for
    the environment's name.
    """
    from provision.alembic.verbs.moving import downgrade
    from provision.commands.server import confirm

    given, rest = split(words)
    target = one(rest, default=None, what="target")
    chosen = open_tree(console, given, tree)
    decided = downgrade(chosen, target)
    if not yes and not decided.plan.is_empty:
        named = f"--tree {tree} " if tree else ""
        again = console.line(f"migrate downgrade {named}--yes", target)
        confirm(console, chosen.spec.name, decided.plan, what="data would go away", again=again)
    return carry_out(console, decided, "downgrade")
