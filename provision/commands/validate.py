"""``provision validate``: read specs, and touch nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.commands.options import about_spec, find_spec, json_option, no_commands_option, pass_console, switches

if TYPE_CHECKING:
    from provision.report.console import Console
    from provision.spec.model import Spec


@click.command("validate", epilog="Example: provision validate specs/*.yml")
@click.argument("specs", nargs=-1, type=click.Path(path_type=Path), metavar="[SPEC]...")
@about_spec
@no_commands_option
@json_option
@switches
@pass_console
def command(console: Console, specs: tuple[Path, ...]) -> int:
    """Check specs without starting or writing anything.

    Every problem of a file is shown at once, at its line and column, with what to write instead. Exits with 65 when
    a spec is wrong.
    """
    paths = [find_spec(path, Path()) for path in specs] or [find_spec(None, Path())]
    return _documents(console, paths) if console.json else _lines(console, paths)


def _lines(console: Console, paths: list[Path]) -> int:
    from provision.errors import SpecError

    code = 0
    for path in paths:
        try:
            spec, checked = _read(path)
        except SpecError as error:
            from provision.report.errors import tell

            code = tell(error, console)
        else:
            unchecked = "" if checked else "; settings not checked: `provision apply` reads them from the image"
            console.say(f"{path}: valid ({spec.name}, {spec.server.image}){unchecked}")
    return code


def _documents(console: Console, paths: list[Path]) -> int:
    from provision.errors import SpecError
    from provision.report.documents import validated, validation

    code, found = 0, []
    for path in paths:
        try:
            spec, checked = _read(path)
            found.append(validated(str(path), spec.name, checked=checked))
        except SpecError as error:
            code = error.exit_code
            found.append(validated(str(path), None, error.problems))
    console.document(validation(found))
    return code


def _read(path: Path) -> tuple[Spec, bool]:
    """Return a spec, and whether its settings could be checked: those of a newer PostgreSQL may not be known yet.

    Raises:
        SpecError: it is wrong.
    """
    import os

    from provision.alembic.trees import check
    from provision.spec.load import load
    from provision.spec.parameters import is_known

    spec = load(path, os.environ, needs_password_file=True)
    check(spec)
    if is_known(spec.server.major):
        return spec, True
    from provision.observe import checked

    return spec, checked(spec, os.environ)
