"""``provision status`` and ``provision verify``: what runs, and whether it is as declared."""

from __future__ import annotations

from pathlib import Path

import click

from provision.commands import options as given
from provision.commands.several import specs_argument
from provision.errors import EXIT_CHANGES_PENDING, EXIT_DONE, EXIT_UNAVAILABLE, with_spec
from provision.observe import Survey
from provision.report.console import Console


@given.subcommand(
    "status",
    "provision status --json specs/dev.yml",
    given.detailed_exitcode_option,
    given.no_commands_option,
    argument=specs_argument(lenient=True),
)
def status(console: Console, spec: Path | None, *, detailed_exitcode: bool) -> int:
    """Show the server, its version, its data, its revision, and what differs from the spec.

    Nothing is changed. Where no plan can be made, the error follows what is known. Exits with 69 when the engine or the
    server cannot be reached.
    """
    seen = given.load_environment(console, spec).overview()
    if console.json:
        from provision.report import documents

        console.document(documents.status(seen))
        if seen.refusal is not None:
            return seen.refusal.exit_code
    else:
        from provision.report import survey

        console.lines(survey.status(seen, console.paint(console.out), spec=console.spec, verbose=console.verbose))
        if seen.refusal is not None:
            raise seen.refusal
    return _exit_code(seen, is_pending=detailed_exitcode and seen.plan.differs)


@given.subcommand(
    "verify",
    "provision verify --detailed-exitcode specs/dev.yml",
    given.diff_option,
    *given.TENANTS,
    click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when anything is not as declared."),
    given.no_commands_option,
    given.format_option(),
    argument=specs_argument(),
)
def verify(
    console: Console, /, spec: Path | None, *, diff: bool, detailed_exitcode: bool, **tenants: tuple[str, ...]
) -> int:
    """Compare everything that a spec declares with what is, field by field.

    Whoever changed it: by `docker update`, in a rendered file, with ALTER SYSTEM, or by another checkout's migrations.
    Nothing is changed. Exits with 69 when the engine or the server cannot be reached.
    """
    found = given.load_environment(console, spec).verify(**tenants)
    if console.json:
        from provision.report import documents

        console.document(documents.verification(found))
    else:
        from provision.report import survey
        from provision.report.errors import next_lines
        from provision.report.plan import diff as changes

        paint = console.paint(console.out)
        console.lines(survey.verification(found, console))
        if diff:
            console.lines(changes(found.survey.plan, paint), whole=True)
        console.lines(next_lines(with_spec(found.next_step or "", console.spec), paint))
    code = _exit_code(found.survey, is_pending=detailed_exitcode and not found.is_clean)
    if console.format == "github":
        from provision.report.pipelines import results

        results.verified(console, found, code)
    return code


def _exit_code(seen: Survey, *, is_pending: bool) -> int:
    if seen.status.server == "unreachable":
        return EXIT_UNAVAILABLE
    return EXIT_CHANGES_PENDING if is_pending else EXIT_DONE
