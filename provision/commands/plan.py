"""``provision plan`` and ``provision apply``: what differs from the spec, shown or done."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from provision.commands import options as given
from provision.commands.several import specs_argument
from provision.errors import EXIT_CHANGES_PENDING, EXIT_DONE, UsageError, command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from provision.environment import Environment
    from provision.model import Outcome, Result
    from provision.observe import Survey
    from provision.report.console import Console
    from provision.reviewed import Reviewed

_ASKED_FOR = ("data", "take_ownership", "seed", "restart_cluster")
"""Wishes without which the same plan would be refused, or another one."""


@given.subcommand(
    "plan",
    "provision plan --diff specs/dev.yml",
    *given.PLANNING,
    given.no_commands_option,
    given.format_option(),
    argument=specs_argument(),
)
def plan(console: Console, /, spec: Path | None, **options: Any) -> int:
    """Show each step that apply would take, with the reason for it.

    Nothing is changed: the server is asked in read-only transactions, and the engine with GET requests only.
    """
    options = given.planning(options)
    return _show(console, given.load_environment(console, spec), **options)


@given.subcommand(
    "apply",
    "provision apply specs/dev.yml",
    click.option("--check", is_flag=True, help="Only show what would be done: the same as plan. Changes nothing."),
    click.option(
        "--lock-timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for another apply of the same environment.",
    ),
    click.option(
        "--as-planned",
        metavar="FILE",
        help="Do what this output of `plan --json` has, or less, and refuse more; its options count.",
    ),
    click.option(
        "--from",
        "source",
        type=click.Choice(["main"]),
        help="In a Git worktree: begin a new environment with the data of the main checkout's.",
    ),
    click.option("--adopt", is_flag=True, help="Take over what the same project made in a directory that is gone."),
    click.option("--snapshot", is_flag=True, help="Save a database before revisions that destroy data in it."),
    *given.PLANNING,
    given.format_option(),
    argument=specs_argument(acting=True),
)
def apply(console: Console, /, spec: Path | None, *, check: bool, lock_timeout: float, **options: Any) -> int:
    """Start, configure and migrate the server that a spec describes.

    Only what differs is done, with the least disruption that gets there; data is removed only with --data. Afterwards
    the server is looked at once more. Where nothing differs, nothing is touched.
    """
    options = given.planning(options)
    if check and options["adopt"]:
        raise click.UsageError("--adopt goes without --check: it notes that the environment belongs here")
    adopt = options.pop("adopt")
    if check:
        if options.pop("as_planned") is not None:
            raise click.UsageError(
                "--check shows a plan, and --as-planned does one that was reviewed: give one of them"
            )
        options.pop("snapshot")
        if options.pop("source"):
            raise click.UsageError("--from copies data, and --check changes nothing")
        return _show(console, given.load_environment(console, spec), **options)
    if options.pop("detailed_exitcode"):
        raise click.UsageError("--detailed-exitcode goes with --check: an apply leaves no changes pending")
    if options.pop("sql"):
        raise click.UsageError("--sql goes with --check: it shows what would run, and runs nothing")
    environment = given.load_environment(console, spec)
    if adopt:
        environment.adopt()
    return _apply(console, environment, lock_timeout=lock_timeout, **options)


def _say_what_comes(console: Console, seen: Survey, *, diff: bool) -> None:
    from provision.report import plan as report, survey

    paint = console.paint(console.talk)
    console.say(survey.heading(seen, paint))
    console.lines(survey.identity(seen.spec, paint))
    console.lines(() if seen.plan.is_empty else (f"  {report.total(seen.plan)}",))
    console.lines(survey.rejected(seen, paint) if console.verbose else ())
    if diff:
        console.lines(report.diff(seen.plan, paint), whole=True)


@given.subcommand(
    "show",
    "provision plan --json > plan.json, and then: provision show plan.json",
    click.argument("file"),
    argument=None,
)
def show(console: Console, /, file: str) -> None:
    """Show a plan that `provision plan --json` has written, as `plan` shows it; `-` reads it from standard input.

    No spec is needed, and nothing is looked at.
    """
    from provision.report.reviewed import lines

    found = _reviewed(file).document
    console.show(lambda: found, lines(found, console.paint(console.out), verbose=console.verbose))


def _reviewed(file: str) -> Reviewed:
    """Read a plan that was saved."""
    from provision.reviewed import Reviewed

    try:
        text = click.open_file(file, encoding="utf-8").read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        sentence = f"{file} cannot be read: {reason}"
        name = file if isinstance(error, FileNotFoundError) else "plan.json"
        raise UsageError(sentence, next_step=command("plan", "--json") + f" > {name}") from None
    return Reviewed.read(text, file)


def _show(
    console: Console, environment: Environment, *, diff: bool, sql: bool, detailed_exitcode: bool, **wishes: Any
) -> int:
    if sql and console.no_commands:
        sentence = "`--sql` renders the migrations with the project's env.py, which `--no-commands` does not run"
        raise UsageError(sentence, next_step=command("plan --no-commands"))
    seen = environment.survey(**wishes)
    if console.json:
        from provision.report import documents
        from provision.report.plan import content_of

        scripts = environment.sql(seen) if sql else None
        console.document(documents.plan(seen, read=content_of if diff else None, scripts=scripts))
    else:
        asked = [f"--{each.replace('_', '-')}" for each in _ASKED_FOR if wishes.get(each)]
        for option, names in (("--tenant", wishes["tenants"]), ("--except", wishes["without"])):
            asked += [f"{option} {shlex.quote(each)}" for each in names]
        _show_text(console, environment, seen, diff=diff, sql=sql, asked=asked)
    if console.format == "github":
        from provision.report.pipelines import results

        results.planned(console, seen, lambda: [] if console.no_commands else environment.sql(seen))
    return EXIT_CHANGES_PENDING if detailed_exitcode and seen.plan.differs else EXIT_DONE


def _show_text(
    console: Console, environment: Environment, seen: Survey, *, diff: bool, sql: bool, asked: Sequence[str]
) -> None:
    """Show a plan; ``asked`` are the options that the next command needs too."""
    from provision.report import plan as report, survey

    paint = console.paint(console.out)
    is_empty = seen.plan.is_empty and not seen.plan.unknown
    console.say(survey.nothing_to_do(seen, console.elapsed(), paint) if is_empty else survey.heading(seen, paint))
    console.lines(survey.identity(seen.spec, paint) if console.verbose or not is_empty else ())
    console.lines(survey.variables(seen.spec.variables, paint) if console.verbose else ())
    console.lines(survey.rejected(seen, paint) if console.verbose else ())
    if is_empty:
        console.lines(report.left(seen.plan, paint))
        return
    console.lines(report.lines(seen.plan, paint, verbose=console.verbose))
    if diff:
        console.lines(report.diff(seen.plan, paint), whole=True)
    if sql:
        _show_sql(console, environment, seen)
    again = console.line("plan" if seen.plan.unknown else "apply", *asked)
    next_step = given.trusted(console, again) if seen.plan.unknown else again
    if seen.obstacle is not None:
        next_step = f"{seen.obstacle.next_step}; then: {next_step}"
    console.say(f"{paint('cyan', 'next:')} {next_step}")


def _show_sql(console: Console, environment: Environment, seen: Survey) -> None:
    from provision.report.sql import lines

    for number, script in enumerate(environment.sql(seen)):
        if number or not console.quiet:  # alone, it is a file for psql, which begins with its first line
            console.put("")
        console.put(*lines(script))
    if not console.quiet:
        console.put("")


def _apply(
    console: Console,
    environment: Environment,
    *,
    as_planned: str | None,
    diff: bool,
    lock_timeout: float,
    snapshot: bool,
    source: str | None,
    **wishes: Any,
) -> int:
    from provision.model.value import replace

    if as_planned is not None and source:
        raise click.UsageError("--from copies data, which is in no plan: apply with --from first, then --as-planned")
    copied = _copy(console, environment) if source else ()
    reviewed = _reviewed(as_planned) if as_planned is not None else None
    wishes |= reviewed.options if reviewed else {}
    seen = environment.survey_to_apply(**wishes)
    if seen.plan.is_empty and not wishes["golden"]:
        done = replace(environment.apply(seen), outcomes=copied, seconds=console.elapsed())
    else:
        from provision.report.progress import followed

        _say_what_comes(console, seen, diff=diff)
        with followed(console) as progress:
            done = environment.apply(
                seen, progress=progress, lock_timeout=lock_timeout, snapshot=snapshot, reviewed=reviewed
            )
        done = replace(done, outcomes=(*copied, *done.outcomes), seconds=console.elapsed())
    _say_what_was_done(console, seen, done)
    return 0


def _say_what_was_done(console: Console, seen: Survey, done: Result) -> None:
    from provision.report.survey import applied

    def document() -> object:
        from provision.report.documents import result

        return result(seen, done)

    console.show(document, applied(seen, done, console), talk=True)
    if console.format == "github":
        from provision.report.pipelines import results

        results.applied(console, seen.spec.name, done)


def _copy(console: Console, environment: Environment) -> tuple[Outcome, ...]:
    """Fill a new environment with the data of the main checkout's."""
    from provision.report.progress import followed

    paint, spec = console.paint(console.talk), environment.spec
    if spec.main_path is not None:
        console.say(f"{paint('bold', spec.name)} with the data of the main checkout ({spec.main_path})")
    with followed(console) as progress:
        return environment.copy_main(progress=progress).outcomes
