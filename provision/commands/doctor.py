"""``provision doctor``: what would fail, before anything does."""

from __future__ import annotations

from pathlib import Path

from provision.commands.options import load_environment, no_commands_option, subcommand
from provision.commands.specfile import DEFAULT_NAMES
from provision.errors import EXIT_DONE, EXIT_FAILED
from provision.report.console import Console


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
