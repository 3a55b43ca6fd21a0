"""``init``: a directory is read, what it lacks is decided by :mod:`provision.init`, and written."""

from __future__ import annotations

import os
from pathlib import Path

from provision.apply import schema_file
from provision.errors import UsageError
from provision.init.begin import TEMPLATES, begin
from provision.init.found import Beginning, Directory, Interpreter, Options
from provision.observe.outside import shipped
from provision.spec.modeline import PLACE
from provision.system import files, listing, project
from provision.system.variables import environ


def initialise(place: Path, options: Options) -> Beginning:
    """Add what a directory lacks for ``apply``, and return what that was; the directory is made where there is none.

    Raises:
        ProvisionError: a file that decides what is written cannot be read, or one cannot be written.
        UsageError: the place is not a directory, or what was asked for gives no valid spec; nothing was written.
        RefusedError: there is no name left for a file that has to be made; nothing was written.
    """
    root = Path(os.path.abspath(place))  # noqa: PTH100  # links stay as they are written
    if root.exists() and not root.is_dir():
        raise UsageError(f"{place} is not a directory", next_step="provision init --directory DIRECTORY")
    templates = {name: files.read_text(shipped() / "init" / name) or "" for name in TEMPLATES}
    done = begin(look(root), options, project.Machine(root), templates)
    for file in done.files:
        project.add(root / file.path, file.text, append=file.append)
    if any(file.path == done.spec for file in done.files):
        schema_file.write(root / PLACE)
    return done


def look(root: Path) -> Directory:
    """Read a directory; one that is not there is empty."""
    names = frozenset(listing.names(root)) if root.exists() else frozenset()
    texts = {name: text for name in names if (text := listing.text(root, name)) is not None}
    places = {name.rpartition("/")[0] for name in names if name.endswith(("alembic.ini", "pyproject.toml"))}
    pythons = [each for place in sorted({"", *places}) for each in project.interpreters(root, place)]
    found = tuple(Interpreter(*each) for each in (*pythons, *project.active_interpreter(root, environ())))
    return Directory(root, texts, names, environ(), found, complete=len(names) < listing.MOST_FILES)
