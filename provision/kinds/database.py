"""The declared database: made when it is missing, never dropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.kinds import UnseenError
from provision.model import MAINTENANCE, Action, Address, Plan, State, Step
from provision.model.effects import RunSql
from provision.model.sql import identifier

if TYPE_CHECKING:
    from provision.kinds import Before, Files, Inputs, Look, Scene
    from provision.spec.model import Spec

KIND = "database"


@dataclass(frozen=True, slots=True)
class Database(State):
    """A database that exists."""

    name: str


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the declared database."""
    name = spec.server.database
    return {Address(KIND, name): Database(name)}


def seen(look: Look) -> dict[Address, State]:
    """Return the declared database where the server has it."""
    if look.has_database is None:
        raise UnseenError
    name = look.spec.server.database
    return {Address(KIND, name): Database(name)} if look.has_database else {}


def steps(address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
    """Create the database where it is missing."""
    if before is not None or not isinstance(after, Database):
        return Plan()
    statement = f"CREATE DATABASE {identifier(after.name)}"
    return Plan((Step(address, Action.CREATE, None, after, (RunSql(MAINTENANCE, (statement,)),)),))
