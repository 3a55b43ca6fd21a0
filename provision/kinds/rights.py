"""What a role may do through others, from what :func:`provision.kinds.catalog.cluster` has read.

https://www.postgresql.org/docs/current/role-membership.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.kinds import catalog
from provision.model.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provision.kinds import Look
    from provision.kinds.catalog import Cluster, Contents, Membership


OWN_ROLES_SINCE = 16
"""From this major version on, CREATEROLE is about the roles that were made by it, and memberships have options."""


def enters(cluster: Cluster, name: str) -> bool:
    """Tell whether the server has a database, and lets the login that asks in."""
    found = cluster.databases.get(name)
    if found is None or not found.connect:
        return False
    able = {edge.grantee for edge in found.acl if edge.privilege == "CONNECT"}
    return cluster.is_superuser or None in able or not able.isdisjoint(inherited(cluster, cluster.login))


def contents(look: Look, database: str) -> Contents | None:
    """Return what is in a database; None where there is no such database, or it does not let us in.

    Raises:
        UnseenError: the server cannot be asked.
    """
    return look.once(catalog.contents, database) if enters(look.once(catalog.cluster), database) else None


def inherited(cluster: Cluster, role: str) -> frozenset[str]:
    """Return the roles whose privileges a role has without SET ROLE, itself among them."""
    return _closure(cluster, role, lambda each: is_inherited(cluster, each))


def is_inherited(cluster: Cluster, each: Membership) -> bool:
    """Tell whether a member has the privileges of its group without SET ROLE; before 16 the member's own row says."""
    found = cluster.roles.get(each.member)
    return each.inherit if each.inherit is not None else found is None or found.inherit


def settable(cluster: Cluster, role: str) -> frozenset[str]:
    """Return the roles that a role may be set to, and may give what it owns; itself among them."""
    return _closure(cluster, role, lambda each: each.set is not False)


def administers(cluster: Cluster, role: str, group: str) -> bool:
    """Tell whether a role may grant and revoke membership in a group."""
    there = cluster.roles.get(role)
    if there is None or there.superuser:
        return there is not None
    groups = inherited(cluster, role)
    if any(each.admin and each.group == group and each.member in groups for each in cluster.memberships):
        return True
    found = cluster.roles.get(group)
    return cluster.major < OWN_ROLES_SINCE and there.createrole and not (found is not None and found.superuser)


def revokes(cluster: Cluster, membership: Membership) -> bool:
    """Tell whether the login that asks may take a membership away: what others have granted is theirs from 16 on."""
    if cluster.is_superuser or cluster.major < OWN_ROLES_SINCE:
        return True
    return membership.grantor in inherited(cluster, cluster.login)


def lacking(cluster: Cluster, *roles: str) -> tuple[str, ...]:
    """Return those of some roles that the login that asks would have to be a member of, to act for them."""
    if cluster.is_superuser:
        return ()
    mine = settable(cluster, cluster.login)
    if cluster.major >= OWN_ROLES_SINCE:  # before, another grant would not help, and its end would take the first away
        mine &= inherited(cluster, cluster.login)
    return tuple([each for each in roles if each not in mine])


def borrowing(roles: Sequence[str], major: int, *statements: str) -> tuple[str, ...]:
    """Return statements with a membership in some roles around them, which ends with their transaction."""
    has_options = major >= OWN_ROLES_SINCE
    options, by = (" WITH INHERIT TRUE, SET TRUE", " GRANTED BY CURRENT_USER") if has_options else ("", "")
    return (
        *(f"GRANT {identifier(each)} TO CURRENT_USER{options}" for each in roles),
        *statements,
        *(f"REVOKE {identifier(each)} FROM CURRENT_USER{by}" for each in roles),
    )


def _closure(cluster: Cluster, role: str, counts: Callable[[Membership], bool]) -> frozenset[str]:
    found, left = {role}, [role]
    while left:
        member = left.pop()
        groups = {each.group for each in cluster.memberships if each.member == member and counts(each)}
        left += groups - found
        found |= groups
    return frozenset(found)
