"""``provision url``, ``psql``, ``logs``, ``clone`` and ``tunnel``: ways to the server for applications and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from provision.commands.options import load_environment, subcommand
from provision.commands.specfile import refuse_url
from provision.errors import EXIT_DONE, EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provision.environment import Environment
    from provision.export.tunnels import Open
    from provision.report.console import Console


_ALIKE: Final = 0.8
F = TypeVar("F", bound="Callable[..., Any]")


def driver_option(text: str) -> Callable[[F], F]:
    """Return the option that names a driver; one that is not known is refused before anything else happens."""

    def known(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            from provision.model import drivers

            drivers.check(value)
        return value

    return click.option("--driver", metavar="NAME", callback=known, help=text)


LOGIN: Final = (
    click.option("--superuser", is_flag=True, help="Log in as the superuser."),
    click.option("--role", metavar="NAME", help="Log in as another declared role."),
    click.option("--database", metavar="NAME", help="Another declared database."),
)
"""The options that say as whom to log in, and where."""


direct_option = click.option(
    "--direct", is_flag=True, help="The server's own address (server.direct), where the spec has a pooler's."
)


def login(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a login, which can be one or the other."""
    if given["superuser"] and given["role"]:
        raise click.UsageError("--superuser and --role exclude each other")
    return given


@subcommand(
    "url",
    'export DATABASE_URL="$(provision url specs/dev.yml)"',
    driver_option("Write it as a driver reads it: psycopg2, asyncpg, jdbc …; an unknown one lists them all."),
    *LOGIN,
    direct_option,
    json=False,
)
def url(console: Console, /, spec: Path | None, *, driver: str | None, **given: Any) -> None:
    """Print the connection URL with its password, percent-encoded, and nothing else.

    It logs in as the role that migrates the database (`migrations.as`), else as the superuser. Only this command,
    `env` and `clone` print a password; they are meant for programs.
    """
    environment = load_environment(console, spec)
    at = environment.login(lasting=True, **login(given))
    remind(console, environment, at.user)
    console.put(at.url(driver=driver))


def remind(console: Console, environment: Environment, user: str) -> None:
    """Say that the password of a role has expired, where it has."""
    role = environment.spec.roles.get(user)
    if role is not None and role.has_expired:
        console.complain(f"the password of {user!r} expired at {role.valid_until}: {role.place} has its `valid_until`")


class AfterDashes(click.Command):
    """A command that keeps what follows ``--`` for another program."""

    KEY: Final = "provision.arguments"
    """Where the context has them."""
    program = "the program"
    """Whose arguments they are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set the other program's arguments aside, and parse the rest."""
        from difflib import get_close_matches

        at = args.index("--") if "--" in args else len(args)
        ctx.meta[self.KEY] = tuple(args[at + 1 :])
        try:
            return super().parse_args(ctx, args[:at])
        except click.NoSuchOption as error:
            ours = [each for parameter in self.params for each in parameter.opts]
            if get_close_matches(error.option_name, ours, n=1, cutoff=_ALIKE):
                raise  # a slip in one of ours
            raise self._before_dashes(ctx, error.option_name, args[:at]) from error
        except click.UsageError as error:
            message = f"{error.format_message().rstrip('.')}; arguments of {self.program} follow --"
            raise click.UsageError(message, ctx) from error

    def _before_dashes(self, ctx: click.Context, option: str, args: list[str]) -> Exception:
        """Return the error that another program's option is not behind ``--``, with the line that has it there."""
        from shlex import join

        together = option[1:] if option[:2] != "--" else "--"  # in `-qAt`, our own -q may be the first letter
        first = next(
            at for at, each in enumerate(args) if each.startswith(option) or (each[:1] == "-" and together in each)
        )
        ours, theirs = args[:first], args[first:]
        if len(theirs) > 1 and theirs[-1].endswith((".yml", ".yaml")):
            ours.append(theirs.pop())
        elif ours and not ours[-1].endswith((".yml", ".yaml")) and not any(each[:1] == "-" for each in ours[-2:]):
            theirs.insert(0, ours.pop())  # the program itself
        again = " ".join((ctx.command_path, *filter(None, (join(ours), "--", join(theirs)))))
        sentence = f"there is no option `{option}` here; arguments of {self.program} follow --"
        return UsageError(sentence, next_step=again)


class _Psql(AfterDashes):
    program = "psql"


@subcommand(
    "psql",
    "provision psql specs/dev.yml -- -c 'SELECT version()'",
    *LOGIN,
    json=False,
    cls=_Psql,
    options_metavar="[OPTIONS]",
)
@click.pass_context
def psql(ctx: click.Context, console: Console, /, spec: Path | None, **given: Any) -> int:
    """Open psql on the declared database. What follows -- is passed on to it.

    It logs in as the role that migrates the database (`migrations.as`), else as the superuser. The password is handed
    over without appearing in a command line. The exit code is psql's own.
    """
    return load_environment(console, spec).psql(ctx.meta[AfterDashes.KEY], **login(given))


@subcommand(
    "logs",
    "provision logs -f -n 20 specs/dev.yml",
    click.option("-f", "--follow", is_flag=True, help="Print new lines until interrupted."),
    click.option("-n", "--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines."),
    json=False,
)
def logs(console: Console, spec: Path | None, *, follow: bool, tail: int | None) -> int:
    """Print the server's log, oldest line first."""
    try:
        found = load_environment(console, spec).logs(follow=follow, tail=tail)
        if found.elsewhere:
            console.complain(
                "logging_collector is on: the server writes its log into files, and prints its first lines only"
            )
            console.complain(f"next: {found.elsewhere}")
        for line in found.lines:
            console.put(line.rstrip("\r\n"))
            if console.reader_gone:
                break
    except KeyboardInterrupt:
        if not follow:
            raise
        return EXIT_INTERRUPTED  # the way to end it, so there is nothing to say
    return EXIT_DONE


_ALL = ""
"""What --drop has without a name."""


@subcommand(
    "clone",
    'DATABASE_URL="$(provision clone specs/dev.yml)" npm test',
    click.option("--name", metavar="NAME", help="Call it provision_clone_NAME; without a name, it is made up."),
    driver_option("Write the URL as a driver reads it: psycopg2, asyncpg, jdbc …"),
    *LOGIN,
    click.option("--list", "lists", is_flag=True, help="Show the clones that there are."),
    click.option("--drop", metavar="NAME", is_flag=False, flag_value=_ALL, help="Drop the clone of this name."),
    click.option("--all", "every", is_flag=True, help="With --drop: all clones, and what test runs have kept."),
)
def clone(console: Console, /, spec: Path | None, *, lists: bool, drop: str | None, every: bool, **given: Any) -> None:
    """Make a fresh, migrated database as the spec says, and print its URL with its password.

    The first one runs the revisions, each other one is a copy. The rows of the declared database are not in it.
    It stays until it is dropped.
    """
    if every != (drop == _ALL) or (lists and drop is not None):
        raise click.UsageError("write --list, --drop NAME or --drop --all")
    refuse_url(drop or "", [str(spec)] if spec else [])
    from provision.report import clones

    environment, paint = load_environment(console, spec), console.paint(console.out)

    def there() -> tuple[Any, Any]:
        return environment.clones(), environment.kept_clones()

    if drop is not None:
        dropped = environment.drop_clones(None if every else [drop])
        lines = clones.dropped(environment.spec, dropped, paint)
        console.show(lambda: clones.document(environment.spec, *there(), dropped), lines, talk=True)
    elif lists:
        found = there()
        lines = clones.lines(environment.spec, *found, paint)
        console.show(lambda: clones.document(environment.spec, *found), lines, talk=True)
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


@subcommand("tunnel", "provision tunnel specs/dev.yml", click.option("--stop", is_flag=True, help="End the tunnel."))
def tunnel(console: Console, spec: Path | None, *, stop: bool) -> None:
    """Open a tunnel to a server whose engine is reached by ssh, and keep it open in the background.

    Then url and env have an address for other programs. Every other command opens a tunnel by itself, which ends with
    it. The port of this machine stays the same from one time to the next, where it is free.
    """
    environment = load_environment(console, spec)
    if stop:
        was_open = environment.close_tunnel()
        _answer(console, environment.made.name, None, "tunnel closed" if was_open else "no tunnel was open")
        return
    found = environment.open_tunnel()
    if not found.process:
        words = f"no tunnel is needed: the server is reached at {found.endpoint.address}"
    else:
        words = f"tunnel {'open' if found.is_new else 'is open already'}: {found.endpoint.address} → {found.leads_to}"
    _answer(console, environment.made.name, found, words)


def _answer(console: Console, name: str, found: Open | None, words: str) -> None:
    if console.json:
        from provision.report import documents

        console.document(documents.tunnel(name, found))
        return
    from provision.report.survey import suggestions

    paint = console.paint(console.out)
    console.say(f"{paint('bold', name)}: {words}")
    if found is not None and found.is_new:
        commands = {console.line("url"): "its URL, with the password", console.line("tunnel --stop"): "end it"}
        console.lines(suggestions(commands, paint))
