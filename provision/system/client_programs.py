"""PostgreSQL's client programs: where this machine has them, of which version, and how they get a password."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from provision.errors import ProvisionError, RefusedError, command
from provision.model import Endpoint, sql
from provision.system import files, machine, processes
from provision.system.libpq import keepalives

_DUMPING = ("pg_dump", "pg_restore")
_DEBIAN = "/usr/lib/postgresql"


def choose(major: int, first: Path | None = None) -> Path:
    """Return a directory with ``pg_dump`` and ``pg_restore`` of a major version, or of the next newer one.

    An older ``pg_dump`` refuses a newer server. ``first`` is looked into before all others.

    Raises:
        RefusedError: there are none; which package has them.
    """
    found: dict[int, Path] = {}
    for each in _places(first):
        if all(os.access(each / name, os.X_OK) for name in _DUMPING):
            found.setdefault(processes.major_of(each / "pg_dump"), each)
            if major in found:
                return found[major]
    newer = sorted(each for each in found if each > major)
    if newer:
        return found[newer[0]]
    here = ", ".join(f"{each} in {place}" for each, place in sorted(found.items()))
    raise RefusedError(
        f"this machine has no pg_dump and pg_restore of PostgreSQL {major} or newer",
        evidence=[f"it has {here}"] if here else [],
        next_step=f"install them (Debian: apt install postgresql-client-{major}), "
        "or pip install 'provision-postgres[embedded]', which has them",
    )


def _places(first: Path | None) -> Iterator[Path]:
    if first is not None:
        yield first
    yield from sorted(Path(_DEBIAN).glob("[0-9]*/bin"))
    if (on_path := shutil.which("pg_dump")) is not None:
        yield Path(on_path).parent
    for each in machine.of_the_wheel():
        yield each.programs


def passfile(endpoint: Endpoint, program: str) -> IO[bytes]:
    """Return an open file without a name, from which libpq reads the password: nothing stays behind a kill.

    The password is never in argv or the environment.

    Raises:
        ProvisionError: it has a line break, which no such file can hold; ``program`` is what runs without ours.
    """
    if "\n" in endpoint.password.reveal():
        raise ProvisionError(
            f"the password of {endpoint.user!r} has a line break, and a password file has one line for each",
            next_step=command("run", f"-- {program}")
            + f"   (there {program.partition(' ')[0]} finds it in its environment)",
        )
    return files.nameless(sql.passfile(endpoint.password.reveal()).encode())


def dbname(endpoint: Endpoint, database: str) -> str:
    """Return what ``--dbname`` of a client program takes: a connection string, so that a name cannot be taken for one.

    It also says what has no variable of the environment.
    """
    return " ".join([sql.conninfo(database), *[f"{name}={value}" for name, value in keepalives(endpoint).items()]])
