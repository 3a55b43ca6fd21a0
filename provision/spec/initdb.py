"""``server.initdb``: the scripts that run once, when a data directory is made.

The kinds of file are those that the official image runs:
https://github.com/docker-library/docs/blob/master/postgres/README.md#initialization-scripts
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from provision.spec.readers import path
from provision.spec.reading import Wrong, attempt, failed, listed, scalar
from provision.spec.yaml import Sequence

if TYPE_CHECKING:
    from pathlib import Path

    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

SUFFIXES = (".sql", ".sql.gz", ".sql.xz", ".sql.zst", ".sh")


def initdb(node: Node, reading: Reading) -> tuple[Path, ...]:
    """Read a file or directory, or a list of them; return the scripts in the order in which they run.

    The scripts of a directory run in the order of their names; its other files are left out, as the image does.
    """
    if not isinstance(node, Sequence):
        return _scripts(node, reading)
    found = [attempt(_scripts, each, reading, key="initdb") for each in node.items]
    return tuple(dict.fromkeys(chain.from_iterable(each for each in found if not failed(each))))


def _scripts(node: Node, reading: Reading) -> tuple[Path, ...]:
    place = path(node, reading)
    shown = reading.show(scalar(node, "a path"))
    try:
        if place.is_dir():
            return tuple(sorted(each for each in place.iterdir() if each.name.endswith(SUFFIXES) and each.is_file()))
        if not place.is_file():
            raise Wrong(
                f"there is no file or directory {shown}",
                f"relative paths start in the directory of the spec, {reading.path.parent}",
            )
    except OSError as error:
        raise Wrong(f"{shown} cannot be read: {error.strerror}") from None
    if not place.name.endswith(SUFFIXES):
        raise Wrong(f"{shown} is not a script for a new database", f"end its name with one of {listed(SUFFIXES)}")
    return (place,)
