"""The goldens of all runtimes: shown, removed, given to others, taken from them. No environment is needed for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from provision.errors import ProvisionError, UnavailableError, UsageError
from provision.golden import RUNTIMES, Goldens, load
from provision.golden.key import Golden
from provision.system.look import Look

_PORTABLE = "docker"
_LEAST = 4


class Kept(NamedTuple):
    """One golden, the runtime that has it, and whether this user has made it."""

    runtime: str
    golden: Golden
    is_mine: bool = True


class Shelf(NamedTuple):
    """All goldens, those that were used last first, and why those of Docker are not known, where no engine answers."""

    goldens: tuple[Kept, ...]
    silence: str


class Removal(NamedTuple):
    """The goldens that were removed, why others stay, and why those of Docker were not looked for.

    ``others`` is how many stay because another user made them.
    """

    gone: tuple[Kept, ...]
    error: ProvisionError | None
    silence: str = ""
    others: int = 0


def kept(environ: Mapping[str, str]) -> Shelf:
    """Return all goldens."""
    look, found, silence = Look(environ), [], ""
    for runtime in RUNTIMES:
        store = _module(runtime).store(look)
        try:
            found += [Kept(runtime, golden, golden.user == store.user) for golden in store.dated()]
        except UnavailableError as error:
            silence = error.sentence
    return Shelf(tuple(sorted(found, key=lambda each: -each.golden.used)), silence)


def remove(environ: Mapping[str, str], names: Sequence[str]) -> Removal:
    """Remove goldens, each named by the first digits of its key; one that has to stay keeps no other one.

    Raises:
        UsageError: there is no such golden, or there are several.
    """
    there = kept(environ)
    named = {found.golden.key: found for found in [_named(there, each) for each in names]}
    return _remove(environ, list(named.values()))


def _remove(environ: Mapping[str, str], chosen: Sequence[Kept]) -> Removal:
    look, gone, refused = Look(environ), [], None
    for each in chosen:
        try:
            _module(each.runtime).store(look).remove(each.golden.key)
            gone.append(each)
        except ProvisionError as error:
            refused = refused or error
    return Removal(tuple(gone), refused)


def prune(environ: Mapping[str, str], *, every: bool) -> Removal:
    """Remove the goldens that this user has made; with ``every`` also what others have put into the engine."""
    there = kept(environ)
    chosen = [each for each in there.goldens if every or each.is_mine]
    return _remove(environ, chosen)._replace(silence=there.silence, others=len(there.goldens) - len(chosen))


def export(environ: Mapping[str, str], name: str, file: Path) -> Kept:
    """Write a golden of Docker into a file; return it.

    Raises:
        UsageError: there is no such golden, or it is of another runtime.
        ProvisionError: it cannot be written.
    """
    found = _named(kept(environ), name)
    if found.runtime != _PORTABLE:
        raise UsageError(
            f"golden {found.golden.short}… is {found.runtime}, and only those of Docker are exported",
            next_step="provision golden list",
        )
    _module(_PORTABLE).export(Look(environ), found.golden.key, file)
    return found


def take(environ: Mapping[str, str], file: Path, sha256: str) -> Kept:
    """Take a golden of Docker from a file that has this SHA-256; return it.

    Raises:
        ProvisionError: the file is another one, or no golden.
    """
    return Kept(_PORTABLE, _module(_PORTABLE).take(Look(environ), file, sha256))


def _module(runtime: str) -> Goldens:
    found = load(runtime)
    if found is None:
        raise ProvisionError(f"there are no goldens of {runtime}", next_step="provision golden list")
    return found


def _named(there: Shelf, name: str) -> Kept:
    if len(name) < _LEAST:
        raise UsageError(f"{name!r} is too short: write {_LEAST} digits of the key", next_step="provision golden list")
    found = [each for each in there.goldens if each.golden.key.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = "several goldens begin with" if found else "there is no golden"
    keys = [each.golden.key for each in found] or list(filter(None, [there.silence]))
    raise UsageError(f"{what} {name!r}", evidence=keys, next_step="provision golden list")
