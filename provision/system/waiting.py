"""Waiting for what has to be looked at again and again: the one loop with a pause in it, and a limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = 1 / 40


def attempts(seconds: float, pause: float, *, longest: float = 0.0) -> Iterator[float]:
    """Yield the seconds that were waited: 0 at once, then after each pause, while there is time for another one.

    A pause takes ``pause`` seconds. Up to ``longest``, it grows to a fortieth of what was waited, so that what is quick
    is seen quickly, and what is slow is not asked often.
    """
    began = time.monotonic()
    waited = 0.0
    while True:
        yield waited
        waited = time.monotonic() - began
        length = max(pause, min(waited * _PART, longest))
        if waited + length > seconds:
            return
        time.sleep(length)
        waited = time.monotonic() - began
