"""``provision snapshot`` and ``provision reset``: data that is saved, brought back, or made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from provision.commands import data_verbs
from provision.commands.options import load_environment, subcommand
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from pathlib import Path

    from provision.environment import Environment
    from provision.report.console import Console
    from provision.snapshots import Request

COMMANDS: Final = {
    "save": "Save the databases under a name.",
    "restore": "Put a snapshot in the place of the databases.",
    "list": "List the snapshots, and what a restore or a reset has replaced.",
    "rm": "Remove a snapshot.",
    "undo": "Put back what the last restore or reset has replaced.",
}
"""Every verb and its one-line help, in the order of the help page."""
_WORDS: Final = {"create": "save", "make": "save", "load": "restore", "ls": "list", "delete": "rm", "remove": "rm"}


_ALL: Final = click.option(
    "--all", "is_whole", is_flag=True, help="The whole cluster, with its roles: the server stops and starts."
)

snapshot = data_verbs.group(
    "snapshot",
    "Snapshots of the databases of a spec, inside their server.",
    table=COMMANDS,
    package=__name__,
    words=_WORDS,
    word="NAME",
    sample="before-the-import",
    epilog="Example: provision snapshot save before-the-import specs/dev.yml",
)


@snapshot.verb("NAME", data_verbs.DATABASE, _ALL)
def save(console: Console, environment: Environment, name: str, *, database: str | None, is_whole: bool) -> int:
    """Copy the declared databases inside their server, under a name.

    Their sessions are ended and named, and logins wait until the copy is made.
    """
    return _carry_out(console, environment, _request("save", name, database, is_whole=is_whole))


@snapshot.verb("NAME", data_verbs.DATABASE, _ALL, data_verbs.YES)
def restore(
    console: Console, environment: Environment, name: str, *, database: str | None, is_whole: bool, yes: bool
) -> int:
    """Put a snapshot in the place of the databases that it is of.

    It is copied beside them, and two names change in one transaction. What it replaces is kept until the next restore
    or reset. Asks for the environment's name.
    """
    request = _request("restore", name, database, is_whole=is_whole)
    return _asked(console, environment, request, "snapshot restore --yes", yes=yes)


@snapshot.verb("", data_verbs.DATABASE, _ALL)
def undo(console: Console, environment: Environment, _: str, *, database: str | None, is_whole: bool) -> int:
    """Put back what the last restore or reset has replaced; another undo takes it back.

    Sessions are ended and named. No row is lost: the two exchange their names.
    """
    return _carry_out(console, environment, _request("undo", "", database, is_whole=is_whole))


@snapshot.verb("NAME", data_verbs.DATABASE, _ALL)
def rm(console: Console, environment: Environment, name: str, *, database: str | None, is_whole: bool) -> int:
    """Remove a snapshot for good."""
    return _carry_out(console, environment, _request("rm", name, database, is_whole=is_whole))


@snapshot.verb("", data_verbs.DATABASE, _ALL)
def list_(console: Console, environment: Environment, _: str, *, database: str | None, is_whole: bool) -> int:
    """List the snapshots, and what a restore or a reset has replaced. Changes nothing.

    With --all only those of the whole cluster, for which the server need not run.
    """
    from provision.report import snapshots as report
    from provision.snapshots import listing

    found = listing(environment.made, database, is_whole=is_whole)
    lines = report.lines(environment.made, found, console.paint(console.out))
    console.show(lambda: report.listing(environment.made, found), lines)
    return EXIT_DONE


@subcommand("reset", "provision reset specs/dev.yml", data_verbs.DATABASE, data_verbs.YES)
def reset(console: Console, spec: Path | None, *, database: str | None, yes: bool) -> int:
    """Make the declared databases as a first apply does: empty, then what is declared, then the revisions.

    What is replaced is kept until the next restore or reset. Asks for the environment's name.
    """
    environment = load_environment(console, spec)
    return _asked(console, environment, _request("reset", "", database), "reset --yes", yes=yes)


def _request(verb: str, name: str, database: str | None, *, is_whole: bool = False) -> Request:
    from provision.snapshots import Request, Verb

    return Request(Verb(verb), name, database, is_whole=is_whole)


def _asked(console: Console, environment: Environment, request: Request, again: str, *, yes: bool) -> int:
    """Ask for the environment's name, and do it."""
    if not yes:
        from provision.snapshots import survey

        chosen = ["--database", request.database] if request.database else ["--all"] * request.is_whole
        words = [request.name] if request.name else []
        plan = survey(environment.spec, request).plan
        data_verbs.confirm(console, environment.spec.name, plan, console.line(again, *words, *chosen))
    return _carry_out(console, environment, request)


def _carry_out(console: Console, environment: Environment, request: Request) -> int:
    from provision.report import snapshots as report
    from provision.report.progress import followed
    from provision.snapshots import Verb, carry_out

    spec = environment.spec
    with followed(console) as progress:
        done = carry_out(spec, request, progress=progress)
    pending = environment.overview().plan if request.verb in (Verb.RESTORE, Verb.UNDO) else None
    steps = report.next_steps(request, pending, console)
    return data_verbs.show(console, spec.name, done, report.result(spec, request, done, pending), steps)
