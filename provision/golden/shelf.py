"""The goldens of all runtimes: shown, removed, given to others, taken from them. No environment is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from provision.errors import ProvisionError, UnavailableError, UsageError
from provision.golden import RUNTIMES, Goldens, load
from provision.golden.key import Golden
from provision.system.look import Look

_PORTABLE = "docker"
_LEAST = 4


class Removal(NamedTuple):
    """The goldens that were removed, and why others stay."""

    gone: tuple[Kept, ...]
    error: ProvisionError | None


class Kept(NamedTuple):
    """One golden, and the runtime that has it."""

    runtime: str
    golden: Golden


def kept(environ: Mapping[str, str]) -> tuple[Kept, ...]:
    """Return all goldens, those that were used last first; where no engine answers, there are none of Docker."""
    look = Look(environ)
    found = [Kept(runtime, golden) for runtime, goldens in _all() for golden in _of(goldens, look)]
    return tuple(sorted(found, key=lambda each: -each.golden.used))


def remove(environ: Mapping[str, str], names: Sequence[str]) -> Removal:
    """Remove goldens, each named by the first digits of its key; one that has to stay keeps no other one.

    Raises:
        UsageError: there is no such golden, or there are several.
    """
    there = kept(environ)
    named = {found.golden.key: found for found in [_named(there, each) for each in names]}
    look, gone, refused = Look(environ), [], None
    for each in named.values():
        try:
            _module(each.runtime).store(look).remove(each.golden.key)
            gone.append(each)
        except ProvisionError as error:
            refused = refused or error
    return Removal(tuple(gone), refused)


def prune(environ: Mapping[str, str]) -> Removal:
    """Remove all goldens."""
    return remove(environ, [each.golden.key for each in kept(environ)])


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


def _all() -> Iterator[tuple[str, Goldens]]:
    for runtime in RUNTIMES:
        yield runtime, _module(runtime)


def _of(goldens: Goldens, look: Look) -> tuple[Golden, ...]:
    try:
        return goldens.store(look).dated()
    except UnavailableError:
        return ()


def _module(runtime: str) -> Goldens:
    found = load(runtime)
    if found is None:
        raise ProvisionError(f"there are no goldens of {runtime}", next_step="provision golden list")
    return found


def _named(there: Sequence[Kept], name: str) -> Kept:
    if len(name) < _LEAST:
        raise UsageError(f"{name!r} is too short: write {_LEAST} digits of the key", next_step="provision golden list")
    found = [each for each in there if each.golden.key.startswith(name)]
    if len(found) == 1:
        return found[0]
    what = "several goldens begin with" if found else "there is no golden"
    keys = [each.golden.key for each in found]
    raise UsageError(f"{what} {name!r}", evidence=keys, next_step="provision golden list")
