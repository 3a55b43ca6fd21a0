"""Waiting for what has to be looked at again and again: the one loop with a pause in it, and a limit.

Also for the server that takes the place of one that went away: a failover takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeVar

from provision.errors import AGAIN, UnavailableError, command

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


T = TypeVar("T")

_PAUSE, _LONGEST = 0.2, 1.0
STANDBY: Final = ("the server that answers is a standby",)
"""Evidence why a server takes no writes."""


class Lost(NamedTuple):
    """What became of a server of others: in words, with what is known; and how long another one is waited for.

    ``limit`` says in words what the ``seconds`` are, and ``then`` what the same command does later.
    """

    what: str
    seconds: float
    limit: str
    evidence: tuple[str, ...] = ()
    then: str = ""


def wait_for_writes(lost: Lost, find: Callable[[], T | tuple[str, ...]], tell: Callable[[str], None]) -> T:
    """Call ``find`` until it returns a server that takes writes, and not the evidence why none does yet.

    Raises:
        UnavailableError: none did in time.
    """
    last: tuple[str, ...] = ()
    for waited in attempts(lost.seconds, _PAUSE, longest=_LONGEST):
        tell(f"waiting up to {lost.seconds - waited:.0f} s for a server that takes writes: {lost.what}")
        found = find()
        if not isinstance(found, tuple):
            return found
        last = found
    raise UnavailableError(
        f"{lost.what}, and none took writes within {lost.limit}",
        evidence=(*lost.evidence, *last),
        next_step=command("status") + f"   # once a server takes writes, {AGAIN}{lost.then}",
    )
