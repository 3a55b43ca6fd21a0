"""``provision import``: the roles and databases of a server that exists, as a spec has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.commands.options import load_environment, subcommand

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@subcommand("import", "provision import specs/prod.yml >> specs/prod.yml", json=False)
def command(console: Console, spec: Path | None) -> None:
    """Print the roles and databases that the spec's server has, as the spec would declare them. Changes nothing.

    What is printed goes into the spec; then a plan has nothing to do. Passwords are not in it: roles that exist keep
    theirs. What a spec cannot say is named.
    """
    from provision.report import importing as report

    environment = load_environment(console, spec)
    found = environment.imported()
    for line in report.lines(found, environment.spec):
        console.put(line)
    for line in report.advice(found, environment.spec, console):
        console.complain(line)
