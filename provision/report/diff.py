"""How the rendered files change, line by line. A secret file is only named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.model import Secret
from provision.model.effects import WriteFile
from provision.model.words import shown
from provision.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from provision.model import Plan
    from provision.report.console import Paint

STYLES = {"+": "green", "-": "red", "@": "cyan"}


def written(plan: Plan) -> tuple[WriteFile, ...]:
    """Return the files that a plan writes, each once, as they will be in the end."""
    files = {effect.path: effect for step in plan.steps for effect in step.effects if isinstance(effect, WriteFile)}
    return tuple(files.values())


def file_lines(file: WriteFile, read: Callable[[Path], str | None]) -> list[str]:
    """Return the unified difference between a file as it is and as it will be; empty when they are the same."""
    name = shown(file.path)
    if isinstance(file.content, Secret):
        return [f"--- {name}", f"+++ {name}", "@@ a secret file: not shown @@"]
    from difflib import unified_diff

    old = read(file.path)
    lines = unified_diff(
        (old or "").splitlines(),
        file.content.splitlines(),
        "/dev/null" if old is None else name,
        name,
        lineterm="",
    )
    return [clean(line) for line in lines]


def lines(files: Sequence[WriteFile], read: Callable[[Path], str | None], paint: Paint) -> Iterator[str]:
    """Yield the differences of all files, coloured as people know them."""
    for file in files:
        for line in file_lines(file, read):
            style = "bold" if line.startswith(("---", "+++")) else STYLES.get(line[:1], "")
            yield paint(style, line) if style else line
