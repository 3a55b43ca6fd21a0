"""What single steps demand of a login that is no superuser and that it may not do, with what would allow it.

The rules are those of PostgreSQL 14 to 18: from 16 on, CREATEROLE is about roles on which the login has ADMIN, as the
server gives it to who makes one. https://www.postgresql.org/docs/16/release-16.html#RELEASE-16-PRIVILEGES
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from provision.kinds import Scene, extension, providers, rights
from provision.kinds.catalog import PARAMETERS_SINCE, Cluster
from provision.kinds.rights import OWN_ROLES_SINCE
from provision.kinds.role import Role
from provision.model import Action, Change, Effect, Stage, Step
from provision.model.effects import OWNER_OF_DATABASE, RunInTransaction
from provision.model.sql import identifier
from provision.spec import access
from provision.spec.parameters import catalogue

_PUBLIC, _PUBLIC_IS_OURS_SINCE = "public", 15
_OF_SUPERUSERS = ("superuser", "replication", "bypassrls")
_SETTING = "settings "
_CREATEROLE = "CREATEROLE makes and changes roles"
_CREATEDB = "CREATEDB makes databases, and gives them to other owners"
_INSIDE = ("schema", "extension", "default_privilege", "privilege")


class Demand(NamedTuple):
    """One thing that an administrator has to allow, or do, and for what.

    ``what`` is an attribute of the login, the name of a role, setting, tablespace or database, or a statement, which
    runs in ``database`` (None: in whichever).
    """

    kind: Literal["attribute", "role", "database", "member", "admin", "setting", "tablespace", "connect", "statement"]
    what: str
    why: str
    database: str | None = None


class Login:
    """A login that is no superuser, and what it may do in a cluster once the declared roles are made."""

    def __init__(self, cluster: Cluster, trusted: frozenset[str]) -> None:
        self.cluster, self.trusted, self.name = cluster, trusted, cluster.login
        self.role = cluster.roles[cluster.login]
        self.has_own_roles = cluster.major >= OWN_ROLES_SINCE
        self._inherited = rights.inherited(cluster, self.name)

    def standing(self, role: str) -> Literal["is", "may be", "may not be"]:
        """Tell whether the login is a member of a role, or can be for a while."""
        return rights.standing(self.cluster, role)

    def administers(self, role: str) -> bool:
        """Tell whether the login may change a role and who is in it."""
        return role not in self.cluster.roles or rights.administers(self.cluster, self.name, role)

    def may_set(self, name: str) -> bool:
        """Tell whether the login may store a setting for a role or a database."""
        known = catalogue(self.cluster.major).get(name)
        is_free = known is not None and known.context != "superuser"
        able = {edge.grantee for edge in self.cluster.parameters.get(name.lower(), ()) if edge.privilege == "SET"}
        return is_free or None in able or not able.isdisjoint(self._inherited)

    def may_use(self, tablespace: str) -> bool:
        """Tell whether the login may put a database into a tablespace."""
        able = {edge.grantee for edge in self.cluster.tablespaces.get(tablespace, ()) if edge.privilege == "CREATE"}
        return None in able or not able.isdisjoint(self._inherited)

    def owner_of(self, database: str, scene: Scene, stage: Stage = Stage.CHANGE) -> str:
        """Return who owns a database at a stage; a new owner who is still to be made gets it only after the first."""
        there, declared = self.cluster.databases.get(database), scene.spec.databases.get(database)
        owner = declared.owner if declared is not None else None
        if stage is Stage.REVOKE and owner not in self.cluster.roles:
            owner = None
        return owner or (there.owner if there is not None else self.name)

    def acts_for(self, step: Step, effect: Effect, scene: Scene) -> list[str]:
        """Return the roles that an effect of a step acts for."""
        if not isinstance(effect, RunInTransaction):
            return []
        owner = self.owner_of(effect.database, scene, step.stage)
        return list(dict.fromkeys(owner if each == OWNER_OF_DATABASE else each for each in effect.acts_for))


def of(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    """Yield what a step demands and the login may not do; the same may come several times."""
    judge = _OF_KIND.get(step.address.kind)
    if judge is not None and step.effects:
        yield from judge(step, login, scene)
    for effect in step.effects:
        for role in login.acts_for(step, effect, scene):
            yield from _membership(role, effect, login, scene)
    if not step.effects and step.address.kind in _INSIDE:
        yield from _foreseen(step, login, scene)
    if step.address.kind == "migrations":
        yield from _migrating(login, scene)


def _migrating(login: Login, scene: Scene) -> Iterator[Demand]:
    """Yield the roles that the sessions of migrations are set to: a role that the login makes is its own from 16 on."""
    for role in dict.fromkeys(each.role for each in scene.spec.migrations if each.login in (None, login.name)):
        is_new = role not in login.cluster.roles
        if role and role not in rights.settable(login.cluster, login.name) and not (is_new and login.has_own_roles):
            why = f"migrations run as {role!r}, and {login.name!r} is no member of it"
            yield from [Demand("role", role, why)] if is_new else []
            yield Demand("member", role, why)


def _membership(role: str, effect: Effect, login: Login, scene: Scene) -> Iterator[Demand]:
    if login.standing(role) != "may not be":
        return
    there = login.cluster.roles.get(role)
    if there is not None and there.superuser:
        why = f"what belongs to {role!r} is only for superusers to change"
        yield from _as_it_is(effect, why, login, scene)
    else:
        yield Demand("member", role, f"only a member of {role!r} may change what it owns, or will own")


def _as_it_is(effect: Effect, why: str, login: Login, scene: Scene, part: str = "") -> Iterator[Demand]:
    """Yield the statements that an administrator has to run, and the roles that have to be there before."""
    if not isinstance(effect, RunInTransaction):
        return
    for each in effect.statements:
        if part in each:
            new = [role for role in scene.spec.roles if role not in login.cluster.roles and identifier(role) in each]
            yield from (Demand("role", role, why) for role in new)
            yield from (Demand("admin", role, why) for role in new if login.has_own_roles)
            yield Demand("statement", each, why, None if effect.shared else effect.database)


def _settings(step: Step, names: Iterable[str], login: Login, scene: Scene) -> Iterator[Demand]:
    for name in names:
        if not login.may_set(name):
            why = f"only a superuser may set {name}"
            if login.cluster.major >= PARAMETERS_SINCE:
                yield Demand("setting", name, why)
            for effect in step.effects if login.cluster.major < PARAMETERS_SINCE else ():
                yield from _as_it_is(effect, why, login, scene, f"SET {identifier(*name.split('.'))} ")


def _database(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    name = step.address.name
    declared = scene.spec.databases.get(name)
    changed = {each.field for each in step.why if isinstance(each, Change)}
    if step.action is Action.REMOVE:
        yield from _removed(step, login)
        return
    if not login.role.createdb and (step.action is Action.CREATE or "owner" in changed):
        yield Demand("attribute", "CREATEDB", _CREATEDB)
    if declared is None:
        return
    is_new = step.action is Action.CREATE
    if declared.tablespace and (is_new or "tablespace" in changed) and not login.may_use(declared.tablespace):
        why = f"a privilege is needed to use the tablespace {declared.tablespace!r}"
        yield Demand("tablespace", declared.tablespace, why)
    names = (each for each in declared.settings if is_new or _SETTING + each in changed)
    found = list(_settings(step, names, login, scene))
    if is_new and any(each.kind == "statement" for each in found):
        yield Demand("database", name, "only a superuser may set this, in a database that is there")
    yield from found


def _removed(step: Step, login: Login) -> Iterator[Demand]:
    owner, name = login.cluster.databases[step.address.name].owner, identifier(step.address.name)
    why = f"only the owner may drop a database: {owner!r}"
    if login.standing(owner) == "may not be":
        mine = Demand("statement", f"ALTER DATABASE {name} OWNER TO {identifier(login.name)}", why)
        yield mine if login.cluster.roles[owner].superuser else Demand("member", owner, why)
    elif login.standing(owner) == "may be" and not login.role.createdb:
        yield Demand("attribute", "CREATEDB", _CREATEDB)


def _role(step: Step, login: Login, _scene: Scene) -> Iterator[Demand]:
    before, after = step.before, step.after
    now = before.name if isinstance(before, Role) else step.address.name
    there = login.cluster.roles.get(now)
    if not login.role.createrole:
        yield Demand("attribute", "CREATEROLE", _CREATEROLE)
    if there is not None and there.superuser:
        yield Demand("statement", "", "only a superuser may change a superuser; write `external: true` for it")
        return
    if login.has_own_roles and not login.administers(now):
        yield Demand("admin", now, "another role has made this one, so ADMIN is needed to change it")
    provider = providers.of(login.cluster.roles)
    if provider is not None and not provider.hashed and any(getattr(each, "password", None) for each in step.effects):
        why = f"{provider.name} takes no hashed password; make the login there, and write `external: true` for it"
        yield Demand("statement", "", why)
    if not isinstance(after, Role):
        return
    for flag in _OF_SUPERUSERS:
        is_new = getattr(after, flag) if before is None else getattr(before, flag, False) != getattr(after, flag)
        if is_new and not (login.has_own_roles and flag != "superuser" and getattr(login.role, flag)):
            yield from _attribute(step, flag, after, login)
    if after.createdb and not getattr(before, "createdb", False) and login.has_own_roles and not login.role.createdb:
        yield Demand("attribute", "CREATEDB", "only who has CREATEDB may give it")


def _attribute(step: Step, flag: str, after: Role, login: Login) -> Iterator[Demand]:
    why = f"only a superuser may give or take {flag.upper()}"
    if step.action is Action.CREATE:
        yield Demand("role", after.name, why)
        if login.has_own_roles:
            yield Demand("admin", after.name, why)
    word = flag.upper() if getattr(after, flag) else f"NO{flag.upper()}"
    yield Demand("statement", f"ALTER ROLE {identifier(after.name)} {word}", why)


def _member(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    state = step.after or step.before
    group = getattr(state, "group", "")
    there = login.cluster.roles.get(group)
    if there is None:
        return
    if there.superuser:
        yield from _as_it_is(step.effects[0], f"only a superuser may change who is in {group!r}", login, scene)
    elif not login.administers(group):
        admin = Demand("admin", group, f"ADMIN is needed to change who is in {group!r}")
        yield admin if login.has_own_roles else Demand("attribute", "CREATEROLE", _CREATEROLE)
    for row in getattr(step.before, "grants", ()):
        if row.set is not None and login.standing(row.grantor) == "may not be":
            why = f"only {row.grantor!r} may take what it has granted"
            yield from _as_it_is(step.effects[0], why, login, scene, identifier(row.grantor))


def _role_setting(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    name = getattr(step.after, "role", "")
    if not login.role.createrole:
        yield Demand("attribute", "CREATEROLE", _CREATEROLE)
    if login.has_own_roles and not login.administers(name):
        yield Demand("admin", name, "another role has made this one, so ADMIN is needed to change it")
    names = (each.field for each in step.why if isinstance(each, Change))
    yield from _settings(step, names, login, scene)


def _extension(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    state, declared = step.after or step.before, _database_of(step, scene)
    name = getattr(state, "name", "")
    changed = {each.field for each in step.why if isinstance(each, Change)}
    if "schema" in changed:
        yield from _as_it_is(step.effects[0], "only a superuser may move an extension", login, scene, " SET SCHEMA ")
    why = f"only a superuser may make or update {name}"
    if name in login.trusted:
        return
    if "version" in changed:
        yield from _as_it_is(step.effects[0], why, login, scene, " UPDATE")
    elif step.action is Action.CREATE:
        want = next(each for each in declared.extensions if each.name == name)
        if declared.name not in login.cluster.databases:
            yield Demand("database", declared.name, why)
        if want.schema is not None:
            made = f"CREATE SCHEMA IF NOT EXISTS {identifier(want.schema)} AUTHORIZATION {identifier(login.name)}"
            yield Demand("statement", made, why, declared.name)
        yield Demand("statement", extension.creating(want), why, declared.name)


_OF_KIND = {
    "database": _database,
    "role": _role,
    "membership": _member,
    "role_setting": _role_setting,
    "extension": _extension,
}


def _foreseen(step: Step, login: Login, scene: Scene) -> Iterator[Demand]:
    """Yield what a step will demand that can be planned only once its database is there."""
    declared = _database_of(step, scene)
    database = declared.name
    if database in login.cluster.databases and not rights.enters(login.cluster, database):
        yield Demand("connect", database, f"CONNECT is needed to look into {database!r}")
    for role in _owners(declared, login, scene):
        if login.standing(role) == "may not be":
            yield Demand("member", role, f"only a member of {role!r} may change what it owns, or will own")
    if step.address.kind == extension.KIND:
        yield from _extension(step, login, scene)
    elif login.cluster.major < _PUBLIC_IS_OURS_SINCE:
        yield from _of_public(step, declared, login)


def _database_of(step: Step, scene: Scene) -> access.Database:
    names = [each for each in scene.spec.databases if step.address.name.startswith(f"{each}/")]
    return scene.spec.databases[max(names, key=len)]


def _of_public(step: Step, declared: access.Database, login: Login) -> Iterator[Demand]:
    """Yield what it takes to change the schema that is in every new database, and belongs to a superuser before 15."""
    is_new = declared.name not in login.cluster.databases
    if is_new and (_PUBLIC in declared.schemas) and f"{declared.name}/{_PUBLIC}" in step.address.name:
        why = f"before PostgreSQL 15 the schema {_PUBLIC} of a new database belongs to a superuser"
        yield Demand("database", declared.name, why)
        statement = f"ALTER SCHEMA {identifier(_PUBLIC)} OWNER TO {identifier(login.name)}"
        yield Demand("statement", statement, why, declared.name)


def _owners(declared: access.Database, login: Login, scene: Scene) -> list[str]:
    owner = login.owner_of(declared.name, scene)
    found = [declared.owner or owner, owner]
    for each in declared.schemas.values():
        found += [each.owner or owner, *(each.defaults_for or ())]
    return [each for each in dict.fromkeys(found) if each != OWNER_OF_DATABASE]
