"""``provision init``, ``validate`` and ``render``: the files of a project, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.commands import options as given
from provision.commands.specfile import find_spec, shell_word
from provision.errors import EXIT_DONE, EXIT_SPEC, SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.environment import Environment
    from provision.report.console import Console


@given.subcommand(
    "init",
    "provision init --image postgres:16",
    click.option("--directory", type=click.Path(path_type=Path), default=Path(), help="Where; the current directory."),
    click.option("--name", metavar="NAME", help="The name of the environment; that of the directory."),
    click.option("--image", metavar="IMAGE", help="The image of the server, with its major version: postgres:17."),
    click.option("--port", metavar="PORT", help="The port on this host, or auto; 5432 where it is free."),
    argument=None,
)
def init(console: Console, *, directory: Path, name: str | None, image: str | None, port: str | None) -> None:
    """Write a spec, an Alembic environment and models where they are missing.

    What is there is found and used: Alembic's configuration, the PostgreSQL of a compose file, models, a virtual
    environment. Nothing is overwritten, and nothing of the project is run. Needs neither Docker nor a server.
    """
    from provision.api import initialise
    from provision.report import init as report

    done = initialise(directory, name=name, image=image, port=port)
    there = shell_word(directory) if directory != Path() else None
    lines = report.lines(done, there, console.paint(console.out))
    console.show(lambda: report.document(done, directory), lines, talk=True)


@given.subcommand(
    "validate",
    "provision validate specs/*.yml",
    click.argument("specs", nargs=-1, type=click.Path(path_type=Path), metavar="[SPEC]..."),
    given.about_spec,
    click.option("--effective", is_flag=True, help="Print what a spec says in the end, with the origin of each line."),
    given.no_commands_option,
    given.format_option(),
    argument=None,
)
def validate(console: Console, specs: tuple[Path, ...], *, effective: bool) -> int:
    """Check specs without starting or writing anything.

    Every problem of a file is shown at once, at its line and column, with what to write instead. Exits with 65 when
    a spec is wrong.
    """
    from provision.report import documents

    console.prints_data = effective
    paths = [find_spec(path, Path()) for path in specs] or [find_spec(None, Path())]
    read, bases = _read(console, paths)
    many = len(read) - len(bases) > 1
    found = [
        _base(console, path, bases[path])
        if path in bases
        else _shown(console, path, environment, outcome, effective=effective, many=many)
        for path, (environment, outcome) in read.items()
    ]
    if console.json:
        console.document(documents.validation(found))
    return EXIT_DONE if all(each["valid"] for each in found) else EXIT_SPEC


def _read(
    console: Console, paths: Sequence[Path]
) -> tuple[dict[Path, tuple[Environment, bool | SpecError]], dict[Path, list[Path]]]:
    """Validate specs: return what each environment says, or what is wrong with its spec; and the bases among them.

    A base is a file that is no whole spec, and that others extend: those in its directory are validated too.
    """
    from provision.several import extending

    read: dict[Path, tuple[Environment, bool | SpecError]] = {}
    bases: dict[Path, list[Path]] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop(0)
        environment = given.environment_of(console, path)
        try:
            read[path] = environment, environment.validate()
        except SpecError as error:
            read[path] = environment, error
            others = extending(path) if error.is_incomplete else []
            if others:
                bases[path] = others
                waiting += [each for each in others if each not in {*read, *waiting}]
    return read, bases


def _base(console: Console, path: Path, others: Sequence[Path]) -> dict[str, Any]:
    from provision.report import documents

    if not console.json:
        names = ", ".join(shell_word(each) for each in others)
        console.say(f"{path}: no spec by itself; what it says is checked with {names}")
    return documents.validated(str(path), None)


def _shown(
    console: Console,
    path: Path,
    environment: Environment,
    outcome: bool | SpecError,  # noqa: FBT001  # whether its settings were checked
    *,
    effective: bool,
    many: bool,
) -> dict[str, Any]:
    """Return what was found in one spec, and print it unless the whole is JSON."""
    from provision.report import documents
    from provision.report.errors import remarks, report

    if isinstance(outcome, SpecError):
        tell = given.teller(console)
        if not console.json:
            report(outcome, console, tell)
        elif tell is not None:
            tell(console, outcome)
        return documents.validated(str(path), None, outcome.problems)
    checked, spec = outcome, environment.made
    document = documents.validated(str(path), spec.name, checked=checked, remarks=spec.remarks)
    if effective:
        document |= _effective(console, environment, many=many)
    unchecked = "" if checked else "; settings not checked: `provision apply` reads them from the image"
    if not console.json:
        console.say(f"{path}: valid ({spec.name}, {spec.server.image}){unchecked}")
        console.lines(remarks(spec.remarks, console.paint(console.talk), width=console.columns(console.talk)))
    if console.format == "github":
        from provision.report.pipelines import results

        results.validated(console, str(path), spec.remarks)
    return document


def _effective(console: Console, environment: Environment, *, many: bool) -> dict[str, Any]:
    """Return what a spec says in the end, as JSON, and print it as YAML unless the whole is JSON."""
    from provision.report import effective as report

    values = environment.effective()
    if not console.json:
        if many:
            console.put(f"---  # {shell_word(environment.path)}")
        console.put(*report.lines(values, environment.path))
    return {"effective": report.document(values)}


@given.subcommand(
    "render",
    "provision render --stdout specs/dev.yml",
    click.option("--stdout", "to_stdout", is_flag=True, help="Print the files (never a secret) and write nothing."),
    given.no_commands_option,
    json=False,
)
def render(console: Console, spec: Path | None, *, to_stdout: bool) -> None:
    """Write docker-compose.yml and postgresql.conf, and touch nothing else.

    They go to .provision/NAME/ beside the spec, and only a file that differs is written. Their paths are printed.
    """
    from provision.report import plan as report

    done = given.load_environment(console, spec).render(write=not to_stdout)
    if to_stdout:
        console.put(*report.contents(done.files))
        for line in done.unknown:
            console.put(f"# ? {line}")
        return
    console.lines(report.rendered(done, console.paint(console.out)))
