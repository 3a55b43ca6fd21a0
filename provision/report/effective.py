"""What a spec says in the end: as YAML with the origin of each line, and as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from provision.report.words import cells, clean, fields
from provision.spec import writing
from provision.spec.effective import Value

_WIDEST: Final = 60
"""Comments begin in one column, unless a line is longer than that."""


def lines(values: Sequence[Value], spec: Path) -> Iterator[str]:
    """Yield the lines of a spec; paths in comments are relative to the directory of the ``spec``."""
    found = list(_lines(values, spec))
    widths = [sum(map(cells, text)) for text, _ in found]
    column = max([width for width in widths if width <= _WIDEST], default=0)
    for (text, origin), width in zip(found, widths, strict=True):
        yield f"{text}{' ' * (column - width)}  # {origin}" if origin else text


def document(values: Sequence[Value]) -> list[dict[str, Any]]:
    """Return each value with its key and its origin."""
    return [{"key": list(each.key), "value": each.text, **fields(each, "path line column")} for each in values]


def _lines(values: Sequence[Value], spec: Path) -> Iterator[tuple[str, str]]:
    before: tuple[str | int, ...] = ()
    for value in values:
        shared = next((at for at, pair in enumerate(zip(before, value.key, strict=False)) if pair[0] != pair[1]), 0)
        lead = "  " * shared
        for part in value.key[shared:-1]:
            if isinstance(part, int):
                lead += "- "
            else:
                yield f"{lead}{_name(part)}:", ""
                lead = " " * len(lead) + "  "
        last = value.key[-1]
        name = "- " if isinstance(last, int) else f"{_name(last)}: "
        yield f"{lead}{name}{clean(value.yaml)}", _origin(value, spec)
        before = value.key


def _name(key: str) -> str:
    return key if key == "on" else writing.scalar(key)  # a key that grants have, as every spec writes it


def _origin(value: Value, spec: Path) -> str:
    path = str(value.path)
    return path if path.startswith("--") else f"{os.path.relpath(path, spec.parent)}:{value.line}"
