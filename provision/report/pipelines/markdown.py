"""Text as Markdown that it cannot break, cut where GitHub takes no more.

A summary of a step has at most 1 MiB, else the whole of it is dropped:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: Final = 1024 * 1024
"""Bytes in the summary of one step."""
_CUT: Final = "… cut off here: a summary has at most 1 MiB"
_SPECIAL: Final = r"([\\`*_\[\]<>#|~&])"
_LEAST: Final = 200
_LONGEST: Final = 100
"""Backticks in a row that are kept: the fence has one more, twice."""


class Block(NamedTuple):
    """A part of a summary: lines of code in a fence, below a heading or folded away behind it.

    Without ``lines`` it is the heading alone. ``language`` is what colours the code.
    """

    heading: str
    lines: Sequence[str] = ()
    language: str = "text"
    is_folded: bool = False


def escaped(text: str) -> str:
    r"""Return a text as Markdown that shows it as it is, on one line.

    >>> escaped("a|b <i>`x`\n#1")
    'a\\|b \\<i\\>\\`x\\` \\#1'
    """
    return re.sub(_SPECIAL, r"\\\1", " ".join(text.split()))


def fence(lines: Sequence[str]) -> str:
    """Return a fence that no line of a code block closes: longer than the longest run of backticks in it.

    >>> fence(["SELECT 1"]), fence(["a", "````"])
    ('```', '`````')
    """
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    return "`" * max(3, longest + 1)


def rendered(blocks: Sequence[Block], room: int) -> str:
    """Return blocks as Markdown of at most so many bytes of UTF-8; what does not fit is cut off, and said."""
    parts: list[str] = []
    for block in blocks:
        left = room - sum(len(each.encode()) for each in parts)
        if left < _LEAST:
            break
        parts.append(_block(block, left))
    return "".join(parts)


def _block(block: Block, room: int) -> str:
    if not block.lines:
        return f"{block.heading}\n\n"
    lines = [re.sub(f"(`{{{_LONGEST}}})`+", r"\1…", line) for line in block.lines]
    edge = fence(lines)
    heading = f"<details><summary>{block.heading}</summary>" if block.is_folded else block.heading
    head = f"{heading}\n\n" if heading else ""
    before = f"{head}{edge}{block.language}\n"
    after = f"\n{edge}\n\n" + ("</details>\n\n" if block.is_folded else "")
    used = len((before + after + _CUT).encode()) + 1
    return f"{before}{_fitting(lines, max(0, room - used))}{after}"


def _fitting(lines: Sequence[str], room: int) -> str:
    """Return lines, and where they have more than so many bytes the beginning, and a line that says so."""
    text = "\n".join(lines).encode()
    if len(text) <= room:
        return text.decode()
    kept = text[:room].decode(errors="ignore")
    return f"{kept.rpartition(chr(10))[0] or kept}\n{_CUT}"
