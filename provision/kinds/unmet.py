"""Why declared privileges cannot be brought about: objects that are not there, and owners that the login cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError, command
from provision.kinds import rights
from provision.kinds.policy import place
from provision.kinds.words import KEYWORDS
from provision.model.sql import identifier
from provision.model.words import count
from provision.spec.reading import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from provision.kinds.catalog import Cluster, Contents
    from provision.spec.access import Grant

_OWNER_OF_DATABASE = "pg_database_owner"
_SHOWN = 10


def unknown(database: str, contents: Contents, grants: Mapping[str, Sequence[Grant]]) -> RefusedError:
    """Return the refusal of grants, by target, on what is not there and will not be made."""
    said = [f"{each.place}: {on}{_meant(each, contents)}" for on, found in grants.items() for each in found]
    return RefusedError(
        f"`grants` of the database {database!r} name what is not there: {count(len(grants), 'object')}",
        evidence=said,
        next_step="correct the names, or write the migration that creates the objects, then: " + command("apply"),
    )


def _meant(grant: Grant, contents: Contents) -> str:
    """Return the advice with a name that is nearly the same."""
    schema, name = place(grant.on)
    if schema is None:
        meant = nearest(name, [other for kind, other in contents.others if kind == grant.on.kind])
    elif schema not in contents.schemas:
        meant = nearest(schema, contents.schemas)
        return f"; there is no schema {schema}" + (f", did you mean {meant}?" if meant else "")
    else:
        keyword = KEYWORDS[grant.on.kind]
        objects = [each for each in contents.objects if each.schema == schema and KEYWORDS[each.kind] == keyword]
        meant = nearest(name, [other for each in objects for other in each.names])
        meant = meant and grant.on.name.removesuffix(name) + meant
    return f"; did you mean {meant}?" if meant else ""


class Reach:
    """Knows for whom the login can act: for itself, its groups, and those whose membership it may give to itself."""

    def __init__(self, cluster: Cluster, owner: str) -> None:
        self._cluster, self._owner = cluster, owner

    def lent(self, owners: AbstractSet[str]) -> tuple[str, ...]:
        """Return the roles that the login has to be a member of meanwhile, and may."""
        return tuple([each for each in self._lacking(owners) if self._may_be(each)])

    def barred(self, owners: AbstractSet[str]) -> tuple[str, ...]:
        """Return the owners for whom the login cannot act in any way."""
        return tuple([each for each in self._lacking(owners) if not self._may_be(each)])

    def _lacking(self, owners: AbstractSet[str]) -> list[str]:
        """Return those that the login is no member of, and will not be by making them."""
        if self._cluster.is_superuser:
            return []
        named = {self._owner if each == _OWNER_OF_DATABASE else each for each in owners}
        found = sorted(named - rights.inherited(self._cluster, self._cluster.login))
        return [each for each in found if each in self._cluster.roles or not self._owns_roles]

    @property
    def _owns_roles(self) -> bool:
        return self._cluster.major >= rights.OWN_ROLES_SINCE

    def _may_be(self, role: str) -> bool:
        """Tell whether the login may become a member; before 16 one that does not inherit would lose its membership."""
        login = self._cluster.login
        is_member = not self._owns_roles and role in rights.settable(self._cluster, login)
        return not is_member and rights.administers(self._cluster, login, role)


def barred(cluster: Cluster, database: str, statements: Mapping[str, Sequence[str]]) -> RefusedError:
    """Return the refusal of what only the owners can do; ``statements`` are what is to be done for each of them."""
    login = identifier(cluster.login)
    option = " WITH INHERIT TRUE" if cluster.major >= rights.OWN_ROLES_SINCE else ""
    evidence, ways = [], []
    for owner, lines in statements.items():
        shown = [f"  {each};" for each in lines[:_SHOWN]]
        more = [f"  … and {len(lines) - _SHOWN} more"] if lines[_SHOWN:] else []
        evidence += [f"what belongs to {owner!r} needs:", *shown, *more]
        role = cluster.roles.get(owner)
        if role is not None and not role.superuser:
            ways.append(f"GRANT {identifier(owner)} TO {login}{option};")
    return RefusedError(
        f"{cluster.login!r} may not change the privileges on what other roles own in the database {database!r}",
        evidence=evidence,
        next_step=f"as an administrator: {' '.join(ways) or 'run these statements there'}",
    )
