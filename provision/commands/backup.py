"""``provision backup``: dumps of the databases in files of this machine, and bringing one back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import click

from provision.commands import data_verbs
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.backups import Look
    from provision.environment import Environment
    from provision.report.console import Console

COMMANDS: Final = {
    "make": "Write a dump of the databases, and prove it.",
    "restore": "Prove a backup, and put it in the place of its database.",
    "list": "List the backups. Needs no server.",
    "rm": "Remove a backup.",
}
"""Every verb and its one-line help, in the order of the help page."""
_WORDS: Final = {"create": "make", "save": "make", "dump": "make", "ls": "list", "delete": "rm", "remove": "rm"}
_OUTPUT: Final = click.option("-o", "--output", metavar="FILE", help="Write it there; Git must ignore the file.")

command = data_verbs.group(
    "backup",
    "Backups of the databases of a spec, as files of this machine.",
    table=COMMANDS,
    package=__name__,
    words=_WORDS,
    word="FILE",
    sample="shop-20261130T012258Z-0006.dump",
    epilog="Example: provision backup make specs/dev.yml",
)


@command.verb("", data_verbs.DATABASE, _OUTPUT)
def make(console: Console, environment: Environment, _: str, *, database: str | None, output: str | None) -> int:
    """Write a dump of each declared database, and prove it by reading all of it. No session waits for it.

    The files are in .provision/NAME/backups/, readable by you only. They hold the rows and who owns what; the names of
    roles, and no passwords.
    """
    from provision import backups

    survey = partial(backups.make, environment.spec, database, output)
    return _carry_out(console, environment, "make", survey)


@command.verb("FILE", data_verbs.DATABASE, data_verbs.YES)
def restore(console: Console, environment: Environment, file: str, *, database: str | None, yes: bool) -> int:
    """Prove a backup, restore it into a new database beside, and change the two names in one transaction.

    What it replaces is kept until the next restore or reset. Asks for the environment's name. FILE is a path, or a
    name that `provision backup list` shows.
    """
    from provision import backups

    spec = environment.spec
    survey = partial(backups.restoring, spec, file, database)
    if not yes:
        with environment.context():
            plan = survey().plan
        chosen = ["--database", database] if database else []
        data_verbs.confirm(console, spec.name, plan, console.line("backup restore --yes", file, *chosen))
    return _carry_out(console, environment, "restore", survey)


@command.verb("")
def list_(console: Console, environment: Environment, _: str) -> int:
    """List the backups in .provision/NAME/backups/, the newest first. Changes nothing."""
    from provision.report import backups as report

    found = environment.backups()
    lines = report.lines(environment.made, found, console.paint(console.out))
    console.show(lambda: report.listing(environment.made, found), lines)
    return EXIT_DONE


@command.verb("FILE")
def rm(console: Console, environment: Environment, file: str) -> int:
    """Remove a backup for good."""
    from provision import backups

    return _carry_out(console, environment, "rm", partial(backups.removal, environment.spec, file))


def _carry_out(console: Console, environment: Environment, verb: str, survey: Callable[[], Look]) -> int:
    from provision import backups
    from provision.report import backups as report
    from provision.report.progress import followed

    spec = environment.spec
    with environment.context(), followed(console) as progress:
        done = backups.carry_out(spec, survey, progress=progress)
    pending = environment.overview().plan if verb == "restore" else None
    steps = report.next_steps(spec, verb, done, pending, console)
    return data_verbs.show(
        console, spec.name, done, report.result(spec, verb, done, pending), steps, report.written(done)
    )
