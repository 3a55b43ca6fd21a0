"""GitHub Actions: annotations as workflow commands, and the summary of a step.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
The runner takes commands from both streams of a step. They go where the text goes, and to standard error where
standard output is for a program. A summary of a step has at most 1 MiB, else the whole of it is dropped: so it is text
as Markdown that it cannot break, cut where GitHub takes no more.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from provision.report.pipelines.notes import relative, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provision.report.console import Console
    from provision.report.pipelines.notes import Note

SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_DATA: Final = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY: Final = (*_DATA, (":", "%3A"), (",", "%2C"))
_CONTROL: Final = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""What steers a terminal, and so the log that shows it."""
_RANKS: Final = ("error", "warning", "notice")


def tell(console: Console, notes: Iterable[Note], blocks: Sequence[Block] = ()) -> None:
    """Print the annotations, the gravest first, and add the blocks to the summary of the step."""
    if console.format != "github":
        return
    root = root_of(console.environ)
    for each in sorted(notes, key=lambda note: _RANKS.index(note.level)):
        console.instruct(command(each, root))
    if blocks:
        _summarise(console, blocks)


def command(note: Note, root: Path) -> str:
    r"""Return an annotation as a line for the runner.

    >>> from provision.report.pipelines.notes import Note
    >>> command(Note("error", "a, b", "50 %\nmore", Path("/w/a.py"), 3), Path("/w"))
    '::error file=a.py,line=3,title=a%2C b::50 %25%0Amore'
    """
    places = {
        "file": relative(note.path, root) if note.path else None,
        "line": note.line,
        "col": note.column,
        "title": note.title,
    }
    shown = ",".join(f"{name}={_escaped(str(each), _PROPERTY)}" for name, each in places.items() if each)
    return f"::{note.level} {shown}::{_escaped(note.message, _DATA)}"


def _escaped(text: str, table: Iterable[tuple[str, str]]) -> str:
    text = re.sub(_CONTROL, "\N{REPLACEMENT CHARACTER}", text)
    for character, code in table:
        text = text.replace(character, code)
    return text


def _summarise(console: Console, blocks: Sequence[Block]) -> None:
    """Add to the file that becomes the summary of the step; being unable to is no error of the command."""
    path = console.environ.get(SUMMARY)
    if not path:
        return
    import fcntl

    try:
        with Path(path).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # runs of several specs write it side by side
            room = LIMIT - os.fstat(file.fileno()).st_size
            file.write(rendered(blocks, room).encode(errors="replace"))
    except OSError as error:
        console.complain(f"the step's summary cannot be written: {path}: {error.strerror}")


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
