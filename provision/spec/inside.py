"""What a spec declares inside the server, as a whole: ``roles``, ``databases``, and the migrations of all of them."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from functools import partial
from typing import Any

from provision.model.value import replace
from provision.spec.access import Role
from provision.spec.databases import Databases, databases
from provision.spec.model import Migrations, Server
from provision.spec.reading import Reading, attempt, failed, listed, shorten
from provision.spec.role_checks import check
from provision.spec.roles import roles
from provision.spec.yaml import Mapping, Scalar

_MOST_SHOWN = 4


def inside(top: Mapping, values: MappingType[str, Any], server: Server, reading: Reading) -> dict[str, Any]:
    """Read ``roles`` and ``databases``, and judge what they say together: the fields of a spec that follow from it."""
    server = _with_database(server, top, reading)
    above: tuple[Migrations, ...] = values.get("migrations", ())
    found: dict[str, Role] = {}
    if "roles" in values:
        read = attempt(partial(roles, server=server), values["roles"], reading, key="roles")
        found = {} if failed(read) else read
    declared = Databases({}, above, values.get("seeds", ()))
    if "databases" in values:
        all_ = attempt(partial(databases, server=server, above=declared), values["databases"], reading, key="databases")
        declared = declared if failed(all_) else all_
    check(top, found, declared.declared, server, reading)
    trees = [replace(each, login=None) if each.login == server.user else each for each in declared.migrations]
    seeds = [replace(each, login=None) if each.login == server.user else each for each in declared.seeds]
    return {"roles": found, "databases": declared.declared, "server": server, "migrations": trees, "seeds": seeds}


def _with_database(server: Server, top: Mapping, reading: Reading) -> Server:
    """Return the server with the one declared database, where no other is named."""
    section = top.entries["server"][1]
    if "databases" not in top.entries or (isinstance(section, Mapping) and "database" in section.entries):
        return server
    key, declared = top.entries["databases"]
    names = _present(declared)
    if len(names) > 1:
        shown = [shorten(each) for each in names[:_MOST_SHOWN]]
        some = listed(shown) if len(names) <= _MOST_SHOWN else f"{listed(shown)} and {len(names) - _MOST_SHOWN} more"
        message = f"there are the databases {some}, and the spec does not say which one is the server's"
        reading.report(key.mark, message, f"name it: `server: {{database: {shown[0]}}}`")
    return replace(server, database=names[0]) if names else server


def _present(declared: Any) -> list[str]:
    """Return the names of the databases that are not to be removed, as far as they can be read."""
    found = []
    for name, (_, node) in declared.entries.items() if isinstance(declared, Mapping) else ():
        state = node.value("state") if isinstance(node, Mapping) else None
        if not (isinstance(state, Scalar) and state.text == "absent"):
            found.append(name)
    return found
