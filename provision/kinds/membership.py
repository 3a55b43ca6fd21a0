"""Memberships: exact for each pair of group and member that the spec names; others are not touched.

From PostgreSQL 16 on one pair can be granted several times, by several grantors, and what counts is the union. There
the creator of a role has a membership with ADMIN alone, which the server itself has made: it is no difference.
https://www.postgresql.org/docs/current/role-membership.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.kinds import Before, Files, Inputs, Look, Scene, catalog, role
from provision.kinds.catalog import Cluster
from provision.kinds.rights import OWN_ROLES_SINCE
from provision.model import MAINTENANCE, Action, Address, Change, Plan, Stage, State, Step, changes
from provision.model.effects import RunInTransaction
from provision.model.sql import identifier
from provision.model.value import dataclass, field
from provision.spec import access
from provision.spec.model import Spec

KIND = "membership"
_OPTIONS = ("admin", "inherit", "set")
_BOOTSTRAP = 10  # BOOTSTRAP_SUPERUSERID in pg_authid.dat


@dataclass(frozen=True)
class Membership(State):
    """That a role is in a group; ``inherit`` and ``set`` are None before PostgreSQL 16.

    ``grants`` are the rows behind it. ``following`` are those that others have granted by the member's ADMIN option.
    """

    group: str
    member: str
    admin: bool
    inherit: bool | None
    set: bool | None
    grants: tuple[catalog.Membership, ...] = field(default=(), compare=False)
    following: tuple[str, ...] = field(default=(), compare=False)


def _declared(spec: Spec) -> Iterator[tuple[Address, access.Role, access.Member]]:
    for each in spec.roles.values():
        if not each.is_absent:
            for member in each.member_of:
                yield Address(KIND, f"{member.group}/{each.name}"), each, member


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the memberships that are declared present."""
    has_options = spec.server.major >= OWN_ROLES_SINCE
    return {
        address: Membership(
            each.group, of.name, each.admin, each.inherit if has_options else None, each.set if has_options else None
        )
        for address, of, each in _declared(spec)
        if not each.is_absent
    }


def seen(look: Look) -> dict[Address, State]:
    """Return the memberships that are named and exist, also those that are declared absent."""
    cluster, now = look.once(catalog.cluster), look.once(role.renames)
    found: dict[Address, State] = {}
    for address, of, each in _declared(look.spec):
        group, member = now.get(each.group, each.group), now.get(of.name, of.name)
        rows = [row for row in cluster.memberships if (row.group, row.member) == (group, member)]
        want = look.wanted.get(address)
        state = _union(each.group, of.name, rows, cluster)
        if state != want:
            state = _union(each.group, of.name, [row for row in rows if not _is_of_server(row, cluster)], cluster)
        if state is not None:
            found[address] = state
    return found


def _union(group: str, member: str, rows: Sequence[catalog.Membership], cluster: Cluster) -> Membership | None:
    if not rows:
        return None
    inherit, set_ = [
        None if rows[0].inherit is None else any(getattr(row, option) for row in rows) for option in ("inherit", "set")
    ]
    return Membership(
        group,
        member,
        any(row.admin for row in rows),
        inherit,
        set_,
        tuple(rows),
        tuple(_following(rows[0].group, rows[0].member, cluster)),
    )


def _is_of_server(row: catalog.Membership, cluster: Cluster) -> bool:
    """Tell whether the server has granted a role to the one that made it, as it does for who has CREATEROLE."""
    grantor, member = cluster.roles.get(row.grantor), cluster.roles.get(row.member)
    is_bare = row.admin and row.inherit is False and row.set is False
    return is_bare and bool(grantor and grantor.oid == _BOOTSTRAP and member and member.createrole)


def _following(group: str, grantor: str, cluster: Cluster) -> Iterator[str]:
    """Yield who else is in a group only because a member may admit others; before 16 nothing hangs on that."""
    left, seen_ = [grantor], {grantor}
    while left:
        by = left.pop()
        for row in cluster.memberships:
            if (row.group, row.grantor) == (group, by) and row.inherit is not None and row.member not in seen_:
                seen_.add(row.member)
                left.append(row.member)
                yield row.member


def steps(address: Address, before: Before, after: State | None, _scene: Scene) -> Plan:
    """Grant and revoke a membership, or its options."""
    if isinstance(before, Membership):
        if after is None:
            return Plan((_revoking(address, before, None),))
        return Plan(tuple(_changing(address, before, after)) if isinstance(after, Membership) else ())
    if before is not None or not isinstance(after, Membership):
        return Plan()
    return Plan((Step(address, Action.CREATE, None, after, (_granting(after),)),))


def _changing(address: Address, before: Membership, after: Membership) -> Iterator[Step]:
    lost = [each for each in _OPTIONS if getattr(before, each) and not getattr(after, each)]
    won = [each for each in _OPTIONS if getattr(after, each) and not getattr(before, each)]
    if lost:
        yield _revoking(address, before, after)
    if won:
        why = tuple([each for each in changes(before, after) if each.field in won])
        yield Step(address, Action.UPDATE, before, after, (_granting(after),), why)


def _granting(after: Membership) -> RunInTransaction:
    options = " WITH ADMIN OPTION" if after.admin else ""
    if after.inherit is not None:
        options = " WITH " + ", ".join(f"{each.upper()} {str(getattr(after, each)).upper()}" for each in _OPTIONS)
    statement = f"GRANT {identifier(after.group)} TO {identifier(after.member)}{options}"
    return RunInTransaction(MAINTENANCE, (statement,), shared=True)


def _revoking(address: Address, before: Membership, after: Membership | None) -> Step:
    """Return the step that takes a membership away, or options of it, whoever has granted them."""
    lost = [each for each in _OPTIONS if getattr(before, each) and not getattr(after, each, False)]
    hanging = before.following if "admin" in lost else ()
    statements = []
    for row in before.grants:
        options = [""] if after is None else [f"{each.upper()} OPTION FOR " for each in lost if getattr(row, each)]
        by = f" GRANTED BY {identifier(row.grantor)}" if row.set is not None else ""
        end = " CASCADE" if hanging and row.admin else ""
        pair = f"{identifier(before.group)} FROM {identifier(before.member)}"
        statements += [f"REVOKE {each}{pair}{by}{end}" for each in options]
    why: tuple[Change | str, ...] = ("declared absent",)
    words = f"{before.member} is no longer in {before.group}"
    if after is not None:
        why = tuple([each for each in changes(before, after) if each.field in lost])
        words = f"{before.member} loses in {before.group}: {', '.join(lost)}"
    if hanging:
        words += f"; whom it has admitted leaves too: {', '.join(hanging)}"
    action = Action.REMOVE if after is None else Action.UPDATE
    effect = RunInTransaction(MAINTENANCE, tuple(statements), shared=True)
    return Step(address, action, before, after, (effect,), why, words, stage=Stage.REVOKE)
