"""``provision clone``: databases of their own for test runners and other programs, in whatever language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provision.commands.connect import driver_option, login, login_options
from provision.commands.options import load_environment, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from provision.environment import Environment
    from provision.report.console import Console

_ALL = ""
"""What --drop has without a name."""


@subcommand(
    "clone",
    'DATABASE_URL="$(provision clone specs/dev.yml)" npm test',
    click.option("--name", metavar="NAME", help="Call it provision_clone_NAME; without a name, it is made up."),
    driver_option("Write the URL as a driver reads it: psycopg2, asyncpg, jdbc …"),
    login_options,
    click.option("--list", "lists", is_flag=True, help="Show the clones that there are."),
    click.option("--drop", metavar="NAME", is_flag=False, flag_value=_ALL, help="Drop the clone of this name."),
    click.option("--all", "every", is_flag=True, help="With --drop: all clones, and what test runs have kept."),
)
def command(
    console: Console, /, spec: Path | None, *, lists: bool, drop: str | None, every: bool, **given: Any
) -> None:
    """Make a fresh, migrated database as the spec says, and print its URL with its password.

    The first one runs the revisions, each other one is a copy. The rows of the declared database are not in it.
    It stays until it is dropped.
    """
    if every != (drop == _ALL) or (lists and drop is not None):
        raise click.UsageError("write --list, --drop NAME or --drop --all")
    environment = load_environment(console, spec)
    if drop is not None:
        _drop(console, environment, None if every else drop)
    elif lists:
        _list(console, environment)
    else:
        _make(console, environment, given)


def _make(console: Console, environment: Environment, given: dict[str, Any]) -> None:
    from provision.report import clones
    from provision.report.progress import followed

    name, driver = given.pop("name"), given.pop("driver")
    console.prints_data = True
    with followed(console) as progress:
        made = environment.clone(name, progress=progress, lasting=True, **login(given))
    console.show(lambda: clones.clone(environment.spec, made.endpoint), [made.endpoint.url(driver=driver)])


def _list(console: Console, environment: Environment) -> None:
    from provision.report import clones

    found = environment.clones()
    lines = clones.lines(environment.spec, found, console.paint(console.out))
    console.show(lambda: clones.document(environment.spec, found), lines, talk=True)


def _drop(console: Console, environment: Environment, name: str | None) -> None:
    from provision.report import clones

    dropped = environment.drop_clones(None if name is None else [name])
    lines = clones.dropped(environment.spec, dropped, console.paint(console.out))
    console.show(lambda: clones.document(environment.spec, environment.clones(), dropped), lines, talk=True)
