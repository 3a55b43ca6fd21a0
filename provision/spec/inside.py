"""What a spec declares inside the server, as a whole: ``roles``, ``databases``, and what they say of each other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from provision.spec.databases import Databases, databases
from provision.spec.reading import attempt, failed, listed
from provision.spec.roles import roles
from provision.spec.yaml import Mapping

if TYPE_CHECKING:
    from provision.spec.access import Database, Role
    from provision.spec.model import Migrations, Server
    from provision.spec.reading import Reading


class Inside(NamedTuple):
    """What is declared, and the server with the database that is meant."""

    roles: dict[str, Role]
    databases: dict[str, Database]
    server: Server
    migrations: tuple[Migrations, ...]


def inside(
    top: Mapping, values: dict[str, Any], server: Server, trees: tuple[Migrations, ...], reading: Reading
) -> Inside:
    """Read both sections, and choose the database of the server."""
    major = server.major
    found = attempt(partial(roles, major=major), values["roles"], reading, key="roles") if "roles" in values else {}
    declared = Databases({}, ())
    if "databases" in values:
        declared = attempt(partial(databases, major=major), values["databases"], reading, key="databases")
        declared = Databases({}, ()) if failed(declared) else declared
    server = _with_database(server, top, declared.declared, reading)
    return Inside({} if failed(found) else found, declared.declared, server, (*trees, *declared.migrations))


def _with_database(server: Server, top: Mapping, declared: dict[str, Database], reading: Reading) -> Server:
    _, section = top.entries["server"]
    if isinstance(section, Mapping) and "database" in section.entries:
        return server
    present = [name for name, each in declared.items() if not each.is_absent]
    if len(present) == 1:
        return replace(server, database=present[0])
    if len(present) > 1:
        key, _ = top.entries["databases"]
        message = f"there are several databases, {listed(present)}, and none is the server's"
        reading.report(key.mark, message, f"write which one is meant: `server: {{database: {present[0]}}}`")
    return server
