"""A line of a file with a caret under the column that is meant.

Tabs, wide characters and combining marks do not take one cell each, and a line may be longer than the screen; the
caret has to stand right all the same. What is secret in the line was masked where the spec was read.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from provision.report.words import clean

TAB: Final = 4
ELLIPSIS: Final = "…"


def excerpt(line: str, column: int, width: int) -> tuple[str, str]:
    """Return the line as it is shown in ``width`` cells, and the caret line below it. ``column`` counts from 1."""
    cells = _cells(clean(line))
    position = min(max(column - 1, 0), len(cells))
    first, last = _window([size for _, size in cells], position, width)
    before = sum(size for _, size in cells[first:position])
    head = ELLIPSIS if first else ""
    tail = ELLIPSIS if last < len(cells) else ""
    text = head + "".join(shape for shape, _ in cells[first:last]) + tail
    return text.rstrip(), " " * (len(head) + before) + "^"


def _cells(line: str) -> list[tuple[str, int]]:
    cells: list[tuple[str, int]] = []
    used = 0
    for character in line:
        if character == "\t":
            size = TAB - used % TAB
            cells.append((" " * size, size))
        else:
            size = _size(character)
            cells.append((character, size))
        used += size
    return cells


def _size(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _window(sizes: list[int], position: int, width: int) -> tuple[int, int]:
    """Return the part of a line, as (first, last), that fits and holds the position."""
    if sum(sizes) <= width:
        return 0, len(sizes)
    room = width - 2 * len(ELLIPSIS)
    first, used = position, 0
    while first and used + sizes[first - 1] <= room // 2:
        first -= 1
        used += sizes[first]
    last = position
    while last < len(sizes) and used + sizes[last] <= room:
        used += sizes[last]
        last += 1
    while first and used + sizes[first - 1] <= room:
        first -= 1
        used += sizes[first]
    return first, last
