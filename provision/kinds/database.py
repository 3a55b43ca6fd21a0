"""The database of the server: made when it is missing, never dropped.

:mod:`provision.kinds.declared_database` takes the place of this kind where a spec has ``roles`` or ``databases``.
"""

from __future__ import annotations

from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError, pg_settings
from provision.model import MAINTENANCE, Action, Address, Plan, Stage, State, Step
from provision.model.effects import RunSql
from provision.model.sql import identifier
from provision.model.value import dataclass
from provision.spec.model import Spec

KIND = "database"


@dataclass(frozen=True)
class Database(State):
    """A database that exists."""

    name: str


@dataclass(frozen=True)
class Left(State):
    """A copy of a database that nothing uses."""

    name: str


def first(spec: Spec) -> str:
    """Return the database that the first start of a server makes: not one that is declared, which is made later.

    Scripts of ``server.initdb`` need it at once.
    """
    name = spec.server.database
    return name if name not in spec.databases or spec.server.initdb else MAINTENANCE


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the database of the server."""
    name = spec.server.database
    return {Address(KIND, name): Database(name)}


def seen(look: Look) -> dict[Address, State]:
    """Return the database of the server, where that has it."""
    if look.has_database is None:
        raise UnseenError
    name = look.spec.server.database
    found: dict[Address, State] = {Address(KIND, name): Database(name)} if look.has_database else {}
    return {**found, **_left(look)}


def _left(look: Look) -> dict[Address, State]:
    """Return what a save or a restore has left that was killed; whoever runs other servers removes it there."""
    if look.session is None or look.inputs.runtime == "external":
        return {}
    return {Address(KIND, each): Left(each) for each in look.once(pg_settings.around).left}


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Create the database where it is missing, and drop copies that nothing uses."""
    if isinstance(before, Left):
        drop = RunSql(MAINTENANCE, (f"DROP DATABASE IF EXISTS {identifier(before.name)} WITH (FORCE)",), shown=True)
        why = ("an interrupted run has left this copy; nothing uses it",)
        return Plan((Step(address, Action.REMOVE, before, None, (drop,), why, stage=Stage.DROP),))
    if before is not None or not isinstance(after, Database):
        return Plan()
    statement = f"CREATE DATABASE {identifier(after.name)}"
    reveals = any(tree.tenants for tree in scene.spec.migrations)  # their query can be asked then
    effects = (RunSql(MAINTENANCE, (statement,)),)
    return Plan((Step(address, Action.CREATE, None, after, effects, reveals=reveals),))
