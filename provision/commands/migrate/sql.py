"""``provision migrate sql``: print the SQL of the revisions, and run nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, on_a_tree, one, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command(
    "sql",
    cls=MigrateCommand,
    arguments="[TARGET|FROM:TO]",
    epilog="Example: provision migrate sql specs/dev.yml > next.sql",
)
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> int:
    """Print the SQL from where the database is to TARGET, or to the target of the spec. Nothing is run.

    FROM:TO needs no server. A revision that reads from the database cannot be rendered: it is named, with the reason,
    and the exit code is 1 then.
    """
    from provision.alembic.verbs.sql import between
    from provision.report.migration_documents import rendered
    from provision.report.sql import lines

    given, rest = split(words)
    span = one(rest, default="", what="target")
    script = between(open_tree(console, given, tree), span)
    if console.json:
        console.document(rendered(script))
    else:
        for line in lines(script):
            console.put(line)
    return 1 if script.missing else 0
