"""``provision migrate check``: the models against the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, none, on_a_tree, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console


@click.command("check", cls=MigrateCommand, epilog="Example: provision migrate check specs/dev.yml")
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> int:
    """Compare the models of env.py with the database. Nothing is changed: the session may only read.

    Exits with 1 where they differ, as `alembic check` fails.
    """
    from provision.alembic.verbs.writing import advice, check
    from provision.errors import EXIT_DONE, EXIT_FAILED
    from provision.report import migrations

    given, rest = split(words)
    none(rest)
    chosen = open_tree(console, given, tree)
    found = check(chosen)
    if console.json:
        from provision.report.migration_documents import compared

        console.document(compared(chosen.spec, chosen.name, found))
    else:
        named = f"--tree {tree} " if tree else ""
        again = console.line(f"migrate revision {named}--autogenerate -m '…'")
        for line in migrations.compared(
            chosen.spec.name, found, advice(found.differences, again), console.paint(console.out)
        ):
            console.say(line)
    return EXIT_FAILED if found.differences else EXIT_DONE
