"""What variables put into the values that migrations are given: it is masked wherever it appears.

What also stands in the spec in clear is shown, or fills a value that plans and errors show anyway: a name, an image, a
host, a path. A value of a few characters would be found everywhere, and a switch is no secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.alembic.tree.location import LOCATING
from provision.model import Secret
from provision.spec.masking import is_public_key, is_secret_key
from provision.spec.yaml import Mapping, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

_SHORTEST = 5
_SWITCH = re.compile(r"(?i)true|false")
_GIVEN = ("env", "options", "x", "command")
_BETWEEN = "\0"
"""Stands for a variable in a text that is shown without it."""


def masked(reading: Reading) -> tuple[Secret, ...]:
    """Return the values to mask, and each line of those that have several."""
    if not reading.given:
        return ()
    values = {text.strip() for value in reading.given for text in (value, *value.splitlines())}
    clear = [str(reading.path), *(_clear(reading.document.top, reading) if reading.document.top else ())]
    return tuple(
        Secret(value)
        for value in sorted(values)
        if len(value) >= _SHORTEST and not _SWITCH.fullmatch(value) and not any(value in text for text in clear)
    )


def _clear(node: Node, reading: Reading, *, given: bool = False, hidden: bool = False) -> Iterator[str]:
    """Yield the texts of the spec that may be shown; where values are ``given``, without what variables put in."""
    if isinstance(node, Scalar):
        if not hidden:
            yield reading.filled(node, _BETWEEN if given else None)
    elif isinstance(node, Mapping):
        for key, value in node.entries.values():
            below = (hidden or is_secret_key(key.text)) and not is_public_key(key.text)
            is_given = (given or key.text in _GIVEN) and key.text not in LOCATING
            yield from _clear(value, reading, given=is_given, hidden=below)
    else:
        for item in node.items:
            yield from _clear(item, reading, given=given, hidden=hidden)
