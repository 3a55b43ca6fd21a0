"""The sessions in a document: what is typed, what was shown, and the document with what is shown now.

A session is a fenced block of the kind `console`. `$ ` begins a command, `> ` continues it, and what follows is what
the terminal shows. A line like `[65]` at the end is the exit code, where it is not 0. ` ```console docker` needs an
engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.checkout import Checkout

_FENCE = re.compile(r"```(?P<kind>.*)")
_PROMPT, _MORE = "$ ", "> "

# What differs from run to run and from machine to machine, and what replaces it in a comparison.
_MASKED = (
    (r"\d+\.\d{1,2} s\b|\d+ min \d\d s\b", "SECONDS"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z)?", "TIME"),
    (r"(?<=127\.0\.0\.1:)\d{4,5}\b|(?<=server\.port: )\d+", "PORT"),
    (r"(?<=://)(\w+):[^*@\s]+@", r"\1:PASSWORD@"),
    (r"\b[0-9a-f]{12,64}\b", "ID"),
    (r"(process|pid|PID) \d+", r"\1 NUMBER"),
    (r"\[\d+\] (?=[A-Z]+: )", "[NUMBER] "),
    (r"\b(1[4-8])\.\d+\b", r"\1.MINOR"),
    (r"the engine at (unix|tcp)://[\w./:-]+\w( \(from DOCKER_HOST\))?", "the engine at PLACE"),
    (r"currently \d+ bytes", "currently NUMBER bytes"),
    # The engine starts a server that ended again, and we look before or after that.
    (r"ended with exit code 1 while|ended, was started again by the engine, while", "ended while"),
)
_DROPPED = re.compile(r"\s+TIME \[NUMBER\] LOG: ")
"""What the server says in passing: as many lines as it likes."""


@dataclass(frozen=True)
class Replay:
    """A document after its sessions were typed again."""

    before: str
    after: str
    left_out: int
    """How many sessions need an engine, where there is none."""


def replay(document: str, checkout: Checkout, *, with_engine: bool) -> Replay:
    """Type the sessions of a document, one after the other, and put what is shown now in the place of what was."""
    lines: list[str] = []
    left_out = 0
    for kind, block in _blocks(document):
        words = kind.split()
        if not words or words[0] != "console":
            lines += block
        elif "docker" in words and not with_engine:
            left_out += 1
            lines += block
        else:
            lines += _session(block, checkout)
    return Replay(document, "\n".join(lines), left_out)


def has_sessions(document: str) -> bool:
    """Tell whether there is anything to type."""
    return any(kind.startswith("console") for kind, _ in _blocks(document))


def _blocks(document: str) -> Iterator[tuple[str, list[str]]]:
    """Yield runs of lines with the kind of their block; text, and the fences themselves, have none."""
    kind, block = None, list[str]()
    for line in document.split("\n"):
        fence = _FENCE.fullmatch(line)
        if fence is None:
            block.append(line)
            continue
        yield kind or "", block
        yield "", [line]
        kind, block = (fence["kind"] if kind is None else None), []
    yield kind or "", block


def _session(block: list[str], checkout: Checkout) -> Iterator[str]:
    for command, shown in _commands(block):
        yield from command
        typed = checkout.type("\n".join(line[len(_PROMPT) :] for line in command))
        now = [*typed.lines, *([f"[{typed.code}]"] if typed.code else [])]
        # Lines that differ in nothing but a time keep the time that was printed.
        yield from shown if masked(shown) == masked(now) else now


def _commands(block: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    command, shown = list[str](), list[str]()
    for line in block:
        if line.startswith(_PROMPT):
            if command:
                yield command, shown
            command, shown = [line], []
        elif line.startswith(_MORE) and not shown:
            command.append(line)
        else:
            shown.append(line)
    if command:
        yield command, shown


def masked(lines: list[str]) -> list[str]:
    """Return the lines without what differs from run to run."""
    for pattern, name in _MASKED:
        lines = [re.sub(pattern, name, line) for line in lines]
    return [line for line in lines if not _DROPPED.match(line)]
