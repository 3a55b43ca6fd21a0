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


_known: dict[tuple[str, ...], tuple[dict[str, Any], list[_File]]] = {}
"""By the directories of a tree: what those and the files looked like, and the files."""


def keep_code(script: Any, *, more: bool) -> None:
    """Have the files of a tree read once; each module is made anew for each database, with variables of its own.

    A file is the same as long as its size is, and when it was written: Python itself sees it so. With ``more``
    databases to come, what is read is kept for them.
    """
    from alembic.script import Script

    generator = script.revision_map._generator  # noqa: SLF001
    if script.sourceless or getattr(script, "recursive_version_locations", False):
        return

    def _load_revisions() -> Iterator[Any]:
        directories = _directories(script)
        stamps, files = _known.get(directories, ({}, []))
        if files and stamps == _stamps(directories, stamps.keys() - directories):
            for each in files:
                module = module_from_spec(each.spec)
                exec(each.code, vars(module))  # noqa: S102  # as its loader does
                yield Script(module, getattr(module, "revision", each.revision), each.path)
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

    codes: dict[str | None, CodeType] = {}

    def read(directory: str, name: str) -> ModuleType:
        if is_over():
            raise InterruptedError
        spec: Any = spec_from_file_location(re.sub(r"\W", "_", name), os.path.join(directory, name))  # noqa: PTH118
        codes[spec.origin] = spec.loader.get_code(spec.name)
        if "revision" not in codes[spec.origin].co_names:
            raise LookupError  # Alembic takes it out of the name
        module = module_from_spec(spec)
        vars(module).update(revision=name, down_revision=None)
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
    directories: tuple[str, ...], found: Iterable[Any], codes: Mapping[str | None, CodeType] | None = None
) -> Iterator[Any]:
    """Yield the revisions of a tree, and keep the code of all; ``codes`` are those that are known by their files."""
    before, files = _stamps(directories), []
    for each in found:
        spec = each.module.__spec__
        code = (codes or {}).get(spec.origin) or spec.loader.get_code(spec.name)
        files.append(_File(each.path, each.revision, spec, code))
        yield each
    after = _stamps(directories, [os.fspath(each.path) for each in files])
    if all(after[each] == names for each, names in before.items()):
        _known[directories] = after, files


def _stamps(directories: Iterable[str], files: Iterable[str] = ()) -> dict[str, Any]:
    """Return what would look otherwise if a file was changed, or came or went; Python's own bytecode does not count."""
    found: dict[str, Any] = {}
    for path in directories:
        with suppress(OSError):
            found[path] = frozenset(os.listdir(path)) - {"__pycache__"}  # noqa: PTH208
    for path in files:
        with suppress(OSError):
            seen = os.stat(path)  # noqa: PTH116  # this is asked for each file of each database
            found[path] = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)
    return found
