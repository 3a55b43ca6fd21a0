"""What the seeds of a spec are now: the files that are there, and what is in them."""

from __future__ import annotations

import glob
import hashlib
import os
import shlex
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from provision.errors import ProvisionError, as_word, command, translated
from provision.spec.model import Seed, Spec

_MOST_FILES = 1000


class Source(NamedTuple):
    """One thing that runs: a file of a seed, or its program (``path`` is None).

    ``name`` is how the ledger knows it: the path relative to the directory of the spec, or the program as the spec has
    it, in one line. ``key`` tells it from all others of the spec.
    """

    seed: Seed
    name: str
    path: Path | None
    sha256: str
    key: str


class Sources:
    """The sources of all seeds in the order in which they run; files are read when that is first asked for."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def __iter__(self) -> Iterator[Source]:
        return iter(self._found.values())

    def __bool__(self) -> bool:
        return bool(self._spec.seeds)

    def __getitem__(self, key: str) -> Source:
        return self._found[key]

    @cached_property
    def _found(self) -> dict[str, Source]:
        found: dict[str, Source] = {}
        for seed in self._spec.seeds:
            for each in _sources(seed, self._spec):
                found.setdefault(each.key, each)  # a file that an earlier seed names is that one's
        return found


def _sources(seed: Seed, spec: Spec) -> Iterator[Source]:
    database = spec.database_of(seed)
    before = "" if database == spec.server.database else f"{database}:"
    if seed.pattern is None:
        name = " ".join(" ".join(shlex.split(seed.name)).split())
        yield Source(seed, name, None, _digest_of_program(seed, spec.directory), before + name)
        return
    for path in _files(seed.pattern):
        name = os.path.relpath(path, spec.directory)
        yield Source(seed, name, path, digest(path), before + name)


def _files(pattern: Path) -> list[Path]:
    """Return the file, or those that a pattern finds, in the order of their names.

    Raises:
        ProvisionError: none is there any more, or there are too many.
    """
    if pattern.is_file():
        return [pattern]
    found = islice(glob.iglob(str(pattern), recursive=True), _MOST_FILES + 1)  # noqa: PTH207  # it can begin anywhere
    names = sorted(found)
    if len(names) > _MOST_FILES:
        raise ProvisionError(f"{pattern} finds more than {_MOST_FILES} names", next_step="write a narrower pattern")
    if files := [Path(each) for each in names if os.path.isfile(each)]:  # noqa: PTH113
        return files
    raise ProvisionError(
        f"there is no seed {pattern}", next_step="correct `seeds` in the spec, then: " + command("plan")
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ProvisionError: it cannot be read.
    """
    wrong = ProvisionError(f"the seed {path} cannot be read", next_step=f"ls -l {as_word(path)}")
    with translated(OSError, into=wrong), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_program(seed: Seed, directory: Path) -> str:
    """Return the SHA-256 of the arguments, as the spec has them, and of each file that one of them names."""
    found = hashlib.sha256(seed.name.encode())
    for each in seed.argv:
        path = directory / each
        if path.is_file():
            found.update(digest(path).encode())
    return found.hexdigest()
