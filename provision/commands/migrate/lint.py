"""``provision migrate lint``: what is dangerous in pending revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.migrate.shared import MigrateCommand, on_a_tree, one, open_tree, split
from provision.commands.options import json_option, pass_console, switches

if TYPE_CHECKING:
    from provision.alembic.trees import Tree
    from provision.alembic.verbs.lint import Linted
    from provision.alembic.verbs.trace import Trace
    from provision.report.console import Console


@click.command(
    "lint",
    cls=MigrateCommand,
    arguments="[TARGET|FROM:TO]",
    epilog="Example: provision migrate lint --trace specs/dev.yml",
)
@on_a_tree
@click.option("--all", "everything", is_flag=True, help="Every revision, also those that are applied. Needs no server.")
@click.option("--trace", is_flag=True, help="Run them on a scratch copy too, and show what they lock and rewrite.")
@json_option
@switches
@pass_console
def command(console: Console, words: tuple[str, ...], tree: str | None, *, everything: bool, trace: bool) -> int:
    """Look at the SQL of pending revisions with squawk. Nothing is run, unless --trace is given.

    FROM:TO and --all need no server. Exits with 1 when something is found; `# provision: ignore RULE` in the revision
    file, on the line of the operation or at the top, says that it is meant.
    """
    from provision.alembic.verbs.lint import lint
    from provision.errors import EXIT_DONE, EXIT_FAILED

    given, rest = split(words)
    span = one(rest, default="", what="target")
    if everything and span:
        raise click.UsageError(f"--all and {span} exclude each other")
    if trace and (everything or ":" in span):
        raise click.UsageError("--trace runs what is pending in the database, so it goes without --all and FROM:TO")
    chosen = open_tree(console, given, tree)
    found = lint(chosen, "base:heads" if everything else span)
    if not console.json:  # first: a revision that fails on the copy ends this
        _findings(console, found)
    seen = _trace(chosen, found, span) if trace else None
    _rest(console, chosen, found, seen)
    return EXIT_FAILED if found.findings else EXIT_DONE


def _trace(tree: Tree, found: Linted, span: str) -> Trace:
    from provision.alembic.tree.targets import resolve
    from provision.alembic.verbs.scratch import scratch_server
    from provision.alembic.verbs.trace import Trace, trace

    if not found.revisions:
        return Trace((), {}, is_clone=False, why="nothing is pending")
    target = resolve(tree.graph, span or tree.declared.target, found.rows)
    return trace(tree, scratch_server(tree), found.rows, target)


def _findings(console: Console, found: Linted) -> None:
    from provision.report.lint import lines

    for line in lines(found, console.paint(console.out), every=console.verbose):
        console.put(line, prose=True)


def _rest(console: Console, tree: Tree, found: Linted, seen: Trace | None) -> None:
    from provision.report import lint as report

    if console.json:
        console.document(report.document(tree, found, seen, console.elapsed()))
        return
    paint = console.paint(console.out)
    if seen is not None and found.revisions:
        for line in report.traced(tree, seen, paint, every=console.verbose):
            console.say(line)
    console.say(report.recap(tree, found, console.elapsed(), paint))
    if found.findings:
        console.say(f"{paint('cyan', 'next:')} {report.ADVICE}")
