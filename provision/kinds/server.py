"""The server process behind the runtime: it answers a login over TCP from here, or it does not yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from provision.model import UNKNOWN, Action, Address, State, Step, Unknown
from provision.model.effects import WaitReady

KIND = "server"


@dataclass(frozen=True, slots=True)
class Server(State):
    """A server that answers; it may refuse a login, but it is the final one and speaks for itself.

    ``clients`` is how many others are connected to it.
    """

    answers: bool
    clients: int = field(default=0, compare=False)


def desired(name: str) -> dict[Address, State]:
    """Return the server, answering."""
    return {Address(KIND, name): Server(answers=True)}


def observe(name: str, *, clients: int) -> dict[Address, State]:
    """Return the server, answering, with others connected to it."""
    return {Address(KIND, name): Server(answers=True, clients=clients)}


def plan(
    address: Address, before: State | Unknown | None, after: State | None, *, starting: bool, timeout: float
) -> tuple[Step, ...]:
    """Wait for a server that is being started, or that does not answer; ``timeout`` is in seconds."""
    if not starting and (before == after or before is UNKNOWN):
        return ()
    why = () if starting else ("it runs, but does not answer",)
    return (Step(address, Action.START, before, after, (WaitReady(timeout),), why=why, reveals=True),)
