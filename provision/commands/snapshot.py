"""``provision snapshot`` and ``provision reset``: data that is saved, brought back, or made again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from provision.commands.migrate import split
from provision.commands.options import about_spec, json_option, load_environment, pass_console, spec_argument, switches
from provision.commands.table import Verbs
from provision.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provision.environment import Environment
    from provision.report.console import Console
    from provision.snapshots import Look, Request

COMMANDS: Final = {
    "save": "Save the databases under a name.",
    "restore": "Put a snapshot in the place of the databases.",
    "list": "List the snapshots, and what a restore or a reset has replaced.",
    "rm": "Remove a snapshot.",
    "undo": "Put back what the last restore or reset has replaced.",
}
"""Every verb and its one-line help, in the order of the help page."""
_WORDS: Final = {"create": "save", "make": "save", "load": "restore", "ls": "list", "delete": "rm", "remove": "rm"}


@click.group(
    "snapshot",
    cls=Verbs,
    table=COMMANDS,
    package=__name__,
    usual="list",
    words=_WORDS,
    answers={"help": ("help is an option", "provision snapshot {} --help")},
    invoke_without_command=True,
    subcommand_metavar="VERB [OPTIONS] [SPEC] [NAME]",
    options_metavar="",
    epilog="Example: provision snapshot save before-the-import specs/dev.yml",
)
@switches
@click.pass_context
def snapshot(ctx: click.Context) -> None:
    """Snapshots of the databases of a spec, inside their server.

    An argument that ends in .yml or .yaml is the spec, in any position; without one it is provision.yml of the current
    directory.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(64)


_DATABASE: Final = click.option("--database", metavar="NAME", help="Only this one of the declared databases.")
_YES: Final = click.option("--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask on.")


_ALL: Final = click.option(
    "--all", "is_whole", is_flag=True, help="The whole cluster, with its roles: the server stops and starts."
)


def _verb(example: str, *options: Any) -> Callable[[Callable[..., int]], None]:
    """Make a verb of a function of the console, the words beside the spec, and the options."""

    def make(function: Callable[..., int]) -> None:
        name = function.__name__.strip("_")

        def run(console: Console, /, words: tuple[str, ...], **given: Any) -> int:
            spec, rest = split(words, with_paths=False)
            return function(console, spec, rest, **given)

        run.__doc__ = function.__doc__
        decorated: Any = json_option(switches(pass_console(run)))
        for option in reversed(options):
            decorated = option(decorated)
        takes = "[SPEC] NAME" if "NAME" in example else "[SPEC]"
        words = click.argument("words", nargs=-1, metavar=takes)
        epilog = f"Example: provision snapshot {name} {example.replace('NAME', 'before-the-import')}".rstrip()
        snapshot.add_command(click.command(name, epilog=epilog)(about_spec(words(decorated))), name)

    return make


@_verb("NAME", _DATABASE, _ALL)
def save(console: Console, spec: Path | None, words: tuple[str, ...], *, database: str | None, is_whole: bool) -> int:
    """Copy the declared databases inside their server, under a name.

    Their sessions are ended and named, and logins wait until the copy is made.
    """
    from provision.snapshots import Request, Verb

    environment = load_environment(console, spec)
    request = Request(Verb.SAVE, _name(words), database, is_whole=is_whole)
    return _carry_out(console, environment, request)


@_verb("NAME", _DATABASE, _ALL, _YES)
def restore(
    console: Console, spec: Path | None, words: tuple[str, ...], *, database: str | None, is_whole: bool, yes: bool
) -> int:
    """Put a snapshot in the place of the databases that it is of.

    It is copied beside them, and two names change in one transaction. What it replaces is kept until the next restore
    or reset. Asks for the environment's name.
    """
    from provision.snapshots import Request, Verb

    environment = load_environment(console, spec)
    request = Request(Verb.RESTORE, _name(words), database, is_whole=is_whole)
    return _asked(console, environment, request, "snapshot restore --yes", words, yes=yes)


@_verb("", _DATABASE, _ALL)
def undo(console: Console, spec: Path | None, words: tuple[str, ...], *, database: str | None, is_whole: bool) -> int:
    """Put back what the last restore or reset has replaced; another undo takes it back.

    Sessions are ended and named. No row is lost: the two exchange their names.
    """
    from provision.snapshots import Request, Verb

    _no_more(words)
    environment = load_environment(console, spec)
    return _carry_out(console, environment, Request(Verb.UNDO, database=database, is_whole=is_whole))


@_verb("NAME", _DATABASE, _ALL)
def rm(console: Console, spec: Path | None, words: tuple[str, ...], *, database: str | None, is_whole: bool) -> int:
    """Remove a snapshot for good."""
    from provision.snapshots import Request, Verb

    environment = load_environment(console, spec)
    return _carry_out(console, environment, Request(Verb.REMOVE, _name(words), database, is_whole=is_whole))


@_verb("", _DATABASE, _ALL)
def list_(console: Console, spec: Path | None, words: tuple[str, ...], *, database: str | None, is_whole: bool) -> int:
    """List the snapshots, and what a restore or a reset has replaced. Changes nothing.

    With --all only those of the whole cluster, for which the server need not run.
    """
    from provision.report import snapshots as report
    from provision.snapshots import listing

    _no_more(words)
    environment = load_environment(console, spec)
    found = listing(environment.made, database, is_whole=is_whole)
    if console.json:
        console.document(report.listing(environment.made, found))
        return EXIT_DONE
    for line in report.lines(environment.made, found, console.paint(console.out)):
        console.put(line)
    return EXIT_DONE


@click.command("reset", epilog="Example: provision reset specs/dev.yml")
@spec_argument
@_DATABASE
@_YES
@json_option
@switches
@pass_console
def reset(console: Console, spec: Path | None, *, database: str | None, yes: bool) -> int:
    """Make the declared databases as a first apply does: empty, then what is declared, then the revisions.

    What is replaced is kept until the next restore or reset. Asks for the environment's name.
    """
    from provision.snapshots import Request, Verb

    environment = load_environment(console, spec)
    return _asked(console, environment, Request(Verb.RESET, database=database), "reset --yes", (), yes=yes)


def _name(words: tuple[str, ...]) -> str:
    if len(words) != 1:
        raise click.UsageError(
            "which snapshot? Write its name" if not words else f"one name at a time: {' '.join(words)}"
        )
    return words[0]


def _no_more(words: tuple[str, ...]) -> None:
    if words:
        raise click.UsageError(f"unexpected argument {words[0]!r}; the spec ends in .yml or .yaml")


def _asked(
    console: Console, environment: Environment, request: Request, again: str, words: tuple[str, ...], *, yes: bool
) -> int:
    """Ask for the environment's name, and do it."""
    if not yes:
        from provision.commands.asking import confirm
        from provision.snapshots import survey

        chosen = ["--database", request.database] if request.database else ["--all"] * request.is_whole
        found = survey(environment.spec, request)
        what = f"the data of {environment.spec.name} would be replaced"
        line = console.line(again, *words, *chosen)
        confirm(console, environment.spec.name, found.plan, what=what, again=line, warning=_warning(found))
    return _carry_out(console, environment, request)


def _warning(found: Look) -> str:
    """Say what goes away for good: what is replaced now can be put back, and what was kept so far cannot."""
    gone = [str(step.address) for step in found.plan.steps if step.destroys]
    return f"{', '.join(gone)} cannot be brought back afterwards." if gone else ""


def _carry_out(console: Console, environment: Environment, request: Request) -> int:
    from provision.report import snapshots as report
    from provision.report.plan import recap
    from provision.report.progress import followed
    from provision.report.survey import suggestions
    from provision.snapshots import Verb, carry_out

    with followed(console) as progress:
        done = carry_out(environment.spec, request, progress=progress)
    has_moved = request.verb in (Verb.RESTORE, Verb.UNDO)
    pending = environment.overview().plan if has_moved else None
    if console.json:
        console.document(report.result(environment.spec, request, done, pending))
        return EXIT_DONE
    paint = console.paint(console.out)
    console.lines(recap(environment.spec.name, done, paint))
    console.lines(suggestions(report.next_steps(request, pending, console), paint))
    return EXIT_DONE
