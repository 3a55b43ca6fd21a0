"""``provision backup``: dumps of the databases in files of this machine, and bringing one back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from provision.commands.migrate import split
from provision.commands.options import about_spec, json_option, load_environment, pass_console, switches
from provision.commands.table import Verbs
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
_NAME: Final = "shop-20261130T012258Z-0006.dump"


@click.group(
    "backup",
    cls=Verbs,
    table=COMMANDS,
    package=__name__,
    usual="list",
    words=_WORDS,
    answers={"help": ("help is an option", "provision backup {} --help")},
    invoke_without_command=True,
    subcommand_metavar="VERB [OPTIONS] [SPEC] [FILE]",
    options_metavar="",
    epilog="Example: provision backup make specs/dev.yml",
)
@switches
@click.pass_context
def command(ctx: click.Context) -> None:
    """Backups of the databases of a spec, as files of this machine.

    An argument that ends in .yml or .yaml is the spec, in any position; without one it is provision.yml of the current
    directory.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(64)


_DATABASE: Final = click.option("--database", metavar="NAME", help="Only this one of the declared databases.")
_YES: Final = click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")
_OUTPUT: Final = click.option("-o", "--output", metavar="FILE", help="Write it there; Git must ignore the file.")


def _verb(example: str, *options: Any) -> Callable[[Callable[..., int]], None]:
    """Make a verb of a function of the console, the environment, the words beside the spec, and the options."""

    def make(function: Callable[..., int]) -> None:
        name = function.__name__.strip("_")

        def run(console: Console, /, words: tuple[str, ...], **given: Any) -> int:
            spec, rest = split(words, with_paths=False)
            return function(console, load_environment(console, spec), _file(rest, wanted="FILE" in example), **given)

        run.__doc__ = function.__doc__
        decorated: Any = json_option(switches(pass_console(run)))
        for option in reversed(options):
            decorated = option(decorated)
        words = click.argument("words", nargs=-1, metavar="[SPEC] FILE" if "FILE" in example else "[SPEC]")
        epilog = f"Example: provision backup {name} {example.replace('FILE', _NAME)}".rstrip()
        command.add_command(click.command(name, epilog=epilog)(about_spec(words(decorated))), name)

    return make


def _file(words: tuple[str, ...], *, wanted: bool) -> str:
    if words and not wanted:
        raise click.UsageError(f"unexpected argument {words[0]!r}; the spec ends in .yml or .yaml")
    if len(words) != wanted:
        raise click.UsageError("which backup? Write its name, or its path" if not words else "one backup at a time")
    return words[0] if wanted else ""


@_verb("", _DATABASE, _OUTPUT)
def make(console: Console, environment: Environment, _: str, *, database: str | None, output: str | None) -> int:
    """Write a dump of each declared database, and prove it by reading all of it. No session waits for it.

    The files are in .provision/NAME/backups/, readable by you only. They hold the rows and who owns what; the names of
    roles, and no passwords.
    """
    from provision import backups

    survey = partial(backups.make, environment.spec, database, output)
    return _carry_out(console, environment, "make", survey)


@_verb("FILE", _DATABASE, _YES)
def restore(console: Console, environment: Environment, file: str, *, database: str | None, yes: bool) -> int:
    """Prove a backup, restore it into a new database beside, and change the two names in one transaction.

    What it replaces is kept until the next restore or reset. Asks for the environment's name. FILE is a path, or a
    name that `provision backup list` shows.
    """
    from provision import backups

    spec = environment.spec
    survey = partial(backups.restoring, spec, file, database)
    if not yes:
        from provision.commands.asking import confirm

        with environment.context():
            plan = survey().plan
        gone = [str(step.address) for step in plan.steps if step.destroys]
        warning = f"{', '.join(gone)} cannot be brought back afterwards." if gone else ""
        chosen = ["--database", database] if database else []
        again = console.line("backup restore --yes", file, *chosen)
        what = f"the data of {spec.name} would be replaced"
        confirm(console, spec.name, plan, what=what, again=again, warning=warning)
    return _carry_out(console, environment, "restore", survey)


@_verb("")
def list_(console: Console, environment: Environment, _: str) -> int:
    """List the backups in .provision/NAME/backups/, the newest first. Changes nothing."""
    from provision.report import backups as report

    found = environment.backups()
    if console.json:
        console.document(report.listing(environment.made, found))
        return EXIT_DONE
    for line in report.lines(environment.made, found, console.paint(console.out)):
        console.put(line)
    return EXIT_DONE


@_verb("FILE")
def rm(console: Console, environment: Environment, file: str) -> int:
    """Remove a backup for good."""
    from provision import backups

    return _carry_out(console, environment, "rm", partial(backups.removal, environment.spec, file))


def _carry_out(console: Console, environment: Environment, verb: str, survey: Callable[[], Look]) -> int:
    from provision import backups
    from provision.report import backups as report
    from provision.report.plan import recap
    from provision.report.progress import followed
    from provision.report.survey import suggestions

    spec = environment.spec
    with environment.context(), followed(console) as progress:
        done = backups.carry_out(spec, survey, progress=progress)
    pending = environment.overview().plan if verb == "restore" else None
    if console.json:
        console.document(report.result(spec, verb, done, pending))
        return EXIT_DONE
    paint = console.paint(console.out)
    console.lines(recap(spec.name, done, paint))
    console.lines(report.written(done))
    console.lines(suggestions(report.next_steps(spec, verb, done, pending, console), paint))
    return EXIT_DONE
