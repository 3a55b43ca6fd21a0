"""The files of an Alembic tree: found, read and remembered.

Reading is all that happens here; what the files mean is the business of :mod:`provision.alembic.tree`. The cache is
only ever an advantage: one that is missing, damaged or of another version is the same as none.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.alembic.running import resolve as alembic_resolve
from provision.alembic.tree import Graph, Location, ids, locate, several
from provision.errors import MigrationsError, ProvisionError
from provision.system import owned
from provision.system.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provision.spec.model import Migrations


def load(tree: Migrations, cache: Path | None = None) -> tuple[Graph, Location]:
    """Read a tree; ``cache`` is a file that :func:`remember` wrote.

    Raises:
        MigrationsError: there is no tree there, or it is not in order.
    """
    location = find(tree, cache)
    sources = {path: _read(path) for path in _files(location)}
    if not sources:
        _refuse_overlooked(location)
    graph = Graph.of(sources, _recall(cache), lambda error: alembic_resolve.revisions(tree, location, error))
    graph.unread = _unread(location)
    if location.env.is_file():
        env = _read(location.env)
        graph.runs_in_a_loop = several.runs_in_a_loop(env)
        graph.widens_version_table = bool(graph.long) and any(ids.widens(each) for each in (env, *sources.values()))
    return graph, location


def stated(tree: Migrations) -> tuple[Mapping[Path, bytes], bool]:
    """Return the revision files of a tree, and whether it deals with its version table; nothing of it is run.

    Raises:
        MigrationsError: there is no tree there, or only its interpreter knows where.
    """

    def unknown(place: str) -> Path:
        raise MigrationsError(f"only the project's interpreter knows where {place} is")

    location = find(tree, directory=unknown)
    sources = {path: _read(path) for path in _files(location)}
    return sources, any(ids.widens(each) for each in (_read(location.env), *sources.values()))


def find(tree: Migrations, cache: Path | None = None, directory: Callable[[str], Path] | None = None) -> Location:
    """Return where a tree is; what only the project's interpreter knows is kept beside ``cache``.

    ``directory`` returns the directory of a ``package:dir``; by default the interpreter is asked.

    Raises:
        MigrationsError: its configuration or its ``env.py`` is not there.
    """
    text = None
    if tree.config is not None:
        try:
            text = tree.config.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            sentence = f"{tree.config} cannot be read: {_reason(error)}"
            raise MigrationsError(sentence, next_step="correct `migrations.config` in the spec") from None
    location = locate(tree, text, directory or (lambda place: alembic_resolve.directory(tree, place, cache)))
    if location.env.is_file():
        return location
    for above in tree.config.parent.parents if tree.config and not tree.cwd else ():
        # A file that is deeper in the project than where Alembic is called from: relative paths begin there.
        other = locate(replace(tree, cwd=above), text, lambda _place: location.script)
        if other.env.is_file():
            return other
    if tree.command:
        return location
    relative = "; a relative `script_location` begins at `migrations.cwd`" if tree.config else ""
    raise MigrationsError(
        f"{location.script} is not an Alembic environment: it has no env.py",
        next_step=f"correct `migrations` in the spec{relative}, or make one: alembic init {location.script}",
    )


def remember(graph: Graph, cache: Path) -> None:
    """Keep what was read for the next time, unless the file has it already; being unable to is no error."""
    from provision.alembic.running import resolve as alembic_resolve

    alembic_resolve.keep()
    if _recall(cache) == graph.cache:
        return
    with suppress(ProvisionError):
        write_atomically(cache, json.dumps(graph.cache, separators=(",", ":")), 0o644)


def _recall(cache: Path | None) -> Mapping[str, Any]:
    if cache is None:
        return {}
    try:
        found = json.loads(owned.text(cache) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(location: Location) -> Iterator[Path]:
    """Return the revision files in Alembic's order; a file that two locations share comes once."""
    seen: set[str] = set()
    for directory in location.versions:
        for path in _walk(str(directory), recursive=location.recursive):
            real = os.path.realpath(path) if len(location.versions) > 1 else path
            if real not in seen:
                seen.add(real)
                yield Path(path)


def _refuse_overlooked(location: Location) -> None:
    """Refuse a tree without revisions whose script directory has some elsewhere: it would seem to have nothing to do.

    An ``env.py`` can choose the directory itself, by the dialect for example.
    """
    places: dict[Path, int] = {}
    for path in sorted(location.script.rglob("*.py")):
        if path.parent not in {location.script, *location.versions} and b"down_revision" in _read(path):
            places[path.parent] = places.get(path.parent, 0) + 1
    if places:
        likely = next((each for each in places if "postgres" in each.name.lower()), next(iter(places)))
        empty = ", ".join(str(each) for each in location.versions)
        raise MigrationsError(
            f"there is no revision in {empty}, but there are some elsewhere",
            evidence=[f"{number} in {place}" for place, number in places.items()],
            next_step=f"say where they are, under `migrations`: options: {{version_locations: '{likely}', "
            "path_separator: newline}, or `config`: the ini file that says it",
        )


def _unread(location: Location) -> tuple[Path, ...]:
    """Return the directories with Python files that lie beside revisions and are not read."""
    if location.recursive:
        return ()
    found = []
    for directory in location.versions:
        with suppress(OSError):
            beside = [Path(each) for each in os.scandir(directory) if each.is_dir() and each.name != "__pycache__"]
            found += [
                each for each in sorted(beside) if next(each.rglob("*.py"), None) and each not in location.versions
            ]
    return tuple(found)


def _walk(directory: str, *, recursive: bool) -> Iterator[str]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise MigrationsError(
            f"{directory} cannot be read: {_reason(error)}", next_step=f"ls -ld {directory}"
        ) from None
    for entry in entries:
        name = entry.name
        if name.endswith(".py") and not name.startswith((".#", "__init__")):
            yield entry.path
    if recursive:
        for entry in entries:
            if entry.is_dir() and entry.name != "__pycache__":
                yield from _walk(entry.path, recursive=True)


def _read(path: Path) -> bytes:
    try:
        # Half the time of Path.read_bytes, for 500 files; a pipe that nothing writes to has nothing to read.
        with open(path, "rb", buffering=0, opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise MigrationsError(f"{path} is not a regular file", next_step=f"ls -l {path}")
            return file.readall()
    except OSError as error:
        raise MigrationsError(f"{path} cannot be read: {_reason(error)}", next_step=f"ls -l {path}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
