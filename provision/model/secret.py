"""A text that must not be seen."""

from __future__ import annotations

import hmac
from typing import NoReturn

MASK = "********"


class Secret:
    """A text that must not be seen: it prints as a mask, and refuses to be pickled.

    Only :meth:`reveal` gives the text, so that every place that uses it can be found by its name.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the clear text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __reduce__(self) -> NoReturn:
        message = "a secret is not serialised"
        raise TypeError(message)
