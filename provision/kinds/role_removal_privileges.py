"""Privileges of roles that are to go which ``DROP OWNED`` would leave: it takes only what an object's owner granted.

What others granted to such a role keeps it from being dropped, and what it has passed on would be lost with it.
https://www.postgresql.org/docs/current/sql-drop-owned.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.kinds import Look, catalog, rights
from provision.kinds.catalog import Contents
from provision.kinds.privileges.differing import Difference, Part, held
from provision.kinds.privileges.granting import Revoking, is_entangled
from provision.model import MAINTENANCE
from provision.model.sql import identifier


def entangled(look: Look, database: str) -> Mapping[str, tuple[str, ...]]:
    """Return for each role that is to go what takes such privileges in a database; who else has them keeps them.

    What all databases share belongs to the maintenance database here.

    Raises:
        UnseenError: the server cannot be asked.
    """
    cluster, contents = look.once(catalog.cluster), rights.contents(look, database)
    if contents is None:
        return {}
    leavers = [role.name for role in look.spec.roles.values() if role.is_absent]
    parts = [*_inside(contents), *(_shared(look) if database == MAINTENANCE else ())]
    found = [
        Difference(part, part.names, name, {}, dict.fromkeys(rights_, False))
        for part in parts
        for name in leavers
        if name != part.owner and (rights_ := held(part.acl, name))
    ]
    revoking = Revoking(cluster, contents, found)
    return {name: revoking.statements(_knots(found, name)) for name in leavers}


def _knots(differences: list[Difference], name: str) -> Iterator[Difference]:
    for each in differences:
        part = each.part
        knots = [privilege for privilege in each.surplus if is_entangled(part.acl, part.owner, name, privilege)]
        if each.grantee == name and knots:
            yield each._replace(surplus=dict.fromkeys(knots, False))


def _inside(contents: Contents) -> Iterator[Part]:
    owners: dict[tuple[str, str], str] = {}
    for each in contents.objects:
        owners |= {(each.schema, name): each.owner for name in each.names}
        yield Part(each.kind, each.schema, each.owner, each.acl, each.names)
    for name, schema in contents.schemas.items():
        yield Part("schema", None, schema.owner, schema.acl, (identifier(name),))
    for (schema_name, table), columns in contents.columns.items():
        for column, acl in columns.items():
            yield Part("column", schema_name, owners[schema_name, table], acl, (table,), column)
    for (kind, name), (owner, acl) in contents.others.items():
        yield Part(kind, None, owner, acl, (name,))


def _shared(look: Look) -> Iterator[Part]:
    for name, each in look.once(catalog.cluster).databases.items():
        yield Part("database", None, each.owner, each.acl, (identifier(name),))
