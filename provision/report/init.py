"""What ``init`` has made of a directory, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.errors import as_word
from provision.init.found import Beginning
from provision.model.words import count
from provision.report.console import Paint
from provision.report.words import clean, fields


def lines(done: Beginning, directory: str | None, paint: Paint) -> Iterator[str]:
    """Yield the lines; ``directory`` is where one has to go for the next commands, None where one is."""
    made = sum(not file.append for file in done.files)
    if not done.files:
        yield f"{paint('bold', done.spec)}: nothing to do, all that is needed is there"
    else:
        yield f"{paint('bold', done.name or done.spec)}: {count(made, 'file')} made, nothing overwritten"
    for file in done.files:
        mark, word = ("~", "append to") if file.append else ("+", "create   ")
        yield f"  {paint('green', mark)} {word} {file.path}"
    for found in done.found:
        yield f"  {paint('dim', '·')} found     {clean(found.path)}: {clean(found.what)}"
    for remark in done.remarks:
        yield f"  {paint('yellow', '!')} {clean(remark)}"
    commands = (*((f"cd {as_word(directory)}",) if directory and done.next else ()), *done.next)
    for number, command in enumerate(commands):
        yield f"{paint('cyan', 'next:') if number == 0 else '     '} {command}"


def document(done: Beginning, directory: Path) -> dict[str, Any]:
    """Return the document of what was made."""
    return {
        "schema": "provision/init/1",
        "directory": str(directory),
        "environment": done.name,
        "spec": done.spec,
        "changed": bool(done.files),
        "files": [{"path": file.path, "action": "append" if file.append else "create"} for file in done.files],
        "found": [fields(found, "path what") for found in done.found],
        **fields(done, "remarks next"),
    }
