"""The server process behind the runtime: it answers a login over TCP from here, or it does not yet."""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError
from provision.model import UNKNOWN, Action, Address, Plan, State, Step
from provision.model.effects import WaitReady
from provision.model.value import dataclass
from provision.spec.model import Spec

KIND = "server"


@dataclass(frozen=True)
class Server(State):
    """A server that answers; it may refuse a login, but it is the final one and speaks for itself."""

    answers: bool = True


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the server, answering."""
    return {Address(KIND, spec.name): Server()}


def seen(look: Look) -> dict[Address, State]:
    """Return the server where the attempt to log in was answered."""
    if look.login is None:
        raise UnseenError
    return {Address(KIND, look.spec.name): Server()} if look.login else {}


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Wait for a server that is being started, or that does not answer."""
    starting = scene.ground.starting
    if not starting and (before == after or before is UNKNOWN):
        return Plan()
    why = (
        () if starting else ("no host takes writes now" if scene.spec.server.hosts else "it runs, but does not answer",)
    )
    effects = (WaitReady(scene.spec.server.ready_timeout),)
    return Plan((Step(address, Action.START, before, after, effects, why=why, reveals=True),))
