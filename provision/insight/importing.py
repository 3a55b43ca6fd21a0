"""What a server has, as the roles and databases that a spec would declare.

Planned against its server, there is nothing to do. Applied to an empty one, it makes the same, but passwords. What a
spec cannot say is left out, and named. Each entry is tried by reading it as a spec is read.
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.errors import SpecError, UnavailableError
from provision.insight import privileges
from provision.kinds import Look, catalog, rights
from provision.kinds.catalog import Cluster, Contents
from provision.kinds.role import FLAGS
from provision.model import MAINTENANCE
from provision.model.value import dataclass, field, replace
from provision.spec import load, writing
from provision.spec.access import NEVER, NO_LIMIT, Database, Extension, Grant, Grantee, Member, Role, Schema, Values
from provision.spec.role_settings import OURS, ROLE
from provision.spec.setting_values import is_list, list_items

_INVALID = -2
"""The limit of connections of a database that is half dropped: DATCONNLIMIT_INVALID_DB."""
_COMMENTS = {"postgres": "default administrative connection database", "public": "standard public schema"}
"""What initdb writes."""


@dataclass
class Imported:
    """What was found; ``left`` says what is not in it, a sentence each."""

    roles: dict[str, Role] = field(default_factory=dict)
    databases: dict[str, Database] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def imported(look: Look) -> Imported:
    """Return the roles and databases of the server.

    Raises:
        UnseenError: the server cannot be asked.
    """
    return _Import(look).all()


class _Import:
    def __init__(self, look: Look) -> None:
        self._look = look
        self._cluster: Cluster = look.once(catalog.cluster)
        self._user = look.spec.server.user
        self._found = Imported()
        self._names = [name for name, each in self._cluster.databases.items() if not each.template]
        self._top = f"name: any\nserver: {{image: 'postgres:{self._cluster.major}', database: any}}"

    def all(self) -> Imported:
        """Return everything: roles before databases, groups before logins."""
        for name, role in sorted(self._cluster.roles.items(), key=lambda each: (each[1].login, each[0])):
            if not name.startswith("pg_") and name != self._user and role.oid != catalog.FIRST_SUPERUSER:
                self._add_role(name)
        for name, database in sorted(self._cluster.databases.items()):
            self._add_database(name, database)
        if settings := self._cluster.settings.get((None, None)):
            self._found.left.append(f"what ALTER ROLE ALL has set: {', '.join(sorted(settings))}")
        self._add_others()
        if problem := self._read(self._found.roles, self._found.databases):
            self._found.left.append(f"something; correct by hand: {problem}")
        return self._found

    # --- Roles -------------------------------------------------------------------------------------------------------

    def _add_role(self, name: str) -> None:
        if not rights.administers(self._cluster, self._cluster.login, name):
            self._try(Role(name, is_external=True), f"the role {name!r}")
            return
        there = self._cluster.roles[name]
        role = Role(
            name,
            **{each: getattr(there, each) for each in FLAGS},
            connection_limit=there.connection_limit,
            valid_until=_instant(there.valid_until),
            comment=self._comment(there.comment, f"the role {name!r}"),
            settings=self._settings(None, name),
            settings_in={
                database: values
                for database, each in self._cluster.settings
                if database in self._names and each == name and (values := self._settings(database, name))
            },
            member_of=tuple(self._groups(name)),
        )
        if not self._try(role, f"the attributes of the role {name!r}"):
            self._try(replace(Role(name), is_external=True), f"the role {name!r}")

    def _groups(self, name: str) -> Iterator[Member]:
        rows: dict[str, list[catalog.Membership]] = {}
        for each in self._cluster.memberships:
            if each.member == name:
                rows.setdefault(each.group, []).append(each)
        for group, granted in sorted(rows.items()):
            options = {
                option: any(getattr(each, option) for each in granted)
                for option in ("inherit", "set")
                if granted[0].inherit is not None
            }
            is_of_server = self._cluster.roles[name].createrole and not any(options.values()) and options
            grantors = {
                self._cluster.roles[each.grantor].oid for each in granted if each.grantor in self._cluster.roles
            }
            if not (is_of_server and grantors == {catalog.FIRST_SUPERUSER}):
                yield Member(group, any(each.admin for each in granted), **options)

    def _settings(self, database: str | None, role: str | None) -> Values:
        """Return what is stored for a role or a database, but for marks of our own and what a spec cannot say."""
        found: dict[str, tuple[str, ...]] = {}
        whose = " in ".join([f"{kind} {name!r}" for kind, name in (("role", role), ("database", database)) if name])
        for name, value in sorted(self._cluster.settings.get((database, role), {}).items()):
            if name.startswith(OURS):
                continue
            items = list_items(value) if is_list(name) else None
            values = {name: (value,) if items is None else tuple(items) or ("",)}
            may = name != ROLE or value == "none" or value in rights.settable(self._cluster, role or "")
            alone = Role("x", settings={} if name == ROLE else values)
            what = f"the setting {name} of the {whose}"
            if not may:
                self._found.left.append(f"{what}: it may not be set to {value!r}")
            elif self._try(alone, what, keep=False):
                found |= values
        return found

    def _comment(self, text: str | None, whose: str) -> str | None:
        if text is None or self._try(Role("x", comment=text), f"the comment on {whose}", keep=False):
            return text
        return None

    # --- Databases ---------------------------------------------------------------------------------------------------

    def _add_database(self, name: str, there: catalog.Database) -> None:
        if there.template:
            if name not in ("template0", "template1"):
                self._found.left.append(f"the database {name!r} is a template, which a spec does not declare")
            return
        if there.connection_limit == _INVALID:
            self._found.left.append(f"the database {name!r} is invalid: DROP DATABASE was interrupted")
            return
        contents = self._contents(name)
        database = Database(
            name,
            owner=None if there.owner == self._user else there.owner,
            **self._locale(name, there),
            tablespace=None if there.tablespace == "pg_default" else there.tablespace,
            connection_limit=None if there.connection_limit == NO_LIMIT else there.connection_limit,
            allow_connections=None if there.connect else False,
            comment=None
            if there.comment == _COMMENTS.get(name)
            else self._comment(there.comment, f"database {name!r}"),
            settings=self._settings(name, None),
            connect=privileges.able("CONNECT", there),
            temporary=privileges.able("TEMPORARY", there),
        )
        if contents is not None:
            database = self._with_contents(database, contents)
        is_new = database == Database(name) and name == MAINTENANCE
        if not is_new or name == self._look.spec.server.database:
            self._found.databases[name] = database

    def _contents(self, name: str) -> Contents | None:
        try:
            found = rights.contents(self._look, name)
        except UnavailableError as error:
            self._found.left.append(f"what is in the database {name!r}: {error.sentence}")
            return None
        if found is None and self._cluster.databases[name].connect:
            self._found.left.append(f"what is in the database {name!r}: {self._user!r} may not connect to it")
        return found

    def _locale(self, name: str, there: catalog.Database) -> dict[str, Any]:
        """Return the encoding and the locale where they are not those of a new database."""
        usual = self._cluster.databases.get("template0", there)
        found: dict[str, Any] = {} if there.encoding == usual.encoding else {"encoding": there.encoding}
        names = ("provider", "locale", "collate", "ctype")
        if all(getattr(there, each) == getattr(usual, each) for each in names):
            return found
        provider = catalog.PROVIDERS.get(there.provider)
        if provider != catalog.PROVIDERS.get(usual.provider):
            found["provider"] = provider
        if provider == "icu":
            found |= {"provider": provider, "icu_locale": there.locale}
        if provider == "builtin":
            found["locale"] = there.locale
        elif there.collate == there.ctype:
            found["locale"] = there.collate
        else:
            self._found.left.append(f"the locale of {name!r}: LC_COLLATE is {there.collate}, LC_CTYPE {there.ctype}")
        return found

    def _with_contents(self, database: Database, contents: Contents) -> Database:
        """Return a database with its schemas, its extensions, and who may do what in it."""
        owner = self._cluster.databases[database.name].owner
        schemas = {}
        for name, there in sorted(contents.schemas.items()):
            usual = privileges.owner_of_public(self._cluster) if name == "public" else owner
            comment = None if there.comment == _COMMENTS.get(name) else self._comment(there.comment, f"schema {name!r}")
            schema = Schema(name, owner=None if there.owner == usual else there.owner, comment=comment)
            if self._try(Database("x", schemas={name: schema}), f"the schema {name!r}", keep=False):
                schemas[name] = schema
        if "public" not in contents.schemas:
            schemas["public"] = Schema("public", is_absent=True)
        extensions = tuple(
            [
                Extension(name, schema=each.schema)
                for name, each in sorted(contents.extensions.items())
                if (name, each.schema) != ("plpgsql", "pg_catalog")
            ]
        )
        database = replace(database, schemas=schemas, extensions=extensions)
        database, left = privileges.with_access(self._look.spec, database, self._cluster, contents)
        self._found.left += left
        worth = {name: each for name, each in database.schemas.items() if name != "public" or each != Schema(name)}
        return replace(database, schemas=worth, grants=tuple(self._sayable(database)))

    def _sayable(self, database: Database) -> Iterable[Grant]:
        """Return the grants that a spec can say: all of them, mostly."""
        if self._says(database, database.grants):
            return database.grants
        found = []
        for each in database.grants:
            if self._says(database, (each,)):
                found.append(each)
            else:
                self._found.left.append(f"a grant to {each.to or 'PUBLIC'} on the {each.on.kind} {each.on.name}")
        return found

    def _says(self, database: Database, grants: tuple[Grant, ...]) -> bool:
        return self._problem(replace(database, grants=grants)) is None

    def _problem(self, made: Database) -> str | None:
        return self._read({each: Role(each, is_external=True) for each in _in_database(made)}, {made.name: made})

    # --- What remains ------------------------------------------------------------------------------------------------

    def _add_others(self) -> None:
        """Declare the roles that are named and not ours to manage: they are made elsewhere."""
        for name in sorted(set(_mentioned(self._found)) - self._found.roles.keys() - {self._user}):
            if not name.startswith("pg_"):
                self._found.roles[name] = Role(name, is_external=True)

    def _try(self, made: Role | Database, what: str, *, keep: bool = True) -> bool:
        """Tell whether a spec can say something; where not, it is named as left out."""
        if isinstance(made, Database):
            problem = self._problem(made)
        else:
            problem = self._read({made.name: replace(made, settings_in={}, member_of=())}, {})
        if problem is not None:
            self._found.left.append(f"{what}: {problem}")
        elif keep and isinstance(made, Role):
            self._found.roles[made.name] = made
        return problem is None

    def _read(self, roles: Mapping[str, Role], databases: Mapping[str, Database]) -> str | None:
        """Return why what is written is not read as the same; None where it is."""
        roles = {name: each for name, each in roles.items() if name != self._user}
        text = "\n".join([self._top, *writing.lines(roles, databases), ""])
        try:
            spec = load.read(Path("/nonexistent/x.yml"), text.encode(), {})
        except SpecError as error:
            return error.problems[0].message
        return None if (spec.roles, spec.databases) == (roles, databases) else "a spec cannot say it"


def _instant(text: str | None) -> str:
    """Return a moment as a spec has it.

    >>> _instant("2027-01-01T00:00:00.000000Z")
    '2027-01-01T00:00:00Z'
    """
    if text is None:
        return NEVER
    try:
        return datetime.fromisoformat(text.removesuffix("Z")).isoformat() + "Z"
    except ValueError:
        return text


def _mentioned(found: Imported) -> Iterator[str]:
    """Yield the roles that roles and databases name."""
    for role in found.roles.values():
        yield from (each.group for each in role.member_of)
        for values in (role.settings, *role.settings_in.values()):
            yield from [each for each in values.get(ROLE) or () if each != "none"]
    for database in found.databases.values():
        yield from _in_database(database)


def _in_database(database: Database) -> Iterator[str]:
    named: list[Grantee] = [database.owner, *(database.connect or ()), *(database.temporary or ())]
    for schema in database.schemas.values():
        named += [schema.owner, *schema.access, *(schema.defaults_for or ())]
    named += [each.to for each in database.grants]
    yield from [each for each in dict.fromkeys(named) if each is not None and not each.startswith("pg_")]
