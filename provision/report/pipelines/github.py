"""GitHub Actions: annotations as workflow commands, and the summary of a step.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
The runner takes commands from both streams of a step. They go where the text goes, and to standard error where
standard output is for a program.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provision.report.pipelines.markdown import LIMIT, Block, rendered
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
