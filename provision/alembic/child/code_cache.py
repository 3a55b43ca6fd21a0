"""Keeps the code of revision files from one database to the next: Alembic reads and compiles each of them each time.

The first database finds what was read while its server was still coming up. The project's code sees no difference:
nothing of it runs before its time, and each database has modules of its own.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import CodeType, ModuleType


class _File(NamedTuple):
    """A revision file that was read before: the ``spec`` is the module's."""

    path: Any
    revision: str
    spec: Any
    code: CodeType


_UNKNOWN = ""
"""The id of a revision of which only the code is known."""
_known: dict[tuple[str, ...], tuple[dict[str, Any], list[_File]]] = {}
"""By the directories of a tree: what those and the files looked like, and the files."""


def keep_code(script: Any, *, more: bool) -> None:
    """Have the files of a tree read once; each module is made anew for each database, with variables of its own.

    A file is the same as long as its size is, and when it was written: Python itself sees it so. With ``more``
    databases to come, what is read is kept for them.
    """
    generator = script.revision_map._generator  # noqa: SLF001
    if script.sourceless or getattr(script, "recursive_version_locations", False):
        return

    def _load_revisions() -> Iterator[Any]:
        directories = _directories(script)
        stamps, files = _known.get(directories, ({}, []))
        if files and stamps == _stamps(directories, stamps.keys() - directories):
            scripts = [_script(each) for each in files]
            yield from generator() if None in scripts else scripts  # Alembic takes an id out of the name
        elif more:
            yield from _kept(directories, generator())
        else:
            yield from generator()

    script.revision_map._generator = _load_revisions  # noqa: SLF001


def read_ahead(directories: Sequence[str], is_over: Callable[[], bool]) -> None:
    """Read the code of revision files before anybody asks for them, until ``is_over``; nothing of it runs.

    Whatever is wrong with them, or worth a warning, is found when they are loaded.
    """
    from alembic.script import ScriptDirectory

    util: Any = import_module("alembic.util")
    codes: dict[str, tuple[Any, CodeType]] = {}

    def read(directory: str, name: str) -> ModuleType:
        if is_over():
            raise InterruptedError
        path = os.path.join(directory, name)  # noqa: PTH118
        spec: Any = spec_from_file_location(re.sub(r"\W", "_", name), path)
        codes[path] = _stamp(path), spec.loader.get_code(spec.name)
        module = module_from_spec(spec)
        vars(module).update(revision=_UNKNOWN, down_revision=None)
        return module

    load = util.load_python_file
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("error")
        script = ScriptDirectory(directories[0], version_locations=list(directories))
        try:
            util.load_python_file = read
            for _ in _kept(_directories(script), script._load_revisions(), codes):  # noqa: SLF001
                pass
        finally:
            util.load_python_file = load


def _directories(script: Any) -> tuple[str, ...]:
    return tuple([os.fspath(each) for each in script._version_locations])  # noqa: SLF001


def _kept(
    directories: tuple[str, ...], found: Iterable[Any], codes: Mapping[str, tuple[Any, CodeType]] | None = None
) -> Iterator[Any]:
    """Yield the revisions of a tree, and keep the code of all; ``codes`` are those that are known by their files.

    How a file looks is asked before it is read: one that is written meanwhile is another one then.
    """
    names, stamps, files = _stamps(directories), {}, []
    for each in found:
        path, spec = os.fspath(each.path), each.module.__spec__
        stamps[path], code = (codes or {}).get(path) or (_stamp(path), spec.loader.get_code(spec.name))
        files.append(_File(each.path, each.revision, spec, code))
        yield each
    if names == _stamps(directories):
        _known[directories] = {**names, **stamps}, files


def _script(file: _File) -> Any:
    """Return a revision with a module of its own; None where its id is not known."""
    from alembic.script import Script

    module = module_from_spec(file.spec)
    exec(file.code, vars(module))  # noqa: S102  # as its loader does
    revision = getattr(module, "revision", file.revision)
    return None if revision == _UNKNOWN else Script(module, revision, file.path)


def _stamps(directories: Iterable[str], files: Iterable[str] = ()) -> dict[str, Any]:
    """Return what would look otherwise if a file was changed, or came or went; Python's own bytecode does not count."""
    found: dict[str, Any] = {}
    for path in directories:
        with suppress(OSError):
            found[path] = frozenset(os.listdir(path)) - {"__pycache__"}  # noqa: PTH208
    return {**found, **{path: _stamp(path) for path in files}}


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116  # this is asked for each file of each database
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
