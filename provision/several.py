"""Several specs at once: which can run side by side, and which not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from provision.environment import Environment
from provision.errors import SpecError, UsageError
from provision.model.value import replace
from provision.spec.model import RuntimeName, Spec
from provision.spec.sharing import in_order, shared
from provision.system import files, side_by_side

_SUFFIXES = (".yml", ".yaml")
_EXTENDS = r"""(?m)^extends:[ \t]+["']?(?P<path>[^"'#\n]*?)["']?[ \t]*(?:#.*)?$"""


class Read(NamedTuple):
    """Specs that were read: ``paths`` and ``specs`` of the same length, and the files that others only extend."""

    paths: tuple[Path, ...]
    specs: tuple[Spec, ...]
    bases: tuple[Path, ...]


def read(paths: Sequence[Path], environment: Callable[[Path], Environment], *, lenient: bool) -> Read:
    """Read specs; one that is named twice counts once. ``lenient``: as far as what was made before needs it.

    A file that another one extends, and that is no whole spec, is none of them.

    Raises:
        SpecError: some are wrong; all of their problems are in the error.
    """
    named: dict[str, Path] = {}
    for path in paths:
        named.setdefault(os.path.realpath(path), path)
    found: dict[Path, Spec] = {}
    wrong: dict[Path, SpecError] = {}
    for path in named.values():
        try:
            found[path] = environment(path).made if lenient else environment(path).spec
        except SpecError as error:
            wrong[path] = error
    bases_ = [*(each.base for each in found.values()), *(each.base for each in wrong.values())]
    extended = {os.path.realpath(each) for each in bases_ if each is not None}
    bases = tuple([path for path, error in wrong.items() if error.is_incomplete and os.path.realpath(path) in extended])
    problems = {problem: None for path, error in wrong.items() if path not in bases for problem in error.problems}
    if problems:
        failure = SpecError(list(problems))
        failure.evidence = ("nothing was done, for the other specs neither",) if len(named) > 1 else ()
        raise failure
    return Read(tuple(found), tuple(found.values()), bases)


def extending(base: Path) -> list[Path]:
    """Return the specs in the directory of a file that extend it, as far as their text tells."""
    found = []
    for path in sorted(base.parent.iterdir()):
        if path.suffix in _SUFFIXES and path.is_file():
            match = re.search(_EXTENDS, files.read_text(path) or "")
            if match and os.path.realpath(path.parent / match["path"]) == os.path.realpath(base):
                found.append(path)
    return found


def groups(found: Read, *, acting: bool, runtime: RuntimeName | None = None) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the specs: the groups run side by side, and those of a group in order.

    Raises:
        UsageError: with ``acting``, two of them can never run at once.
    """
    specs = found.specs
    if runtime is not None:
        specs = tuple([replace(each, server=replace(each.server, runtime=runtime)) for each in specs])
    for number, spec in enumerate(specs) if acting else ():
        for other in range(number):
            both = shared(specs[other], spec)
            if both is not None and both.excludes:
                raise UsageError(
                    f"{found.paths[other]} and {found.paths[number]} both have {both.what}; nothing was done",
                    next_step="change it in one of them, with `port: auto` or another name; or name one of the two",
                )
    return in_order(specs)


Ended = side_by_side.Ended
run = side_by_side.run
