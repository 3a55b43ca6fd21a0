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
            spec = _load(path)
        except SpecError as error:
            from provision.report.errors import tell

            code = tell(error, console)
        else:
            console.say(f"{path}: valid ({spec.name}, {spec.server.image})")
    return code


def _documents(console: Console, paths: list[Path]) -> int:
    from provision.errors import SpecError
    from provision.report.documents import validated, validation

    code, found = 0, []
    for path in paths:
        try:
            found.append(validated(str(path), _load(path).name))
        except SpecError as error:
            code = error.exit_code
            found.append(validated(str(path), None, error.problems))
    console.document(validation(found))
    return code


def _load(path: Path) -> Spec:
    import os

    from provision.spec.load import load
    from provision.trees import refuse_ids

    spec = load(path, os.environ)
    refuse_ids(spec)
    return spec
