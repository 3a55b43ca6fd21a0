"""``provision access``, ``erd``, ``history`` and ``import``: what is inside a server, which is only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import load_environment, subcommand
from provision.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provision.environment import Environment
    from provision.report.console import Console


@subcommand(
    "access",
    "provision access --on shop.customers specs/dev.yml",
    click.option("--role", metavar="ROLE", help="Only what this role can do."),
    click.option("--on", metavar="OBJECT", help="Only this: shop.customers, shop.*, a schema, or a database."),
    click.option(
        "--lint", is_flag=True, help="Look for what is dangerous instead; exits with 1 when something is found."
    ),
    click.option("--ignore", multiple=True, metavar="RULE", help="With --lint: what this rule finds is meant."),
)
def access(
    console: Console, spec: Path | None, *, role: str | None, on: str | None, lint: bool, ignore: tuple[str, ...]
) -> int:
    """Show who can use what in the declared databases, and through what. Changes nothing.

    The server itself answers (has_table_privilege and its kin), so that every way counts: as the owner, by a grant, as
    a member of a group, through PUBLIC, after SET ROLE.
    """
    if lint and (role or on):
        raise click.UsageError("--lint looks at every role, so it goes without --role and --on")
    if ignore and not lint:
        raise click.UsageError("--ignore goes with --lint")
    environment = load_environment(console, spec)
    return _lint(console, environment, ignore) if lint else _show(console, environment, role, on)


def _show(console: Console, environment: Environment, role: str | None, on: str | None) -> int:
    from provision.report import access as report

    found = environment.access(role=role, on=on)
    paint, width = console.paint(console.out), console.columns(console.out) or report.WIDTH
    if not console.json:
        console.put(report.heading(found, environment.spec, console.elapsed(), paint), prose=True)
    console.show(
        lambda: report.document(found, environment.spec, console.elapsed()),
        report.lines(found, paint, width, every=console.verbose),
    )
    return EXIT_DONE


def _lint(console: Console, environment: Environment, ignored: Sequence[str]) -> int:
    from provision.report import access_lint as report

    found, paint = environment.access_lint(ignored=ignored), console.paint(console.out)
    console.show(
        lambda: report.document(found, environment.spec, console.elapsed()),
        report.lines(found, paint),
        prose=True,
        recap=report.recap(found, environment.spec, console.elapsed(), paint),
    )
    return EXIT_FAILED if found.found else EXIT_DONE


@subcommand(
    "erd",
    "provision erd --dot specs/dev.yml | dot -Tsvg > tables.svg",
    click.option("--mermaid", "language", flag_value="mermaid", default="mermaid", help="As Mermaid (the default)."),
    click.option("--dot", "language", flag_value="dot", help="As a graph for Graphviz."),
    click.option("--database", metavar="NAME", help="Another declared database than that of the server."),
)
def erd(console: Console, spec: Path | None, *, language: str, database: str | None) -> None:
    """Print the tables of the database with their columns and keys, as text that other programs draw.

    The server is asked, and nothing is changed. `provision report` draws them by itself.
    """
    from provision.report.diagram import erd_text as erd

    environment = load_environment(console, spec)
    name, found = environment.tables(database=database)
    lines = erd.mermaid(found) if language == "mermaid" else erd.dot(found)
    console.show(lambda: erd.tables(environment.spec, name, found), lines)


@subcommand(
    "history",
    "provision history --last 3 specs/dev.yml",
    click.option("--last", type=click.IntRange(min=1), default=10, show_default=True, help="So many runs."),
)
def history(console: Console, spec: Path | None, *, last: int) -> None:
    """Show the last runs that changed something, or failed on the way: who, when, from which commit, and what.

    They are noted in the table provision.runs of the environment's database. -v also shows rendered files.
    """
    from provision.report import history as report

    environment = load_environment(console, spec)
    runs = environment.history(last)
    lines = report.lines(environment.spec, runs, console.paint(console.out), verbose=console.verbose)
    console.show(lambda: report.document(environment.spec, runs), lines, prose=True)


@subcommand("import", "provision import specs/prod.yml >> specs/prod.yml", json=False)
def import_(console: Console, spec: Path | None) -> None:
    """Print the roles and databases that the spec's server has, as the spec would declare them. Changes nothing.

    What is printed goes into the spec; then a plan has nothing to do. Passwords are not in it: roles that exist keep
    theirs. What a spec cannot say is named.
    """
    from provision.report import importing as report

    environment = load_environment(console, spec)
    found = environment.imported()
    console.put(*report.lines(found, environment.spec))
    console.complain(*report.advice(found, environment.spec, console))
