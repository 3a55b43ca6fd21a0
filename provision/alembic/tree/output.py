"""What a program of its own printed before it failed: which revision it was in, and which statement failed.

Alembic logs ``Running upgrade 0001 -> 0002, message``, Python prints a traceback with the revision's file, and
SQLAlchemy ends its message with ``[SQL: …]``. Where none of it was printed, nothing is claimed.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from provision.alembic.tree.graph import Graph

_RUNNING = re.compile(r"Running upgrade .*?-> ([^\s,]+)")
_FRAME = re.compile(r'(?m)^\s*File "([^"\n]+)", line (\d+)')
_STATEMENT = re.compile(r"\[SQL: (.*?)\]\s*(?:$|\n)", re.DOTALL)
_MESSAGE = re.compile(r"(?m)^(?:\w+\.)*\w+: \((?:\w+\.)+\w+\) (.+)$|^(?:\w+\.)*(\w*(?:Error|Exception|Exit)): (.+)$")
_PASSING = re.compile(
    r"lock timeout|LockNotAvailable|deadlock detected|server closed the connection|terminating connection"
    r"|could not connect|Connection refused|connection .* failed|starting up|shutting down"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """What the output tells. ``place`` is ``file:line`` of the revision; ``passes``: another run can go better."""

    revision: str | None = None
    place: str | None = None
    statement: str | None = None
    message: str | None = None
    passes: bool = False


def running(line: str) -> str | None:
    """Return the revision that a line of Alembic's log says is being run."""
    match = _RUNNING.search(line)
    return match[1] if match else None


def read(text: str, graph: Graph, applied: Collection[str]) -> Failure:
    """Return what a program's output tells of its failure; a revision that is ``applied`` did not fail."""
    places = {os.path.realpath(each.path): name for name, each in graph.revisions.items()}
    revision = place = None
    for match in _RUNNING.finditer(text):
        revision = match[1] if match[1] in graph.revisions and match[1] not in applied else None
    for file, line in _FRAME.findall(text):
        name = places.get(os.path.realpath(file))
        if name is not None and name not in applied and revision in {None, name}:
            revision, place = name, f"{file}:{line}"
    statements = _STATEMENT.findall(text)
    messages = [database or f"{kind}: {words}" for database, kind, words in _MESSAGE.findall(text)]
    return Failure(
        revision,
        place,
        " ".join(statements[-1].split()) if statements else None,
        messages[-1] if messages else None,
        _PASSING.search(text) is not None,
    )
