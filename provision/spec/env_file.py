"""The key ``env_file``: the files of variables, in place of the ``.env`` beside the spec."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from provision.spec import variables
from provision.spec.readers import existing
from provision.spec.reading import Wrong, attempt, failed, scalar
from provision.spec.yaml import Mapping, Sequence

if TYPE_CHECKING:
    from pathlib import Path

    from provision.spec.reading import Reading
    from provision.spec.yaml import Node


def env_file(node: Node, reading: Reading) -> tuple[Path, ...]:
    """Read the files of variables; a list, in which later files are preferred, may be empty."""
    nodes = node.items if isinstance(node, Sequence) else (node,)
    found = [attempt(_variables, each, reading) for each in nodes]
    return tuple(each for each in found if not failed(each))


def _variables(node: Node, reading: Reading) -> Path:
    path = existing("`env_file`", directory=False)(node, reading)
    try:
        variables.read(path, {})
    except variables.UnreadableError as error:
        shown = reading.show(scalar(node, "a path"))
        raise Wrong(
            f"{shown} cannot be read: {error}", "write it as Compose reads it: a NAME=value in each line"
        ) from None
    return path


def env_files(top: Node | None, reading: Reading) -> tuple[Path, ...]:
    """Return the files of variables, before anything else is read; what is wrong with them is reported later."""
    if not isinstance(top, Mapping) or "env_file" not in top.entries:
        return (reading.path.parent / variables.BESIDE,)
    declared = top.entries["env_file"][1]
    found = []
    for each in declared.items if isinstance(declared, Sequence) else (declared,):
        with suppress(Wrong):
            found.append(_variables(each, reading))
    return tuple(found)
