"""``provision report``: one page about an environment."""

from __future__ import annotations

from pathlib import Path

import click

from provision.commands.options import load_environment, subcommand
from provision.errors import EXIT_DONE
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
