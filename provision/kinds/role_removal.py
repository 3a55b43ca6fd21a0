"""The removal of a role that is declared absent: what depends on it, in every database, and how it goes.

``DROP ROLE`` refuses a role that something depends on, and names only what is in one database. So the catalog that all
databases share is asked once, and then each database in which something depends on the role. Nothing is dropped with
CASCADE. https://www.postgresql.org/docs/current/role-removal.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from provision.errors import RefusedError, command
from provision.kinds import Before, Look, Scene, catalog, rights, stored_settings
from provision.kinds.role_removal_privileges import entangled
from provision.model import MAINTENANCE, OWN_DATABASES, Action, Address, Change, Effect, Plan, Stage, State, Step
from provision.model.effects import RemovePath, RunInTransaction
from provision.model.sql import identifier, literal
from provision.model.value import dataclass, field
from provision.model.words import count, some_of
from provision.spec import access

_DATA = frozenset({"table", "materialized view", "sequence", "large object", "extension"})
"""What is data, or may have some in it, of what ``DROP OWNED`` drops."""
_SHOWN = 8
_PATIENCE = 5000

# A default privilege and a user mapping are about a role, and go with it; they are nobody's data.
_OWNED = """s.deptype = 'o' AND s.classid NOT IN
    ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_user_mapping'::pg_catalog.regclass)"""
_DEPENDING = """FROM pg_shdepend AS s JOIN pg_roles AS r ON r.oid = s.refobjid AND s.refclassid = 'pg_authid'::regclass
    LEFT JOIN pg_database AS d ON d.oid = CASE s.classid WHEN 'pg_database'::regclass THEN s.objid ELSE s.dbid END"""
_EVERYWHERE = f"""
SELECT 'in', r.rolname::text, d.datname::text, '' {_DEPENDING}
WHERE r.rolname = ANY(%(roles)s) AND s.dbid <> 0 GROUP BY 2, 3
UNION ALL
SELECT CASE WHEN s.deptype = 'o' THEN 'owns' WHEN s.classid = 'pg_auth_members'::regclass THEN 'grants' ELSE 'may' END,
    r.rolname::text, d.datname::text, i.type || ' ' || coalesce(i.identity, i.name, '')
{_DEPENDING}, LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) AS i
WHERE r.rolname = ANY(%(roles)s) AND s.dbid = 0
UNION ALL
SELECT 'session', usename::text, datname::text, concat(coalesce(nullif(application_name, ''), 'a client'), ' ', pid)
FROM pg_stat_activity WHERE usename = ANY(%(roles)s)
ORDER BY 1, 2, 3, 4
"""  # noqa: S608  # from constants only
_INSIDE = f"""
SELECT r.rolname::text, i.type, coalesce(i.identity, '') {_DEPENDING},
    LATERAL pg_identify_object(s.classid, s.objid, s.objsubid) AS i
WHERE r.rolname = ANY(%(roles)s) AND d.datname = current_database() AND s.dbid <> 0 AND {_OWNED}
    AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE (e.classid, e.objid, e.deptype) = (s.classid, s.objid, 'e'))
ORDER BY 1, 2, 3
"""  # noqa: S608  # from constants only


class Object(NamedTuple):
    """Something that a role owns, in the words of ``pg_identify_object``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Leaving(State):
    """A role that is to go. ``owned`` are its objects in each database in which something depends on it.

    ``shared`` are databases and tablespaces that it owns, ``granted`` the memberships that it has given to others,
    ``is_granted`` tells that it has privileges on what databases share. ``closed`` are databases that do not let us in,
    ``sessions`` those of the role; ``is_kept``: its generated password is kept here. ``groups`` are its own memberships
    that we may revoke, ``knots`` the statements by database that take what ``DROP OWNED`` would leave. ``begun`` are
    the statements that reset the setting ``role`` where it is this one, which PostgreSQL would keep.
    """

    login: bool
    owned: Mapping[str, tuple[Object, ...]]
    shared: tuple[str, ...] = ()
    granted: tuple[str, ...] = ()
    is_granted: bool = False
    closed: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    is_kept: bool = False
    groups: tuple[catalog.Membership, ...] = ()
    knots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    begun: tuple[str, ...] = ()

    @property
    def lost(self) -> list[str]:
        """What is or holds data, of what the role owns."""
        return [f"{name}: {each}" for name, found in self.owned.items() for each in found if each.kind in _DATA]


def _leavers(look: Look) -> dict[str, list[str]]:
    return {"roles": [role.name for role in look.spec.roles.values() if role.is_absent]}


def _everywhere(look: Look) -> list[tuple[str, str, str | None, str]]:
    return [(what, role, database, words) for what, role, database, words in look.rows(_EVERYWHERE, _leavers(look))]


def _inside(look: Look, database: str) -> list[tuple[str, Object]]:
    rows = look.rows(_INSIDE, _leavers(look), database=database)
    return [(role, Object(kind, name)) for role, kind, name in rows]


def leaving(look: Look, role: access.Role) -> Leaving:
    """Return what depends on a role; a database that is declared absent goes before, and counts no more.

    Raises:
        UnseenError: the server cannot be asked.
    """
    cluster = look.once(catalog.cluster)
    going = {each.name for each in look.spec.databases.values() if each.is_absent}
    found: dict[str, list[tuple[str, str]]] = {}
    for what, name, database, words in look.once(_everywhere):
        if name == role.name and database not in going:
            found.setdefault(what, []).append((database or "", words))
    there = [database for database, _ in found.get("in", ())]
    return Leaving(
        cluster.roles[role.name].login,
        {
            database: tuple([each for name, each in look.once(_inside, database) if name == role.name])
            for database in there
            if rights.enters(cluster, database)
        },
        tuple([words for _, words in found.get("owns", ())]),
        tuple([words for _, words in found.get("grants", ())]),
        "may" in found,
        tuple([each for each in there if not rights.enters(cluster, each)]),
        tuple([f"{database}: {words}" for database, words in found.get("session", ())]),
        look.text(look.spec.role_password_file(role.name)) is not None,
        tuple([each for each in cluster.memberships if each.member == role.name and rights.revokes(cluster, each)]),
        {
            database: statements
            for database in dict.fromkeys((*there, *([MAINTENANCE] if "may" in found else [])))
            if (statements := look.once(entangled, database).get(role.name))
        },
        tuple([f"{each} RESET role" for each in stored_settings.beginning_in(role.name, cluster, look.spec)]),
    )


def own_login(name: str) -> RefusedError:
    """Return the error for a change of the role that we log in as."""
    return RefusedError(
        f"provision logs in as {name!r}, and does not change that role",
        evidence=["`credentials.user` names it"],
        next_step=f"write `external: true` at `roles.{name}`, and change it as another superuser",
    )


def steps(address: Address, before: Before, scene: Scene) -> Plan:
    """Take login and groups away first, before a group gets more rights; the role goes when nothing depends on it.

    Raises:
        RefusedError: it would cost data or end sessions, and nobody asked for that; or something would stay that
            depends on it.
    """
    role = scene.spec.roles[address.name]
    if not isinstance(before, Leaving):
        return Plan()
    _refuse(role, before, scene)
    found = [_losing(address, before)] if before.login or before.groups or before.knots else []
    noticed = [f"its sessions are ended: {', '.join(before.sessions)}"] if before.sessions else []
    noticed += [f"{each}, which it has granted, goes with it" for each in before.granted]
    found.append(
        Step(
            address,
            Action.REMOVE,
            before,
            None,
            tuple(_effects(role, before, scene)),
            tuple(_reasons(role, before)),
            "; ".join(noticed),
            destroys=bool(before.lost) and role.reassign_to is None,
            stage=Stage.DROP,
        )
    )
    return Plan(tuple(found))


def _losing(address: Address, before: Leaving) -> Step:
    name = identifier(address.name)
    statements = [f"ALTER ROLE {name} NOLOGIN"] if before.login else []
    for each in before.groups:
        by = "" if each.set is None else f" GRANTED BY {identifier(each.grantor)}"
        end = " CASCADE" if each.admin and before.granted else ""
        statements.append(f"REVOKE {identifier(each.group)} FROM {name}{by}{end}")
    groups = sorted({each.group for each in before.groups})
    why: tuple[Change | str, ...] = (
        *([Change("login", "on", "off")] if before.login else []),
        *([Change("member of", ", ".join(groups), "none")] if groups else []),
        *(f"its privileges in {name} that others than the owners granted are taken" for name in before.knots),
        "declared absent",
    )
    words = [
        *(["cannot log in any more"] if before.login else []),
        *([f"leaves {', '.join(groups)}"] if groups else []),
    ]
    own = [RunInTransaction(MAINTENANCE, tuple(statements), shared=True)] if statements else []
    knots = [RunInTransaction(name, each, shared=name == MAINTENANCE) for name, each in before.knots.items()]
    text = f"{address.name} {' and '.join(words)}" if words else ""
    return Step(address, Action.UPDATE, before, None, (*own, *knots), why, text, stage=Stage.REVOKE)


def _refuse(role: access.Role, before: Leaving, scene: Scene) -> None:
    name, here = role.name, f"`roles.{role.name}`"
    if name == scene.spec.server.user:
        raise own_login(name)
    if before.sessions and not role.ends_sessions:
        raise RefusedError(
            f"the role {name!r} is logged in, so it is not removed",
            evidence=before.sessions,
            next_step=f"write `sessions: end` at {here}, or have them end, then: " + command("apply"),
        )
    if before.closed:
        raise _closed(name, before.closed)
    if role.reassign_to is not None:
        return
    owned = [*before.shared, *(f"{database}: {each}" for database, found in before.owned.items() for each in found)]
    ways = f"write `reassign_to: ROLE` at {here}, or have them dropped with `drop_owned: true`; then: "
    if owned and not role.drop_owned:
        raise RefusedError(
            f"the role {name!r} owns {count(len(owned), 'object')}, so it is not removed",
            evidence=owned,
            next_step=ways + command("apply"),
        )
    if before.shared:
        raise RefusedError(
            f"`drop_owned` does not drop what all databases share, and the role {name!r} owns some of it",
            evidence=before.shared,
            next_step=f"write `reassign_to: ROLE` at {here}; or declare a database with `state: absent`",
        )
    if before.lost and not scene.wishes.data:
        raise RefusedError(
            f"to remove the role {name!r} with `drop_owned` would destroy data: {count(len(before.lost), 'object')}",
            evidence=before.lost,
            next_step=command("apply --data") + f"   (it is gone then; `reassign_to: ROLE` at {here} keeps it)",
        )


def _closed(name: str, closed: Sequence[str]) -> RefusedError:
    """Return the error for objects in databases that do not let us in."""
    if kept := [each for each in closed if re.match(OWN_DATABASES, each)]:
        return RefusedError(
            f"something depends on the role {name!r} in a snapshot, or in another copy that provision made",
            evidence=kept,
            next_step=command("snapshot list") + "   (`rm` removes one; the copies for tests: provision clone --drop)",
        )
    return RefusedError(
        f"something depends on the role {name!r} in a database that does not let us in",
        evidence=closed,
        next_step="as an administrator: ALTER DATABASE … ALLOW_CONNECTIONS true, and GRANT CONNECT on it; then: "
        + command("apply"),
    )


def _reasons(role: access.Role, before: Leaving) -> Iterator[str]:
    yield "declared absent"
    verb = "is dropped" if role.reassign_to is None else f"becomes that of {role.reassign_to}"
    if before.shared:
        yield f"{verb}: {some_of(before.shared, most=_SHOWN)}"
    for database, found in before.owned.items():
        if found:
            yield f"{verb} in {database}: {some_of(map(str, found), most=_SHOWN)}"
        else:
            yield f"its privileges in {database} are revoked"
    if before.begun:
        yield f"no session begins in it any more: {'; '.join(before.begun)}"


def _effects(role: access.Role, before: Leaving, scene: Scene) -> Iterator[Effect]:
    """Yield what ends sessions, then a transaction for each database, then what drops the role."""
    name = identifier(role.name)
    mine = f"FROM pg_catalog.pg_stat_activity WHERE usename = {literal(role.name)}"
    if role.ends_sessions and (before.login or before.sessions):
        yield RunInTransaction(MAINTENANCE, (f"SELECT pg_catalog.pg_terminate_backend(pid, {_PATIENCE}) {mine}",))
    is_shared = bool(before.shared or before.granted or before.is_granted)
    for database in dict.fromkeys((*([MAINTENANCE] if is_shared else ()), *before.owned)):
        first = _unless(_more_than(role, len(before.owned.get(database, ()))), "the role owns more than before")
        if role.reassign_to is not None:
            first = f"REASSIGN OWNED BY {name} TO {identifier(role.reassign_to)}"
        both, owners = (first, f"DROP OWNED BY {name}"), (role.name, *filter(None, [role.reassign_to]))
        yield RunInTransaction(database, both, shared=database == MAINTENANCE, acts_for=owners)
    guard = _unless(f"EXISTS (SELECT {mine})", "the role has logged in meanwhile")
    yield RunInTransaction(MAINTENANCE, (guard, *before.begun, f"DROP ROLE {name}"), shared=True)
    if before.is_kept:
        yield RemovePath(scene.spec.role_password_file(role.name))


def _more_than(role: access.Role, known: int) -> str:
    """Return the condition that a role owns more in a database than was seen there."""
    return f"""(SELECT pg_catalog.count(*) FROM pg_catalog.pg_shdepend AS s
        WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
        AND s.refobjid = {literal(identifier(role.name))}::pg_catalog.regrole
        AND s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
        AND {_OWNED}
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS e
            WHERE e.classid = s.classid AND e.objid = s.objid AND e.deptype = 'e')) > {known}"""  # noqa: S608  # names are quoted


def _unless(condition: str, words: str) -> str:
    """Return what rolls the transaction back, and has everything looked at again, where a condition holds."""
    error = f"RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = {literal(words)}"
    return f"DO $provision$ BEGIN IF {condition} THEN {error}; END IF; END $provision$"
