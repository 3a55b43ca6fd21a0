"""What only looks: ``provision report``, ``access``, ``erd``, ``history``, ``import`` and ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    load_environment,
    no_commands_option,
    subcommand,
)
from provision.commands.specfile import DEFAULT_NAMES
from provision.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.environment import Environment
    from provision.report.console import Console
    from provision.review import Review

_SLOW = ("trace", "laws")
_STDOUT = Path("-")


def _several(_ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple([name for each in value for name in each.split(",") if name])
    if unknown := [each for each in names if each not in _SLOW]:
        raise click.UsageError(f"--with takes {' and '.join(_SLOW)}, separated by a comma, and not {unknown[0]}")
    return names


@subcommand(
    "report",
    "provision report -o report.html --with trace,laws specs/dev.yml",
    click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The file to write, - for standard output; NAME-report.html without it.",
    ),
    click.option("--open", "opens", is_flag=True, help="Open it in the browser."),
    click.option(
        "--with",
        "asked",
        multiple=True,
        callback=_several,
        metavar="trace,laws",
        help="Also run what is pending on a copy (trace), or try the laws of the tree (laws); this takes seconds.",
    ),
)
def report(console: Console, spec: Path | None, *, output: Path | None, opens: bool, asked: tuple[str, ...]) -> int:
    """Write one HTML page about an environment: what apply would do, pending SQL, differences, revisions, tables.

    It is one file without scripts, network and passwords. The declared databases are only read; --with uses scratch
    databases on the same server. With --json, standard output has the same facts, and no page is written without -o.
    """
    if opens and output == _STDOUT:
        raise click.UsageError("--open needs a file, and -o - writes none")
    environment = load_environment(console, spec)
    if output == _STDOUT:
        console.prints_data = True
    found = environment.review(asked=asked, tell=console.say)
    if not console.json or output is not None:
        path = output or Path(f"{environment.made.name}-report.html")
        _write(console, found, path, opens=opens)
    if console.json:
        from provision.report.html.document import document

        console.document(document(found, console.elapsed()))
    return EXIT_DONE


def _write(console: Console, found: Review, path: Path, *, opens: bool) -> None:
    from provision.report import html
    from provision.report.html.verdict import verdict
    from provision.review import saving

    text = html.page(found, spec=console.spec)
    if path == _STDOUT:
        console.put(text)
        return
    saving.save(path, text)
    name = console.paint(console.talk)("bold", found.survey.spec.name)
    console.say(f"{name}: {verdict(found).headline}")
    console.say(f"  {path} ({len(text.encode()) / 1000:.0f} kB)")
    if opens and not saving.show(path):
        console.say(f"  no browser was found: {path.absolute().as_uri()}")


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
    for line in report.lines(found, environment.spec):
        console.put(line)
    for line in report.advice(found, environment.spec, console):
        console.complain(line)


@subcommand("doctor", "provision doctor specs/dev.yml", no_commands_option)
def doctor(console: Console, spec: Path | None) -> int:
    """Check what an apply needs: engine, image, port, room, psql, Alembic, env.py's imports, secrets. Changes nothing.

    Each line is ok, a warning or a problem, with the next command. What env.py imports is tried by the interpreter that
    migrates. In a directory without a spec it is about this machine. Exits with 1 where there is a problem.
    """
    from provision.api import examine
    from provision.report import doctor as report

    is_here = spec is not None or any(Path(name).is_file() for name in DEFAULT_NAMES)
    environment = load_environment(console, spec) if is_here else None
    found = examine(environment)
    paint = console.paint(console.out)
    console.show(
        lambda: report.document(found, str(environment.path) if environment else None, console.spec),
        report.lines(found, console.spec, paint),
        prose=True,
        recap=report.recap(found, environment.path.name if environment else "this machine", paint),
    )
    return EXIT_FAILED if any(each.level == "problem" for each in found) else EXIT_DONE
