"""What a spec says in the end, value by value: as it is written, with where it is written, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from provision.model import MASK
from provision.spec import writing
from provision.spec.masking import is_public_key, is_secret_key, mask_text
from provision.spec.reading import Reading
from provision.spec.sections import SPEC_KEYS
from provision.spec.yaml import Mapping, Mark, Node, Scalar

Key = tuple[str | int, ...]

_VARIABLES: Final = r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})+"
_NULL: Final = "null"


class Value(NamedTuple):
    """One value: its ``key`` from the top of the spec (numbers are places in lists), and where it is written.

    ``text`` is as it was written, None: null; an empty mapping or list is ``{}`` or ``[]``. ``yaml`` is how YAML has
    it. ``line`` and ``column`` count from 1; the path of what ``--set`` says is ``--set``.
    """

    key: Key
    text: str | None
    yaml: str
    path: Path
    line: int
    column: int


def values(reading: Reading) -> tuple[Value, ...]:
    """Return the values of a spec that is right, in the order of its sections."""
    top = reading.document.top
    if top is None:
        return ()
    order = list(SPEC_KEYS)
    entries = {name: top.entries[name] for name in sorted(top.entries, key=order.index) if name != "extends"}
    found = _values(Mapping(top.mark, top.end, entries), (), hidden=False)
    return tuple([_value(reading, key, text, yaml, mark) for key, text, yaml, mark in found])


def _value(reading: Reading, key: Key, text: str | None, yaml: str, mark: Mark) -> Value:
    return Value(key, text, yaml, reading.sources[mark.source].path, mark.line, mark.column)


def _values(node: Node, key: Key, *, hidden: bool) -> Iterator[tuple[Key, str | None, str, Mark]]:
    if isinstance(node, Scalar):
        yield (key, *_text(node, hidden=hidden), node.mark)
    elif isinstance(node, Mapping):
        for name, (_, value) in node.entries.items():
            below = (hidden or is_secret_key(name)) and not is_public_key(name)
            yield from _values(value, (*key, name), hidden=below)
        if not node.entries:
            yield key, "{}", "{}", node.mark
    else:
        for number, item in enumerate(node.items):
            yield from _values(item, (*key, number), hidden=hidden)
        if not node.items:
            yield key, "[]", "[]", node.mark


def _text(node: Scalar, *, hidden: bool) -> tuple[str | None, str]:
    """Return a text as it may be shown, and as YAML has it."""
    if node.is_null:
        return None, _NULL
    if hidden and re.fullmatch(_VARIABLES, node.text) is None and node.text != "none":
        return MASK, writing.quoted(MASK)
    text = mask_text(node.text)
    return text, text if not node.quoted and "\n" not in text else writing.quoted(text)
