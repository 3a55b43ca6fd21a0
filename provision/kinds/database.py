"""The declared database: made when it is missing, never dropped."""

from __future__ import annotations

from dataclasses import dataclass

from provision.model import Action, Address, State, Step, Unknown
from provision.model.effects import RunSql
from provision.model.sql import identifier

KIND = "database"
MAINTENANCE = "postgres"


@dataclass(frozen=True, slots=True)
class Database(State):
    """A database that exists."""

    name: str


def desired(name: str) -> dict[Address, State]:
    """Return the declared database."""
    return {Address(KIND, name): Database(name)}


def plan(address: Address, before: State | Unknown | None, after: State | None) -> tuple[Step, ...]:
    """Create the database where it is missing."""
    if before is not None or not isinstance(after, Database):
        return ()
    statement = f"CREATE DATABASE {identifier(after.name)}"
    return (Step(address, Action.CREATE, None, after, (RunSql(MAINTENANCE, (statement,)),)),)
