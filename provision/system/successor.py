"""Waiting for the server that takes the place of one that went away: a failover takes seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from provision.errors import AGAIN, UnavailableError, command
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

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
