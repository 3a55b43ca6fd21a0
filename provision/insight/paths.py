"""Through what a role has a privilege: as the owner, by a grant, as a member of a group, through PUBLIC.

https://www.postgresql.org/docs/current/role-membership.html ; aclmask() and roles_is_member_of() in the server's
sources decide the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from provision.kinds.catalog import Acl, Cluster
from provision.kinds.rights import is_inherited

OWNER_OF_DATABASE = "pg_database_owner"
"""The predefined role whose only member is the owner of the database that one is in."""
_DATA = frozenset({"table", "foreign table", "view", "materialized view", "sequence"})
_PREDEFINED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "pg_read_all_data": (_DATA, frozenset({"SELECT"})),
    "pg_write_all_data": (_DATA, frozenset({"INSERT", "UPDATE", "DELETE"})),
    "pg_maintain": (_DATA - {"sequence"}, frozenset({"MAINTAIN"})),
}
_ENTERS_SCHEMAS = ("pg_read_all_data", "pg_write_all_data")


class Path(NamedTuple):
    """One way to a privilege. ``roles`` leads from the role to the group that has it; empty: the role has it itself."""

    how: Literal["superuser", "owner", "grant", "predefined", "public"]
    roles: tuple[str, ...] = ()


class Groups:
    """The groups of each role: those whose privileges it has, seen from inside of one database."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._cluster = cluster
        self._above: dict[str, list[str]] = {}
        for each in sorted(cluster.memberships):
            if is_inherited(cluster, each):
                self._above.setdefault(each.member, []).append(each.group)
        if database in cluster.databases:
            self._above.setdefault(cluster.databases[database].owner, []).append(OWNER_OF_DATABASE)

    def ways(self, role: str) -> Mapping[str, tuple[str, ...]]:
        """Return each role whose privileges a role has, and the shortest way to it; the way to itself is empty."""
        return ways(role, self._above)

    def paths(self, role: str | None, privilege: str, kind: str, owner: str, acl: Acl) -> tuple[Path, ...]:
        """Return the ways to one privilege on one object; role None is PUBLIC, which has only what is granted to it."""
        public = [Path("public")] if any(each.grantee is None and each.privilege == privilege for each in acl) else []
        if role is None:
            return tuple(public)
        found = list(self._paths(role, privilege, kind, owner, acl))
        return (*sorted(found, key=lambda each: len(each.roles)), *public)

    def _paths(self, role: str, privilege: str, kind: str, owner: str, acl: Acl) -> Iterator[Path]:
        if (itself := self._cluster.roles.get(role)) is not None and itself.superuser:
            yield Path("superuser")
            return
        granted = {each.grantee for each in acl if each.privilege == privilege}
        for group, way in self.ways(role).items():
            if group in granted:
                yield Path("owner" if group == owner else "grant", way)
            elif _is_predefined(group, kind, privilege):
                yield Path("predefined", way)


def ways(role: str, above: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return what can be reached from a role, by the shortest way; memberships have no cycles, but grantors may."""
    found: dict[str, tuple[str, ...]] = {role: ()}
    waiting = deque([role])
    while waiting:
        here = waiting.popleft()
        for group in above.get(here, ()):
            if group not in found:
                found[group] = (*found[here], group)
                waiting.append(group)
    return found


def _is_predefined(group: str, kind: str, privilege: str) -> bool:
    if kind == "schema":
        return group in _ENTERS_SCHEMAS and privilege == "USAGE"
    kinds, privileges = _PREDEFINED.get(group, (frozenset(), frozenset()))
    return kind in kinds and privilege in privileges
