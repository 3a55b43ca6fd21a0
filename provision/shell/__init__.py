"""What a shell completes: specs, revisions, and the names that a spec declares. Nothing is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from provision.spec.model import Spec

_SUFFIXES: Final = (".yml", ".yaml")
_SPEC: Final = rb"(?m)\A(?=[\s\S]*^(?:name|extends)[ \t]*:)(?=[\s\S]*^(?:server|extends)[ \t]*:)"
"""What a spec has at its top and hardly another file of YAML: a name and a server, or what it extends."""
_LARGEST: Final = 1 << 16
_MOST_DIRECTORIES: Final = 40
_MOST_REVISIONS: Final = 100
TARGETS: Final = {"head": "the newest revision", "heads": "the newest of each branch", "base": "before the first one"}


class Word(NamedTuple):
    """A word that may be meant, and what it is."""

    text: str
    about: str = ""


def specs(begun: str) -> Iterator[Word]:
    """Yield the paths of specs that begin with what is typed: in the directory that it names, and in those below it."""
    directory = os.path.dirname(begun)  # noqa: PTH120  # what was typed stays as it is
    below = [each for each in _entries(directory) if each.is_dir() and not each.name.startswith(".")]
    for place in (None, *below[:_MOST_DIRECTORIES]):
        inside = os.path.join(directory, place.name) if place else directory  # noqa: PTH118
        for each in _entries(inside):
            path = os.path.join(inside, each.name)  # noqa: PTH118
            if path.startswith(begun) and each.name.endswith(_SUFFIXES) and _is_spec(path):
                yield Word(path)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory or ".") as found:
            return sorted(found, key=lambda each: each.name)
    except OSError:
        return []


def _is_spec(path: str) -> bool:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return re.match(_SPEC, file.read(_LARGEST)) is not None
    except OSError:
        return False


def revisions(spec: Path, environ: Mapping[str, str], tree: str | None = None) -> Iterator[Word]:
    """Yield the targets of a migration, and the newest revisions with their messages.

    Raises:
        ProvisionError: the spec or its tree cannot be read.
    """
    from provision.alembic import choose, history
    from provision.system import no_commands, variables

    yield from (Word(name, about) for name, about in TARGETS.items())
    with variables.using(environ), no_commands.active():
        graph = choose(_read(spec, environ), tree).graph
    newest = history(graph, ":", ())[:_MOST_REVISIONS]
    yield from (Word(name, graph.revisions[name].message) for name in newest)


def names(spec: Path, environ: Mapping[str, str], kind: str) -> Iterator[Word]:
    """Yield the names of a ``kind`` that a spec declares: ``role``, ``database``, or ``tree`` of migrations.

    Raises:
        ProvisionError: the spec cannot be read.
    """
    read = _read(spec, environ)
    if kind == "role":
        yield from (Word(each.name) for each in read.roles.values() if each.login and not each.is_absent)
    elif kind == "database":
        yield from (Word(name) for name in dict.fromkeys((read.server.database, *read.databases)))
    else:
        yield from (Word(each.name, str(each.script_location or each.config or "")) for each in read.migrations)


def environments(environ: Mapping[str, str]) -> Iterator[Word]:
    """Yield the environments that ``provision list`` would show, which asks the engine.

    Raises:
        ProvisionError: the engine answers with an error.
    """
    from provision.everywhere import listing

    yield from (Word(each.name, str(each.directory)) for each in listing(environ, inside=False).environments)


def _read(spec: Path, environ: Mapping[str, str]) -> Spec:
    from provision.spec.load import load

    return load(spec, environ, may_lack=True)
