"""Keeps the code of revision files from one database to the next: Alembic reads and compiles each of them each time.

The project's code sees no difference: each database has modules of its own.
"""

from __future__ import annotations

import os
from importlib.util import module_from_spec
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType


class _File(NamedTuple):
    """A revision file that was loaded before: the ``spec`` is the module's."""

    path: Any
    revision: str
    spec: Any
    code: CodeType


_known: dict[tuple[str, ...], tuple[dict[str, tuple[int, ...]], list[_File]]] = {}
"""By the directories of a tree: what those and the files looked like, and the files."""


def keep_code(script: Any) -> None:
    """Have the files of a tree read once; each module is made anew for each database, with variables of its own.

    A file is the same as long as its size is, and when it was written: Python itself sees it so. A directory that
    another file comes into, or leaves, is written then.
    """
    from alembic.script import Script

    generator = script.revision_map._generator  # noqa: SLF001
    if script.sourceless or getattr(script, "recursive_version_locations", False):
        return

    def _load_revisions() -> Iterator[Any]:
        directories = tuple([os.fspath(each) for each in script._version_locations])  # noqa: SLF001
        stamps, files = _known.get(directories, ({}, []))
        if files and all(_stamp(path) == stamp for path, stamp in stamps.items()):
            for each in files:
                module = module_from_spec(each.spec)
                exec(each.code, vars(module))  # noqa: S102  # as its loader does
                yield Script(module, getattr(module, "revision", each.revision), each.path)
            return
        stamps = {path: _stamp(path) for path in directories}
        files = []
        for found in generator():
            spec = found.module.__spec__
            stamps[os.fspath(found.path)] = _stamp(found.path)
            files.append(_File(found.path, found.revision, spec, spec.loader.get_code(spec.name)))
            yield found
        _known[directories] = stamps, files

    script.revision_map._generator = _load_revisions  # noqa: SLF001


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116  # this is asked for each file of each database
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
