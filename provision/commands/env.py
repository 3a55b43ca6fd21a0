"""``provision env`` and ``run``: the login as variables of the environment, printed, in a file, or for one program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from provision.commands.connect import LOGIN, AfterDashes, direct_option, driver_option, login, remind
from provision.commands.options import load_environment, subcommand
from provision.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.environment import Environment
    from provision.report.console import Console

FORMATS = ("shell", "fish", "dotenv", "json", "direnv")


_VARIABLES: Final = (
    *LOGIN,
    direct_option,
    driver_option("The driver that DATABASE_URL is for."),
    click.option(
        "--variable",
        "named",
        multiple=True,
        metavar="NAME[=DRIVER]",
        help="Another variable: a URL for a driver, or host, port, user, password, database. Repeatable.",
    ),
)
"""The options that say which variables there are."""


def _chosen(console: Console, environment: Environment, given: dict[str, Any], *, lasting: bool) -> dict[str, str]:
    named = dict(each.partition("=")[::2] for each in given.pop("named"))
    found = environment.variables(named, lasting=lasting, **login(given))
    remind(console, environment, found["PGUSER"])
    return found


@subcommand(
    "env",
    'eval "$(provision env specs/dev.yml)"',
    click.option(
        "--format", "form", type=click.Choice(FORMATS), help="The default is shell, or what FILE's name says."
    ),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write a file with mode 0600."
    ),
    click.option("--github", is_flag=True, help="Hand them to the next steps of a GitHub workflow, masked in its log."),
    *_VARIABLES,
    json=False,
)
def env(
    console: Console, /, spec: Path | None, *, form: str | None, output: Path | None, github: bool, **given: Any
) -> None:
    """Print DATABASE_URL and libpq's PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE, for a shell or a file.

    Nothing is started. The login is that of `provision url`, and the password is in clear. A file that Git tracks is
    refused, and so is one that another program has written.
    """
    if github and (form or output):
        raise click.UsageError("--github goes without --format and --output")
    environment = load_environment(console, spec)
    found = _chosen(console, environment, given, lasting=True)
    if github:
        _to_github(console, found)
        return
    from provision.report import variables

    chosen = form or (variables.format_of(output.name) if output else "shell")
    text = "\n".join(variables.lines(chosen, found, environment.watched if chosen == "direnv" else ()))
    if output is None:
        console.put(text)
        return
    from provision.export import acting

    said = acting.write(output, f"{text}\n", is_json=chosen == "json")
    console.say(f"{environment.spec.name}: {len(found)} variables written to {output}")
    if said:
        console.complain(f"note: {said}")


def _to_github(console: Console, found: Mapping[str, str]) -> None:
    from provision import export
    from provision.export import acting
    from provision.report.variables import github_masks

    file = acting.github_file(console.environ)  # where there is none, no runner hides what the masks print
    for line in github_masks(export.masks(found)):
        console.instruct(line)
    acting.to_github(found, file)
    console.say(f"{len(found)} variables for the next steps: {', '.join(found)}")


@subcommand(
    "run",
    "provision run specs/dev.yml -- pytest -x",
    *_VARIABLES,
    json=False,
    cls=AfterDashes,
    options_metavar="[OPTIONS]",
)
@click.pass_context
def run(ctx: click.Context, console: Console, /, spec: Path | None, **given: Any) -> None:
    """Run a program with DATABASE_URL and libpq's variables in its environment. The program follows --.

    Nothing is written and nothing is started. The program takes the place of this process, so its exit code and the
    signals that it gets are its own. Variables of your shell that would lead libpq elsewhere are left out.
    """
    argv: Sequence[str] = ctx.meta[AfterDashes.KEY]
    if not argv:
        word = f" {spec}" if spec is not None else ""
        is_program = spec is not None and not spec.exists()
        raise UsageError(
            "no program was named; it follows --",
            next_step=f"provision run --{word}" if is_program else f"provision run{word} -- pytest",
        )
    environment = load_environment(console, spec)
    environment.execute(argv, _chosen(console, environment, given, lasting=False))
