"""``provision access``: who can use what in the server, through what, and what is dangerous about it."""

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
def command(
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
