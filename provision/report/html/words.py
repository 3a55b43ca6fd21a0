"""Small pieces of the page: amounts, marked words, and texts that are cut to what a page has room for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from provision.model.words import shown
from provision.spec.model import Spec

_LONGEST: Final = 600


class Word(NamedTuple):
    """A text with a tone of the style sheet: ``good``, ``warn``, ``bad``, ``quiet``, or none."""

    text: str
    tone: str = ""


class Cut(NamedTuple):
    """The part of a list that is shown, and how many more there are."""

    shown: tuple[object, ...]
    more: int


def cut(items: Sequence[object], most: int) -> Cut:
    """Return at most so many items; a single one more is no reason to leave it out."""
    return Cut(tuple(items), 0) if len(items) <= most + 1 else Cut(tuple(items[:most]), len(items) - most)


def limited(text: str) -> str:
    """Return a text without its end where it is longer than a paragraph."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def near(spec: Spec, text: str) -> str:
    """Return a text without its end where it is longer than a paragraph; paths begin at the directory of the spec."""
    directory = f"{spec.path.parent}/"
    return limited(text.replace(directory, "") if len(directory) > 1 else text)


def place(spec: Spec, path: Path) -> str:
    """Return a path below the directory of the spec as it is seen from there; another one as it is."""
    directory = spec.path.parent
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else shown(Path(path))
