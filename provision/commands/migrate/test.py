"""``provision migrate test``: four laws that a tree of migrations keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, none, on_a_tree, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.alembic.verbs.laws import Law
    from provision.report.console import Console


@click.command("test", cls=MigrateCommand, epilog="Example: provision migrate test specs/dev.yml")
@on_a_tree
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None) -> int:
    """Try four laws on scratch databases: one head, empty to head, up-down-up, and models.

    The declared database is only read. The scratch databases are dropped at the end. Exits with 1 when a law is broken.
    """
    from provision.alembic.verbs.laws import try_laws
    from provision.alembic.verbs.scratch import scratch_server
    from provision.errors import EXIT_DONE, EXIT_FAILED, with_spec
    from provision.report import laws as report

    given, rest = split(words)
    none(rest)
    chosen = open_tree(console, given, tree)
    endpoint = scratch_server(chosen)
    paint = console.paint(console.talk)
    console.say(report.heading(chosen, endpoint.address, paint))

    def tell(law: Law) -> None:
        put = console.complain if console.quiet and law.outcome == "failed" else console.say
        told = replace(law, next_step=with_spec(law.next_step or "", console.spec or "", console.tree))
        for line in report.lines(told, paint, every=console.verbose):
            put(line)

    found = try_laws(chosen, endpoint, tell)
    if console.json:
        console.document(report.document(chosen, found, console.elapsed()))
    console.say(report.recap(found, chosen.spec.name, console.elapsed(), paint))
    return EXIT_FAILED if any(law.outcome == "failed" for law in found) else EXIT_DONE
