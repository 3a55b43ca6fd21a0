"""Settings of a role, for all databases or in one: only the names that the spec has are managed.

https://www.postgresql.org/docs/current/sql-alterrole.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.kinds import Before, Files, Inputs, Look, Scene, catalog, role, stored_settings
from provision.model import MAINTENANCE, Action, Address, Change, Plan, State, Step
from provision.model.effects import RunInTransaction
from provision.model.sql import identifier
from provision.model.value import dataclass
from provision.spec import access
from provision.spec.model import Spec

KIND = "role_setting"


@dataclass(frozen=True)
class RoleSettings(State):
    """The values that are stored, of the names that are declared; ``database`` None: in every one."""

    role: str
    database: str | None
    values: Mapping[str, str]


def _declared(spec: Spec) -> Iterator[tuple[Address, str, str | None, access.Values]]:
    for each in spec.roles.values():
        if each.is_absent:
            continue
        if each.settings:
            yield Address(KIND, each.name), each.name, None, each.settings
        for database, values in each.settings_in.items():
            yield Address(KIND, f"{each.name}/{database}"), each.name, database, values


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the settings that each role has."""
    return {
        address: RoleSettings(name, database, stored_settings.declared(values))
        for address, name, database, values in _declared(spec)
    }


def seen(look: Look) -> dict[Address, State]:
    """Return what is stored for the roles that exist."""
    cluster, now = look.once(catalog.cluster), look.once(role.renames)
    found: dict[Address, State] = {}
    for address, name, database, values in _declared(look.spec):
        present = now.get(name, name)
        if present in cluster.roles and (database is None or database in cluster.databases):
            there = cluster.settings.get((database, present), {})
            found[address] = RoleSettings(name, database, stored_settings.stored(look.spec.server.major, values, there))
    return found


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Set and reset what differs."""
    if before == after or not isinstance(after, RoleSettings) or not isinstance(before, RoleSettings | None):
        return Plan()
    old: Mapping[str, str] = before.values if before else {}
    names = [name for name in {**after.values, **old} if old.get(name) != after.values.get(name)]
    if not names:
        return Plan()
    declared = scene.spec.roles[after.role]
    values = declared.settings if after.database is None else declared.settings_in[after.database]
    place = f" IN DATABASE {identifier(after.database)}" if after.database is not None else ""
    statements = stored_settings.statements(f"ALTER ROLE {identifier(after.role)}{place}", values, names)
    effect = RunInTransaction(MAINTENANCE, statements, shared=True)
    why = tuple([Change(name, old.get(name), after.values.get(name)) for name in names])
    return Plan((Step(address, Action.UPDATE if old else Action.CREATE, before, after, (effect,), why),))
