"""YAML text of any kind → plain data, unless it stands for more than it shows.

Aliases and merge keys can make a megabyte of text stand for more data than fits into memory, or refer to themselves.
So the size of what they stand for is computed from the parser's events before anything is made of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NODES: Final = 100_000
DEEPEST: Final = 50


class BoundError(yaml.YAMLError):
    """The text stands for too much; ``problem`` says how."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(f"{problem} (line {mark.line + 1})")
        self.problem, self.problem_mark = problem, mark


def load(text: str) -> Any:
    """Return the data of the one document in ``text``.

    Raises:
        yaml.YAMLError: it is not YAML, its values cannot be read, or it stands for too much.
    """
    check(text)
    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506  # both are safe loaders
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # of PyYAML's constructors
        message = f"a value cannot be read: {error}"
        raise yaml.YAMLError(message) from error


def check(text: str) -> None:
    """Refuse a text that is nested too deep, refers to itself, or stands for too many values.

    Raises:
        BoundError: it does. A text that is not YAML is left to the one who loads it.
    """
    with suppress(yaml.scanner.ScannerError, yaml.parser.ParserError, yaml.reader.ReaderError):
        _measure(yaml.parse(text, Loader=_loader()))


def _measure(events: Iterator[Any]) -> None:
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = []  # of each open collection: its anchor, and the size before it
    size = 0
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = stack.pop()
            if anchor:
                sizes[anchor] = size - before
            continue
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == each for each, _ in stack):
                raise BoundError("an alias refers to what it is in", event.start_mark)
            size += sizes.get(anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            size += 1
            sizes[anchor or ""] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(stack) == DEEPEST:
                raise BoundError(f"it is nested more than {DEEPEST} levels deep", event.start_mark)
            stack.append((anchor, size))
            size += 1
        if size > MOST_NODES:
            raise BoundError(f"it stands for more than {MOST_NODES} values", event.start_mark)


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
