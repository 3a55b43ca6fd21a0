"""Small pieces of text that every report uses: durations, and text from elsewhere as a terminal shows it."""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from pathlib import PurePath
from typing import Any, Final

from provision.model import Step
from provision.spec.model import Spec

_MINUTE = 60
_EXACT_BELOW = 10
_BIDI: Final = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
UNSAFE: Final = {
    code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(0x7F, 0xA0), *_BIDI) if code != ord("\t")
}
"""The characters that steer a terminal, or make a text read as it is not, and what is shown for them."""


def clean(text: str) -> str:
    """Return one line from elsewhere (a log, a file) without the characters that steer a terminal."""
    return text.rstrip("\r\n").translate(UNSAFE)


def seconds(value: float) -> str:
    """Return a duration as people read it: ``0.21 s``, ``12.3 s``, ``2 min 05 s``."""
    if value < _EXACT_BELOW:
        return f"{value:.2f} s"
    if value < _MINUTE:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), _MINUTE)
    return f"{minutes} min {rest:02d} s"


def head(schema: str, spec: Spec) -> dict[str, Any]:
    """Return what a document about one environment begins with; they are described in ``docs/json.md``."""
    return {"schema": f"provision/{schema}/1", "environment": spec.name, "spec": str(spec.path)}


def fields(value: object, names: str) -> dict[str, Any]:
    """Return the named fields of a value as JSON has them, and no others: a secret cannot slip in."""
    return {name: _plain(getattr(value, name)) for name in names.split()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, PurePath | StrEnum) else value


def is_foretold(step: Step) -> bool:
    """Say whether only a running server shows what this step does."""
    return not step.effects


def cells(character: str) -> int:
    """Return how many columns a character takes on a terminal."""
    if character.isascii():
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in {"Cf", "Me", "Mn"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitting(text: str, room: int) -> str:
    """Return as much of a text as so many columns hold, with an ellipsis where something is cut off."""
    if sum(map(cells, text)) <= room:
        return text
    used = 0
    for at, character in enumerate(text):
        used += cells(character)
        if used > room - 1:
            return f"{text[:at]}…"
    return text
