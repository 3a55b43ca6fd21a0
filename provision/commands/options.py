"""What the verbs share: the switches, the spec argument and how a missing or mistyped file is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from provision.report.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.errors import UsageError
    from provision.spec.model import Spec

F = TypeVar("F", bound="Callable[..., Any]")

DEFAULT_NAMES = ("provision.yml", "provision.yaml")
SUFFIXES = {".yml", ".yaml"}
MOST_SHOWN = 8
_OFF = ("", "0", "false", "no", "off", "f", "n")

pass_console = click.make_pass_decorator(Console)


def _switch(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def turn_on(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's shape
        if value:
            setattr(ctx.obj, name, True)

    return turn_on


def _flag(*names: str, sets: str, text: str) -> Callable[[F], F]:
    return click.option(*names, is_flag=True, expose_value=False, callback=_switch(sets), help=text)


def switches(function: F) -> F:
    """Add the switches that every verb, and the program itself, understands."""
    for option in (
        _flag("--no-color", sets="colourless", text="No colours (so does NO_COLOR=1 in the environment)."),
        _flag("-v", "--verbose", sets="verbose", text="More: every effect, all evidence, tracebacks."),
        _flag("-q", "--quiet", sets="quiet", text="Errors only (and data that was asked for, such as a URL)."),
    ):
        function = option(function)
    return function


json_option = _flag("--json", sets="json", text="Print one JSON document (docs/json.md) instead of text.")
diff_option = click.option("--diff", is_flag=True, help="Show how the rendered files change.")
sql_option = click.option("--sql", is_flag=True, help="Print the SQL that the migrations would run.")
detailed_exitcode_option = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when changes are pending."
)
declared_exitcode_option = click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when anything is not as declared."
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["docker", "embedded", "external"]),
    help="Where a new server shall live, whatever the spec says; for this run.",
)
_no_restart = click.option(
    "--no-restart", is_flag=True, help="Leave what would restart or recreate a running server for another time."
)
_reset_overrides = click.option(
    "--reset-overrides", is_flag=True, help="Take back what ALTER SYSTEM has set, so that the spec is in force."
)
allow_downgrade_option = _flag(
    "--allow-downgrade", sets="allow_downgrade", text="Undo revisions where the database is ahead of the target."
)
NO_COMMANDS = "PROVISION_NO_COMMANDS"
no_commands_option = click.option(
    "--no-commands",
    is_flag=True,
    expose_value=False,
    envvar=NO_COMMANDS,
    callback=_switch("no_commands"),
    help=f"Run nothing that the spec names, and log in nowhere ({NO_COMMANDS}=1 in the environment says the same).",
)
_spec = click.argument("spec", required=False, type=click.Path(path_type=Path), metavar="[SPEC]")


def spec_argument(function: F) -> F:
    """Add the spec that a verb is about."""
    return about_spec(_spec(function))


def about_spec(function: F) -> F:
    """Say in the help of a verb which spec it takes where none is named; click shows no help for arguments."""
    function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\n    Without SPEC it is ./{DEFAULT_NAMES[0]}.\n    "
    return function


def wishes_options(function: F) -> F:
    """Add the options that say how far a plan may go."""
    return _no_restart(_reset_overrides(function))


def find_spec(given: Path | None, directory: Path) -> Path:
    """Return the spec file that is meant: the given one, else ``provision.yml`` in this directory.

    Raises:
        provision.errors.UsageError: there is no such file; the error lists the files that could be meant.
    """
    if given is not None:
        return given if given.is_file() else _not_a_file(given)
    found = [Path(name) for name in DEFAULT_NAMES if (directory / name).is_file()]
    if len(found) == 1:
        return found[0]
    from provision.errors import UsageError

    candidates = [str(path) for path in found] or _specs_near(directory) or _specs_above(directory)
    sentence = (
        f"which spec? Both {' and '.join(DEFAULT_NAMES)} are here"
        if found
        else f"which spec? No file was named, and there is no {DEFAULT_NAMES[0]} here"
    )
    next_step = _again(candidates) if candidates else "provision init"
    raise UsageError(sentence, evidence=candidates[:MOST_SHOWN], next_step=next_step)


def load_spec(console: Console, given: Path | None, *, may_lack: bool = False) -> Spec:
    """Find the spec file and read it; ``may_lack``: also without the variables that only an apply needs."""
    path = find_spec(given, Path())
    console.spec = shell_word(path) if given is not None else ""
    import os

    if console.no_commands:
        from provision.observe import untrusted

        click.get_current_context().with_resource(untrusted())
    elif os.environ.get(NO_COMMANDS, "") not in _OFF:
        raise _runs_commands(console.spec)

    from provision.spec.load import load

    found = load(path, os.environ, may_lack=may_lack)
    if console.allow_downgrade:
        from dataclasses import replace

        trees = tuple(replace(tree, allow_downgrade=True) for tree in found.migrations)
        return replace(found, migrations=trees)
    return found


def _runs_commands(spec: str) -> UsageError:
    """Return the error of a verb that cannot do its work without what the spec names."""
    from provision.errors import UsageError

    command = click.get_current_context().command_path
    line = f"{command} {spec}".rstrip()
    return UsageError(
        f"`{command}` runs what the spec names, and {NO_COMMANDS} forbids that",
        evidence=["validate, plan, render, status and verify do without"],
        next_step=f"{f'provision plan {spec}'.rstrip()}   (where you trust the spec: env -u {NO_COMMANDS} {line})",
    )


def trusted(line: str) -> str:
    """Return a command line that runs what the spec names, where the environment forbids that."""
    import os

    unset = f"env -u {NO_COMMANDS} " if os.environ.get(NO_COMMANDS, "") not in _OFF else ""
    return f"{unset}{line}   (where you trust the spec: it runs what the spec names)"


def shell_word(path: Path) -> str:
    """Return a path as one would type it into a shell."""
    text = str(path)
    if text.replace("/", "").replace(".", "").replace("-", "").replace("_", "").isalnum():
        return text
    from shlex import quote

    return quote(text)


def _again(candidates: list[str]) -> str:
    ctx = click.get_current_context(silent=True)
    spec = shell_word(Path(candidates[0])) if candidates else "path/to/spec.yml"
    return f"{ctx.command_path if ctx else 'provision apply'} {spec}"


def _specs_near(directory: Path) -> list[str]:
    found = [
        path.relative_to(directory)
        for place in (directory, directory / "specs")
        if place.is_dir()
        for path in sorted(place.iterdir())
        if path.suffix in SUFFIXES and not path.name.startswith((".", "docker-compose", "compose"))
    ]
    return [str(path) for path in found]


def _specs_above(directory: Path) -> list[str]:
    """Return the spec of the project that a directory is in; what is above a repository is none of its business."""
    up, place = directory, directory.absolute()
    while not (place / ".git").exists() and place != place.parent:
        up, place = up / "..", place.parent
        if found := _default_in(up):
            return found
    return []


def _default_in(directory: Path) -> list[str]:
    return [str(directory / name) for name in DEFAULT_NAMES if (directory / name).is_file()]


def _not_a_file(given: Path) -> Path:
    from provision.errors import UsageError

    if given.is_dir():
        inside = [*_default_in(given), *[str(given / name) for name in _specs_near(given)]]
        inside = list(dict.fromkeys(inside))
        raise UsageError(
            f"{given} is a directory; name the spec file in it", evidence=inside[:MOST_SHOWN], next_step=_again(inside)
        )
    if given.exists():
        what = "a named pipe" if given.is_fifo() else "a socket" if given.is_socket() else "a device"
        near = _default_in(given.parent) or _specs_near(given.parent)
        raise UsageError(f"{given} is {what}, and a spec is a regular file", next_step=_again(near))
    place = given.parent
    if not place.is_dir():
        near = _alike(str(given.with_suffix("")), {each.rpartition(".")[0]: each for each in _specs_near(Path())})
        what = f"{given} does not exist: there is no directory {place}"
    else:
        near = _alike(given.stem, {path.stem: str(path) for path in place.iterdir() if path.suffix in SUFFIXES})
        what = f"{given} does not exist"
    guess = f"; did you mean {near[0]}?" if near else ""
    evidence = [] if near else _specs_near(Path())[:MOST_SHOWN]
    raise UsageError(what + guess, evidence=evidence, next_step=_again(near or _default_in(Path())))


def _alike(name: str, paths: dict[str, str]) -> list[str]:
    """Return the path that was mistyped, if one is that close; that all end in .yml makes none of them alike."""
    from difflib import get_close_matches

    return [paths[each] for each in get_close_matches(name, paths, n=1, cutoff=0.6)]
