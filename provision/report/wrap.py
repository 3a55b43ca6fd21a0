"""Lines that are wider than the terminal, wrapped at words with their own indentation.

What somebody copies stays whole, whatever the terminal makes of it: a command of ours, and what stands in backticks.
"""

from __future__ import annotations

import re
from typing import Final

NARROWEST: Final = 20
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_S: Final = r"(?:\x1b\[[0-9;]*m)*"
_COMMAND: Final = (
    rf"{_S}(?:provision|git|docker (?:compose|volume|image|network|logs|ps|rm|start|stop)|\S+ -m pip) [a-z-].*"
)
_PIECE: Final = re.compile(rf"( *)({_COMMAND}|(?:`[^`]*`|\S)+)")
_WHOLE: Final = re.compile(rf"{_S}next:{_S} (?:read -rs |cd |{_COMMAND})")
"""A line that is a command and nothing else."""
_LABEL: Final = re.compile(r" *(?:error|next|note|line \d+): ")
_COLUMN: Final = re.compile(r" *\S(?: ?\S)*  +(?=\S)")
"""The first column of a table, with the space behind it."""
_WIDEST_COLUMN: Final = 24


def wrap(line: str, width: int) -> list[str]:
    """Return the lines that a line becomes on a terminal of ``width`` columns."""
    if _columns(line) <= width or width < NARROWEST or _WHOLE.match(line):
        return [line]
    plain = _STYLE.sub("", line)
    indent = " " * _hanging(plain)
    found, begun = [""], False
    for space, word in _PIECE.findall(line):
        if begun and _columns(found[-1] + space + word) > width:
            found.append(indent + word)
        else:
            found[-1] += space + word
        begun = bool(_STYLE.sub("", found[-1]).strip())
    return found


def _hanging(plain: str) -> int:
    """Return where the continuation of a line begins: below its text, behind a label or the first column of a table."""
    label, column = _LABEL.match(plain), _COLUMN.match(plain)
    if label:
        return label.end()
    if column and column.end() <= _WIDEST_COLUMN:
        return column.end()
    return len(plain) - len(plain.lstrip(" "))


def _columns(text: str) -> int:
    return len(_STYLE.sub("", text))
