"""Roles: who can log in, what each may do by itself, and its password.

A role says all of its attributes, so each is compared. What takes something away from it is a step of its own, which
comes before all others. https://www.postgresql.org/docs/current/role-attributes.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from provision.errors import RefusedError, command
from provision.kinds import Before, Files, Inputs, Look, Scene, catalog, rights, role_password, stored_settings
from provision.kinds.role_password import MARK, Password
from provision.model import MAINTENANCE, Action, Address, Change, Effect, Plan, Stage, State, Step, changes
from provision.model.effects import VERIFIER, MovePath, RemovePath, RunInTransaction
from provision.model.sql import identifier, literal
from provision.model.value import dataclass, field
from provision.model.words import count
from provision.spec import access
from provision.spec.access import NEVER, NO_LIMIT
from provision.spec.model import Spec

KIND = "role"
_NONE, _NEVER = "none", "never"
FLAGS = ("login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit")
_FIELDS = (*FLAGS, "connection_limit", "valid_until", "password", "comment")


@dataclass(frozen=True)
class Role(State):
    """A role. ``comment`` and ``password`` are None where they are not managed.

    ``is_marked``: its password was generated; ``unproved`` says why it could not be compared, ``has_none`` that it logs
    in without one, and nobody has said so. ``rival`` is the role that has the old name, where one that is to be renamed
    exists under both. ``begun`` are the places whose setting ``role`` is the old name of one that is to be renamed.
    """

    name: str
    login: bool = False
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    replication: bool = False
    bypassrls: bool = False
    inherit: bool = True
    connection_limit: str = _NONE
    valid_until: str = _NEVER
    comment: str | None = None
    password: Password | None = None
    is_marked: bool = field(default=False, compare=False)
    unproved: str = field(default="", compare=False)
    has_none: bool = field(default=False, compare=False)
    rival: str | None = field(default=None, compare=False)
    begun: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class External(State):
    """A role that is made elsewhere."""

    name: str


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the roles that are declared present, groups before their members."""
    return {Address(KIND, each.name): _wanted(each) for each in _groups_first(spec.roles) if not each.is_absent}


def _wanted(role: access.Role) -> State:
    if role.is_external:
        return External(role.name)
    return Role(
        role.name,
        **{each: getattr(role, each) for each in FLAGS},
        connection_limit=_limit(role.connection_limit),
        valid_until=_NEVER if role.valid_until == NEVER else role_password.instant(role.valid_until),
        comment=role.comment,
        password=role_password.wanted(role),
    )


def _limit(number: int) -> str:
    return _NONE if number == NO_LIMIT else str(number)


def _groups_first(roles: Mapping[str, access.Role]) -> Iterable[access.Role]:
    found: dict[str, access.Role] = {}

    def add(role: access.Role, *members: str) -> None:
        for each in role.member_of:
            if each.group in roles and each.group not in (*found, *members):
                add(roles[each.group], role.name, *members)
        found[role.name] = role

    for role in roles.values():
        add(role)
    return found.values()


def renames(look: Look) -> dict[str, str]:
    """Return the present names of the roles that are to be renamed, by the declared ones.

    Raises:
        UnseenError: the server cannot be asked.
    """
    there = look.once(catalog.cluster).roles
    declared = [role for role in look.spec.roles.values() if not role.is_absent and role.name not in there]
    return {role.name: role.renamed_from for role in declared if role.renamed_from and role.renamed_from in there}


def known_as(look: Look) -> dict[str, str]:
    """Return the declared names of the roles that are to be renamed, by the present ones."""
    return {now: name for name, now in look.once(renames).items()}


def seen(look: Look) -> dict[Address, State]:
    """Return the declared roles that exist, also those that are declared absent."""
    there, now = look.once(catalog.cluster).roles, look.once(renames)
    _look_ahead(look)
    return {
        Address(KIND, name): _seen(look, role, now.get(name, name))
        for name, role in look.spec.roles.items()
        if now.get(name, name) in there
    }


def _look_ahead(look: Look) -> None:
    """Let the server gather what is in the database, which takes it longest, while passwords are compared here."""
    database = look.spec.databases.get(look.database)
    if (
        database
        and database.has_inside
        and not database.is_absent
        and rights.enters(look.once(catalog.cluster), database.name)
    ):
        look.ahead(catalog.contents, database.name)


def _seen(look: Look, role: access.Role, now: str) -> State:
    if role.is_absent:
        from provision.kinds import role_removal

        return role_removal.leaving(look, role)
    if role.is_external:
        return External(role.name)
    cluster = look.once(catalog.cluster)
    found = cluster.roles[now]
    is_marked = MARK in cluster.settings.get((None, now), {})
    password, unproved = role_password.seen(look, role, now, is_marked=is_marked)
    return Role(
        now,
        **{each: getattr(found, each) for each in FLAGS},
        connection_limit=_limit(found.connection_limit),
        valid_until=role_password.instant(found.valid_until) if found.valid_until else _NEVER,
        comment=None if role.comment is None else found.comment or "",
        password=password,
        is_marked=is_marked,
        unproved=unproved,
        has_none=cluster.is_superuser and role.login and role.password is None and found.verifier is None,
        rival=role.renamed_from if now != role.renamed_from and role.renamed_from in cluster.roles else None,
        begun=stored_settings.beginning_in(now, cluster, look.spec) if now != role.name else (),
    )


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Create, rename, change or remove a role.

    Raises:
        RefusedError: we log in as this role; it is made elsewhere, and not there; nothing says the password of a new
            login; or what the role owns would be lost.
    """
    if scene.spec.roles[address.name].is_absent:
        from provision.kinds import role_removal

        return role_removal.steps(address, before, scene)
    if isinstance(after, External):
        return _external(after, before, scene)
    if not isinstance(after, Role):
        return Plan()
    if before is None:
        return Plan((_create(address, after, scene),))
    if not isinstance(before, Role):
        return Plan()
    if before.rival is not None:
        raise _both_exist(before, scene)
    found = tuple(_changing(address, before, after, scene))
    if found and before.name == scene.spec.server.user:
        from provision.kinds import role_removal

        raise role_removal.own_login(before.name)
    has_none = f"{address}: it logs in, and has no password; write one, or `password: none` where that is meant"
    return Plan(
        found,
        remarks=(has_none,) if before.has_none and not before.is_marked else (),
        partial=(f"{address}: its password; {before.unproved}",) if before.unproved else (),
    )


def _external(after: External, before: Before, scene: Scene) -> Plan:
    if before is not None or scene.ground.starting:
        return Plan()
    name = after.name
    raise RefusedError(
        f"the role {name!r} does not exist, and the spec says that it is made elsewhere",
        evidence=[f"`external: true` at {scene.spec.roles[name].place}"],
        next_step=f"have it made: CREATE ROLE {identifier(name)}; or take out `external`, then: " + command("apply"),
    )


def _both_exist(before: Role, scene: Scene) -> RefusedError:
    return RefusedError(
        f"the role {before.rival!r} cannot be renamed to {before.name!r}, because both exist",
        evidence=[f"`renamed_from` at {scene.spec.roles[before.name].place}"],
        next_step="take out `renamed_from`; to merge them, declare the old role with `state: absent` and `reassign_to`",
    )


def _create(address: Address, after: Role, scene: Scene) -> Step:
    nothing = Role(after.name)
    names = [each for each in _FIELDS if getattr(after, each) != getattr(nothing, each)]
    return Step(address, Action.CREATE, None, after, _effects("CREATE", names, nothing, after, scene))


def _changing(address: Address, before: Role, after: Role, scene: Scene) -> Iterator[Step]:
    """Yield a renaming, what takes away, and what only gives; after a renaming everything is looked at again."""
    if before.name != after.name:
        statement = f"ALTER ROLE {identifier(before.name)} RENAME TO {identifier(after.name)}"
        # A setting keeps the old name, and a session that cannot be set to it only warns.
        begun = [f"{each} SET role TO {literal(after.name)}" for each in before.begun]
        effects: tuple[Effect, ...] = (RunInTransaction(MAINTENANCE, (statement, *begun), shared=True),)
        if role_password.is_generated(scene.spec.roles[after.name]):
            old, new = [scene.spec.role_password_file(each.name) for each in (before, after)]
            effects = (MovePath(old, new, if_there=True), *effects)
        why = (Change("name", before.name, after.name),)
        yield Step(address, Action.UPDATE, before, after, effects, why, reveals=True, stage=Stage.REVOKE)
    why_by_name = {each.field.replace(" ", "_"): each for each in changes(before, after)}
    lost = [each for each in _FIELDS if each in why_by_name and _shrinks(each, before, after)]
    for stage, names in ((Stage.REVOKE, lost), (Stage.CHANGE, [each for each in _FIELDS if each not in lost])):
        if found := [each for each in names if each in why_by_name]:
            yield Step(
                address,
                Action.UPDATE,
                before,
                after,
                _effects("ALTER", found, before, after, scene),
                tuple([why_by_name[each] for each in found]),
                _consequence(found, after) if lost == found else "",
                stage=stage,
            )


def _consequence(lost: Sequence[str], after: Role) -> str:
    """Say what people will notice of what a role can do less."""
    gone = [each.replace("_", " ") for each in lost if each not in ("connection_limit", "valid_until")]
    words = [f"loses: {', '.join(gone)}"] if gone else []
    if "connection_limit" in lost:
        words.append(f"can have {count(int(after.connection_limit), 'connection')} at a time")
    if "valid_until" in lost:
        words.append(f"cannot log in with its password from {after.valid_until} on")
    return f"{after.name} {'; '.join(words)}"


def _shrinks(name: str, before: Role, after: Role) -> bool:
    """Tell whether a role can do less afterwards."""
    old, new = str(getattr(before, name)), str(getattr(after, name))
    if name in FLAGS:
        return not getattr(after, name)
    if name == "connection_limit":
        return new != _NONE and (old == _NONE or int(new) < int(old))
    if name == "valid_until":
        return new != _NEVER and (old == _NEVER or new < old)
    return name == "password" and new == _NONE


def _effects(verb: str, names: Iterable[str], before: Role, after: Role, scene: Scene) -> tuple[Effect, ...]:
    """Return what brings some fields of a role to what is declared."""
    declared, name = scene.spec.roles[after.name], identifier(after.name)
    is_set = "password" in names and after.password != _NONE
    options = [option for each in names if (option := _option(each, after))]
    statements = [" ".join([f"{verb} ROLE {name}", *options])] if options or verb == "CREATE" else []
    if "comment" in names:
        statements.append(f"COMMENT ON ROLE {name} IS {literal(after.comment or '')}")
    if "password" in names:
        statements += role_password.marking(declared, scene, is_marked=before.is_marked)
    password = scene.inputs.passwords[after.name] if is_set else None
    files = role_password.keeping(declared, scene) if is_set else ()
    change = RunInTransaction(MAINTENANCE, tuple(statements), shared=True, password=password)
    # One that was generated is nobody's password once another one is set: it would be taken for the role's.
    is_stale = "password" in names and before.is_marked and not role_password.is_generated(declared)
    return (*files, change, *([RemovePath(scene.spec.role_password_file(after.name))] if is_stale else []))


def _option(name: str, role: Role) -> str:
    """Return an attribute as CREATE ROLE and ALTER ROLE have it; empty for what is no attribute."""
    value = getattr(role, name)
    if name in FLAGS:
        return f"{'' if value else 'NO'}{name.upper()}"
    if name == "connection_limit":
        return f"CONNECTION LIMIT {NO_LIMIT if value == _NONE else value}"
    if name == "valid_until":
        return f"VALID UNTIL {literal(NEVER if value == _NEVER else value)}"
    if name == "password":
        return "PASSWORD NULL" if value == _NONE else f"PASSWORD {literal(VERIFIER)}"
    return ""
