"""``provision apply``: make the world what the spec says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    allow_downgrade_option,
    detailed_exitcode_option,
    diff_option,
    json_option,
    load_spec,
    pass_console,
    runtime_option,
    spec_argument,
    sql_option,
    switches,
    wishes_options,
)

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model import Result, Wishes
    from provision.observe import Survey
    from provision.report.console import Console
    from provision.spec.model import Spec

LOCK_TIMEOUT = 60.0


@click.command("apply", epilog="Example: provision apply specs/dev.yml")
@spec_argument
@click.option("--check", is_flag=True, help="Only show what would be done: the same as plan. Changes nothing.")
@diff_option
@sql_option
@detailed_exitcode_option
@click.option(
    "--lock-timeout",
    type=click.FloatRange(min=0),
    default=LOCK_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for another apply of the same environment.",
)
@runtime_option
@allow_downgrade_option
@wishes_options
@json_option
@switches
@pass_console
def command(  # noqa: PLR0913  # the options
    console: Console,
    spec: Path | None,
    *,
    check: bool,
    diff: bool,
    sql: bool,
    detailed_exitcode: bool,
    lock_timeout: float,
    runtime: str | None,
    no_restart: bool,
    reset_overrides: bool,
) -> int:
    """Start, configure and migrate the server that a spec describes.

    Only what differs is done, with the least disruption that gets there, and data is never removed. Afterwards the
    server is looked at once more. Where nothing differs, nothing is touched.
    """
    if detailed_exitcode and not check:
        raise click.UsageError("--detailed-exitcode goes with --check: an apply leaves no changes pending")
    if sql and not check:
        raise click.UsageError("--sql goes with --check: it shows what would run, and runs nothing")
    from provision.model import Wishes

    read, wishes = load_spec(console, spec), Wishes(no_restart, reset_overrides)
    if check:
        from provision.commands.plan import show

        return show(
            console, read, diff=diff, sql=sql, detailed_exitcode=detailed_exitcode, runtime=runtime, wishes=wishes
        )
    return _apply(console, read, diff=diff, lock_timeout=lock_timeout, runtime=runtime, wishes=wishes)


def _apply(
    console: Console, spec: Spec, *, diff: bool, lock_timeout: float, runtime: str | None, wishes: Wishes
) -> int:
    from provision.errors import EXIT_DONE, EXIT_FAILED
    from provision.model import Result
    from provision.observe import survey

    found = survey(spec, runtime=runtime, wishes=wishes)
    if found.plan.is_empty:
        from provision.plan import insist

        if found.world.needs_upkeep:
            from provision.apply import freshen

            freshen(found.world)
        insist(found.plan)
        remarks = (*found.plan.partial, *found.plan.remarks)
        nothing = Result((), console.elapsed(), found.plan.notes, remarks, found.endpoint)
        _tell_nothing(console, found, nothing)
        return EXIT_DONE
    from provision.report import text

    paint = console.paint(console.talk)
    console.say(text.heading(found, paint, counted=True))
    if diff:
        from provision.commands.plan import content_of
        from provision.report.diff import lines, written

        for line in lines(written(found.plan), content_of, paint):
            console.say(line, whole=True)
    from dataclasses import replace

    from provision.apply import converge
    from provision.report.progress import told

    with told(console) as progress:
        done = converge(found, progress=progress, lock_timeout=lock_timeout)
    _tell(console, found, replace(done, seconds=console.elapsed()))
    return EXIT_FAILED if any(outcome.error is not None for outcome in done.outcomes) else EXIT_DONE


def _tell_nothing(console: Console, found: Survey, nothing: Result) -> None:
    if console.json:
        from provision.report.documents import result

        console.document(result(found, nothing))
    else:
        from provision.report.text import left, nothing_to_do

        paint = console.paint(console.out)
        console.say(nothing_to_do(found, nothing.seconds, paint))
        for line in left(found.plan, paint):
            console.say(line)


def _tell(console: Console, found: Survey, done: Result) -> None:
    if console.json:
        from provision.report.documents import result

        console.document(result(found, done))
        return
    from provision.model import Action
    from provision.report.text import recap, suggestions

    paint = console.paint(console.out)
    for line in recap(found.spec.name, done, paint):
        console.say(line)
    if any(outcome.step.action is Action.CREATE for outcome in done.outcomes):
        commands = {
            console.line("psql"): "open a session",
            console.line("url"): "the URL with its password, for a program",
            console.line("apply"): "again: there is nothing left to do",
        }
        for line in suggestions(commands, paint):
            console.say(line)
