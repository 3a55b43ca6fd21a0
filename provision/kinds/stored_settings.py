"""Settings that the server stores for a role or a database, and gives to the sessions of these.

https://www.postgresql.org/docs/current/catalog-pg-db-role-setting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from provision.kinds.catalog import Cluster
from provision.kinds.pg_settings import is_same
from provision.model.sql import identifier, literal
from provision.spec.access import Values
from provision.spec.model import Spec
from provision.spec.parameters import canonical_name
from provision.spec.setting_values import is_list

_EMPTY = ("", '""')
"""How an empty list is stored: the second where the server quotes the elements of a list (GUC_LIST_QUOTE)."""
_PLAIN = r'[^\s,"]+'


def declared(values: Values) -> dict[str, str]:
    """Return the settings that shall be stored, each as one text."""
    return {name: _text(name, items) for name, items in values.items() if items is not None}


def stored(major: int, values: Values, there: Mapping[str, str]) -> dict[str, str]:
    """Return what is stored of the settings that are declared; a value in another form is the declared one."""
    found, wanted = {}, declared(values)
    for name, raw in ((canonical_name(major, name), raw) for name, raw in there.items()):
        if name in values:
            is_empty = values[name] in ((), ("",)) and raw in _EMPTY
            same = is_empty or is_same(major, name, wanted.get(name), raw)
            found[name] = wanted[name] if same else raw
    return found


def statements(of: str, values: Values, names: Iterable[str]) -> tuple[str, ...]:
    """Return what sets or resets settings ``of`` something: ``ALTER ROLE "app"``."""
    return tuple([statement(of, name, values) for name in names])


def statement(of: str, name: str, values: Values) -> str:
    """Return what sets or resets one of them."""
    items = values[name]
    quoted = identifier(*name.split("."))
    if items is None:
        return f"{of} RESET {quoted}"
    # Each element of a list is an argument of its own: as one text it would be one element with commas in it.
    return f"{of} SET {quoted} TO {', '.join(map(literal, items or ('',)))}"


def beginning_in(role: str, cluster: Cluster, spec: Spec) -> tuple[str, ...]:
    """Return the places whose setting ``role`` is a role, as the beginnings of statements: ``ALTER DATABASE "shop"``.

    Left out are those that go away themselves, and all where the login that asks may not change them.
    """
    roles = {role, *(each.name for each in spec.roles.values() if each.is_absent)}
    databases = {each.name for each in spec.databases.values() if each.is_absent}
    return tuple(
        [
            _place(database, holder)
            for (database, holder), values in cluster.settings.items()
            if cluster.is_superuser and values.get("role") == role
            if database not in databases and holder not in roles
        ]
    )


def _place(database: str | None, role: str | None) -> str:
    if role is None and database is not None:
        return f"ALTER DATABASE {identifier(database)}"
    within = f" IN DATABASE {identifier(database)}" if database is not None else ""
    return f"ALTER ROLE {'ALL' if role is None else identifier(role)}{within}"


def _text(name: str, items: tuple[str, ...]) -> str:
    if not is_list(name):
        return items[0]
    return ", ".join(each if re.fullmatch(_PLAIN, each) else identifier(each) for each in items or ("",))
