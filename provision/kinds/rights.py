"""What a role may do through others, from what :func:`provision.kinds.catalog.cluster` has read.

https://www.postgresql.org/docs/current/role-membership.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from provision.kinds import Look, catalog
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


def standing(cluster: Cluster, role: str) -> Literal["is", "may be", "may not be"]:
    """Tell whether the login that asks is a member of a role, or can be for a while. It never is that of a superuser.

    Of a role that is not there it will be from 16 on: it makes that one (see createrole_self_grant).
    """
    there, login = cluster.roles.get(role), cluster.login
    has_own_roles, is_set = cluster.major >= OWN_ROLES_SINCE, role in settable(cluster, login)
    if cluster.is_superuser or (is_set and role in inherited(cluster, login)):
        return "is"
    if there is None:
        return "is" if has_own_roles else "may be"
    # Before 16 one membership is all there is, so another one would not help, and its end would be that of the first.
    if there.superuser or (is_set and not has_own_roles):
        return "may not be"
    return "may be" if administers(cluster, login, role) else "may not be"


def _closure(cluster: Cluster, role: str, counts: Callable[[Membership], bool]) -> frozenset[str]:
    found, left = {role}, [role]
    while left:
        member = left.pop()
        groups = {each.group for each in cluster.memberships if each.member == member and counts(each)}
        left += groups - found
        found |= groups
    return frozenset(found)
