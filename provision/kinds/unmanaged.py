"""What decides about access and is in no spec: policies, publications, event triggers. It is only seen."""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene, rights
from provision.model import Address, Plan, State
from provision.model.value import dataclass
from provision.model.words import count
from provision.spec.model import Spec

KIND = "unmanaged"


@dataclass(frozen=True)
class Unmanaged(State):
    """How many there are in a database, in words: ``2 policies, 1 publication``."""

    found: str


def wanted(_spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return nothing: a spec does not declare it."""
    return {}


def seen(look: Look) -> dict[Address, State]:
    """Return what the databases have that are looked into anyway."""
    found: dict[Address, State] = {}
    for each in look.spec.databases.values():
        contents = rights.contents(look, each.name) if each.has_inside and not each.is_absent else None
        if contents is not None and contents.unmanaged:
            words = [_plural(number, kind) for kind, number in contents.unmanaged.items()]
            found[Address(KIND, each.name)] = Unmanaged(", ".join(words))
    return found


def _plural(number: int, kind: str) -> str:
    return f"{number} policies" if kind == "policy" and number > 1 else count(number, kind)


def steps(_address: Address, _before: Before, _after: State | None, _scene: Scene) -> Plan:
    """Return no step."""
    return Plan()
