"""Which environments this user has made on this machine: a file for each, in the state directory of the user.

It is a cache. Labels of containers say most of it, and a server that runs says whose it is; but of an embedded server
that is stopped, nothing else tells where it is. What is read here is compared with what is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from provision.errors import ProvisionError
from provision.runtimes.names import LISTED, MACHINE, USER
from provision.system import files, owned
from provision.system.variables import environ

_MACHINE_ID = "/etc/machine-id"
"""https://www.freedesktop.org/software/systemd/man/latest/machine-id.html: it must not be shown as it is."""
_DIGITS, _DAY = 12, 86400


class Tree(NamedTuple):
    """A tree of migrations: its version table, and the database that it is in."""

    name: str
    database: str
    table: str
    schema: str | None


class Entry(NamedTuple):
    """An environment as it was at its last apply. ``home`` is its directory; ``data`` is empty where a volume has it.

    ``spec`` is empty where a program gave a mapping. ``user`` is the superuser's name.
    """

    home: str
    spec: str
    runtime: str
    data: str
    user: str
    trees: tuple[Tree, ...]
    machine: str


def me() -> Mapping[str, str]:
    """Return the labels that say who makes something, and on which machine."""
    from provision.system.machine import user_name  # only where something is made

    return {USER: user_name(), MACHINE: machine()}


def machine() -> str:
    """Return what tells this machine from others: its name, and a digest of its id."""
    name = platform.node()
    known = ""
    with suppress(ProvisionError):
        known = files.read_text(Path(_MACHINE_ID)) or ""
    return f"{name}.{hashlib.sha256(f'provision {known.strip() or name}'.encode()).hexdigest()[:_DIGITS]}"


def is_here(found: str) -> bool:
    """Whether a label names this machine, whatever its name is now."""
    return found.rpartition(".")[2] == machine().rpartition(".")[2]


def _place() -> Path:
    """Return the directory: https://specifications.freedesktop.org/basedir-spec/latest/ ."""
    given = environ().get("XDG_STATE_HOME", "")
    home = Path(given) if given.startswith("/") else Path(environ().get("HOME") or Path.home()) / ".local" / "state"
    return home / "provision" / "environments"


def _file(home: str) -> Path:
    return _place() / f"{hashlib.sha256(home.encode()).hexdigest()[:_DIGITS]}.json"


def keep(entry: Entry) -> None:
    """Write an entry, and a note beside the environment that says where it is; without room, nothing is kept."""
    file, note, text, where = _file(entry.home), Path(entry.home) / LISTED, json.dumps(entry), ""
    with suppress(ProvisionError):
        if owned.text(file) != text:
            _prune()
            files.write_atomically(file, text, 0o600)
        where = str(file)
    with suppress(ProvisionError):
        if owned.text(note) != where:
            files.write_atomically(note, where, 0o644)


def _prune() -> None:
    """Remove what is left of environments that are gone; for a day, a server may still run."""
    with suppress(OSError), os.scandir(_place()) as files:
        for file in files:
            is_old = time.time() - file.stat().st_mtime > _DAY  # asked first: reading hundreds takes 0.1 s
            entry = _read(Path(file)) if is_old else None
            if entry and not any(os.path.lexists(each) for each in (entry.home, entry.data or entry.home)):
                Path(file).unlink()


def forget(home: Path) -> None:
    """Remove the entry of an environment, where there is one."""
    with suppress(OSError):
        _file(str(home)).unlink()


def entries() -> Iterator[Entry]:
    """Yield the entries that this user has written on this machine."""
    with suppress(OSError):  # another user's, where a program runs as one and keeps the variables of the other
        yield from filter(None, map(_read, sorted(_place().glob("*.json"))))


def _read(file: Path) -> Entry | None:
    """Return an entry; None where it is of another machine or version, or not ours to read."""
    try:
        home, spec, runtime, data, user, trees, where = json.loads(owned.text(file) or "")
        found = Entry(home, spec, runtime, data, user, tuple(Tree(*each) for each in trees), where)
    except (ProvisionError, ValueError, TypeError):
        return None
    return found if is_here(found.machine) else None
