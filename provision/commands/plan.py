"""``provision plan``: what apply would do, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from provision.commands.options import (
    allow_downgrade_option,
    detailed_exitcode_option,
    diff_option,
    json_option,
    load_spec,
    no_commands_option,
    pass_console,
    runtime_option,
    spec_argument,
    sql_option,
    switches,
    trusted,
    wishes_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model import Wishes
    from provision.observe import Survey
    from provision.report.console import Console
    from provision.spec.model import Spec


@click.command("plan", epilog="Example: provision plan --diff specs/dev.yml")
@spec_argument
@diff_option
@sql_option
@detailed_exitcode_option
@runtime_option
@allow_downgrade_option
@wishes_options
@no_commands_option
@json_option
@switches
@pass_console
def command(  # noqa: PLR0913  # the options
    console: Console,
    spec: Path | None,
    *,
    diff: bool,
    sql: bool,
    detailed_exitcode: bool,
    runtime: str | None,
    no_restart: bool,
    reset_overrides: bool,
) -> int:
    """Show each step that apply would take, with the reason for it.

    Nothing is changed: the server is asked in read-only transactions, and the engine with GET requests only.
    """
    from provision.model import Wishes

    read, wishes = load_spec(console, spec), Wishes(no_restart, reset_overrides)
    return show(console, read, diff=diff, sql=sql, detailed_exitcode=detailed_exitcode, runtime=runtime, wishes=wishes)


def show(
    console: Console,
    spec: Spec,
    *,
    diff: bool,
    sql: bool,
    detailed_exitcode: bool,
    runtime: str | None,
    wishes: Wishes,
) -> int:
    """Look at the world, and show the plan as text or as a document."""
    from provision.errors import EXIT_CHANGES_PENDING, EXIT_DONE
    from provision.observe import survey

    if sql and console.no_commands:
        from provision.errors import UsageError

        sentence = "`--sql` renders the migrations with the project's env.py, which `--no-commands` does not run"
        raise UsageError(sentence, next_step=f"provision plan --no-commands {console.spec}")
    found = survey(spec, runtime=runtime, wishes=wishes)
    if console.json:
        from provision.report import documents
        from provision.report.diff import written

        files = [documents.difference(file, content_of) for file in written(found.plan)] if diff else None
        console.document(documents.plan(found, files, _sql_documents(found) if sql else None))
    else:
        _show_text(console, found, diff=diff, sql=sql)
    return EXIT_CHANGES_PENDING if detailed_exitcode and found.plan.differs else EXIT_DONE


def _show_text(console: Console, found: Survey, *, diff: bool, sql: bool) -> None:
    from provision.report import text

    paint = console.paint(console.out)
    is_empty = found.plan.is_empty and not found.plan.unknown
    console.say(text.nothing_to_do(found, console.elapsed(), paint) if is_empty else text.heading(found, paint))
    for line in text.variables(found.spec.variables, paint) if console.verbose else ():
        console.say(line)
    if is_empty:
        for line in text.left(found.plan, paint):
            console.say(line)
        return
    for line in text.plan(found.plan, paint, verbose=console.verbose):
        console.say(line)
    if diff:
        from provision.report.diff import lines, written

        for line in lines(written(found.plan), content_of, paint):
            console.say(line, whole=True)
    if sql:
        _show_sql(console, found)
    next_step = trusted(console.line("plan")) if found.plan.unknown else console.line("apply")
    console.say(f"{paint('cyan', 'next:')} {next_step}")


def _show_sql(console: Console, found: Survey) -> None:
    from provision.alembic.verbs.sql import of_plan
    from provision.report.sql import lines

    for number, script in enumerate(of_plan(found)):
        if number or not console.quiet:  # alone, it is a file for psql, which begins with its first line
            console.put("")
        for line in lines(script):
            console.put(line)
    if not console.quiet:
        console.put("")


def _sql_documents(found: Survey) -> list[dict[str, Any]]:
    from provision.alembic.verbs.sql import of_plan
    from provision.report.migration_documents import sql

    return [sql(script) for script in of_plan(found)]


def content_of(path: Path) -> str | None:
    """Return the content of a rendered file as it is now; None when there is none to read, or a link in its place."""
    try:
        if path.is_symlink():
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
