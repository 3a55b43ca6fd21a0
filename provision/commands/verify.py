"""``provision verify``: whether everything that is declared is so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from provision.commands.options import (
    declared_exitcode_option,
    diff_option,
    json_option,
    load_spec,
    no_commands_option,
    pass_console,
    spec_argument,
    switches,
)

if TYPE_CHECKING:
    from pathlib import Path

    from provision.report.console import Console


@click.command("verify", epilog="Example: provision verify --detailed-exitcode specs/dev.yml")
@spec_argument
@diff_option
@declared_exitcode_option
@no_commands_option
@json_option
@switches
@pass_console
def command(console: Console, spec: Path | None, *, diff: bool, detailed_exitcode: bool) -> int:
    """Compare everything that a spec declares with what is, field by field.

    Whoever changed it: by `docker update`, in a rendered file, with ALTER SYSTEM, or by another checkout's migrations.
    Nothing is changed. Exits with 69 when the engine or the server cannot be reached.
    """
    from provision.errors import EXIT_CHANGES_PENDING, EXIT_DONE, EXIT_UNAVAILABLE
    from provision.observe import survey
    from provision.report import differences

    found = survey(load_spec(console, spec), refusing=False)
    seen = differences.verification(found)
    if console.json:
        from provision.report.documents import verification

        console.document(verification(found, seen))
    else:
        paint = console.paint(console.out)
        for line in differences.lines(found, seen, console.elapsed(), paint):
            console.say(line)
        if diff:
            from provision.commands.plan import content_of
            from provision.report.diff import lines, written

            for line in lines(written(found.plan), content_of, paint):
                console.say(line, whole=True)
        if seen.next_step:
            from provision.errors import with_spec
            from provision.report.errors import next_lines

            for line in next_lines(with_spec(seen.next_step, console.spec or ""), paint):
                console.say(line)
    if found.status.server == "unreachable":
        return EXIT_UNAVAILABLE
    return EXIT_CHANGES_PENDING if detailed_exitcode and not seen.is_clean else EXIT_DONE
