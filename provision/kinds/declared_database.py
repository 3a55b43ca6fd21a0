"""Declared databases: made when they are missing, changed where they differ, dropped only on demand.

A database as a whole is changed from the maintenance database. A new one whose CONNECT is declared is closed until that
is set: it is made so, and opened in the transaction that sets CONNECT. A run that is killed in between leaves it
closed, with a limit of 0 connections, by which the next run knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from provision.errors import RefusedError, command
from provision.kinds import (
    Before,
    Files,
    Inputs,
    Look,
    Scene,
    catalog,
    database,
    database_privileges,
    database_removal,
    role,
    stored_settings,
)
from provision.kinds.database_privileges import CONNECT, TEMPORARY, Privileges
from provision.kinds.database_removal import Removal
from provision.kinds.pieces import Piece, steps as steps_of
from provision.model import MAINTENANCE, UNKNOWN, Action, Address, Change, Effect, Plan, Stage, State, Step, changes
from provision.model.effects import RunInTransaction, RunSql
from provision.model.sql import identifier, literal
from provision.model.value import dataclass, field, replace
from provision.spec import access
from provision.spec.access import NO_LIMIT
from provision.spec.model import Spec

KIND = database.KIND
_HALF_MADE = "ALLOW_CONNECTIONS false CONNECTION LIMIT 0"
_OF_OPENING = ("allow connections", "connection limit")
_APART = ("connect", "temporary", "tablespace")
"""Fields whose difference is no single statement of a transaction."""
_SETTING = "settings "


@dataclass(frozen=True)
class Database(State):
    """A database that exists; what is None, or no key of ``settings``, is not compared.

    ``acl`` and ``there`` are what the catalog says: the privileges as they will be with the declared owner, who exists
    already where ``has_owner`` is true. ``has_renames``: roles get other names first, by which they are meant here.
    ``removal`` is what a database holds that goes away.
    """

    name: str
    owner: str | None = None
    tablespace: str | None = None
    connection_limit: int | None = None
    allow_connections: bool | None = None
    comment: str | None = None
    connect: frozenset[str] | None = None
    temporary: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    there: catalog.Database | None = field(default=None, compare=False)
    acl: Privileges | None = field(default=None, compare=False)
    has_owner: bool = field(default=True, compare=False)
    has_renames: bool = field(default=False, compare=False)
    removal: Removal | None = field(default=None, compare=False)

    @property
    def is_half_made(self) -> bool:
        """Whether a run was killed after it made this database, and before it let anybody in."""
        return self.there is not None and not self.there.connect and self.there.connection_limit == 0


def wanted(spec: Spec, inputs: Inputs, files: Files) -> dict[Address, State]:
    """Return the declared databases, and the one of the server where it is none of them."""
    present = [each for each in spec.databases.values() if not each.is_absent]
    found: dict[Address, State] = {Address(KIND, each.name): _declared(each) for each in present}
    return found if spec.server.database in spec.databases else {**database.wanted(spec, inputs, files), **found}


def _declared(each: access.Database) -> Database:
    return Database(
        each.name,
        each.owner,
        each.tablespace,
        each.connection_limit,
        each.allow_connections,
        each.comment,
        database_privileges.shown(each.connect),
        database_privileges.shown(each.temporary),
        stored_settings.declared(each.settings),
    )


def seen(look: Look) -> dict[Address, State]:
    """Return the databases that the server has, of those that the spec names."""
    found = database.seen(look)
    if not look.spec.databases:
        return found
    cluster = look.once(catalog.cluster)
    for each in look.spec.databases.values():
        if each.name in cluster.databases:
            found[Address(KIND, each.name)] = _seen(look, each, cluster)
    return found


def _seen(look: Look, want: access.Database, cluster: catalog.Cluster) -> Database:
    there = _renamed(cluster.databases[want.name], look.once(role.known_as))
    acl = Privileges.of(there, want.owner or there.owner, cluster)
    return Database(
        want.name,
        there.owner if want.owner is not None else None,
        there.tablespace if want.tablespace is not None else None,
        there.connection_limit if want.connection_limit is not None else None,
        there.connect if want.allow_connections is not None else None,
        there.comment or "" if want.comment is not None else None,
        acl.shown(CONNECT, want.connect),
        acl.shown(TEMPORARY, want.temporary),
        stored_settings.stored(cluster.major, want.settings, cluster.settings.get((want.name, None), {})),
        there=there,
        acl=acl,
        has_owner=want.owner in cluster.roles,
        has_renames=bool(look.once(role.renames)),
        removal=database_removal.look_at(look, want.name) if want.is_absent else None,
    )


def _renamed(there: catalog.Database, names: Mapping[str, str]) -> catalog.Database:
    """Return what the catalog says, with the names that roles will have."""
    if not names:
        return there
    acl = frozenset(
        [
            each._replace(
                grantee=names.get(each.grantee or "", each.grantee), grantor=names.get(each.grantor, each.grantor)
            )
            for each in there.acl
        ]
    )
    return replace(there, owner=names.get(there.owner, there.owner), acl=acl)


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Create a database that is missing, change one that differs, drop one that shall be absent.

    Raises:
        RefusedError: the difference is one that only a new database would not have, or the drop would cost something
            that it may not.
    """
    declared = scene.spec.databases.get(address.name)
    if declared is None:
        return database.steps(address, before, after, scene)
    if before is UNKNOWN:
        return Plan()
    if isinstance(before, Database) and after is not None:
        return Plan(tuple(_update(address, before, declared, scene.spec)))
    if isinstance(before, Database) and declared.is_absent:
        return database_removal.steps(address, before, before.removal, declared, scene)
    if isinstance(before, Database) or not isinstance(after, Database):
        return Plan()
    is_shown = _is_looked_into(declared, scene.spec)
    return Plan((Step(address, Action.CREATE, None, after, made(declared), reveals=is_shown),))


def made(declared: access.Database) -> tuple[Effect, ...]:
    """Return what makes a database as it is declared, but for what is inside."""
    name = identifier(declared.name)
    opens = declared.connect is not None and declared.allow_connections is not False
    create = RunSql(MAINTENANCE, (" ".join((f"CREATE DATABASE {name}", *_options(declared, opens=opens))),), shown=True)
    statements = [
        *([_statement(declared, "owner")] if declared.owner is not None else []),
        *database_privileges.of_new(declared),
        *(_statement(declared, _SETTING + each) for each, value in declared.settings.items() if value is not None),
        *([_statement(declared, "comment")] if declared.comment else []),
        *([_opening(declared)] if opens else []),
    ]
    owners = () if declared.owner is None else (declared.owner,)
    rest = [RunInTransaction(MAINTENANCE, tuple(statements), shared=True, acts_for=owners)] if statements else []
    return (create, *rest)


def _is_looked_into(declared: access.Database, spec: Spec) -> bool:
    trees = {each.database or spec.server.database for each in spec.migrations}
    return declared.has_inside or declared.name in trees


def making(declared: access.Database, owner: str) -> str:
    """Return the statement that makes a database that an administrator fills, before its owner gets it."""
    words = " ".join(_options(replace(declared, allow_connections=None), opens=False))
    return f"CREATE DATABASE {identifier(declared.name)} OWNER {identifier(owner)} {words}"


def _options(declared: access.Database, *, opens: bool) -> Iterator[str]:
    yield f"TEMPLATE {identifier(declared.template)}"
    if declared.encoding is not None:
        yield f"ENCODING {literal(declared.encoding)}"
    if declared.provider is not None:
        yield f"LOCALE_PROVIDER {declared.provider}"
    if declared.locale is not None:
        yield f"LOCALE {literal(declared.locale)}"
    if declared.icu_locale is not None:
        yield f"ICU_LOCALE {literal(declared.icu_locale)}"
    if declared.tablespace is not None:
        yield f"TABLESPACE {identifier(declared.tablespace)}"
    if opens:
        yield _HALF_MADE
    else:
        if declared.allow_connections is False:
            yield "ALLOW_CONNECTIONS false"
        if declared.connection_limit is not None:
            yield f"CONNECTION LIMIT {declared.connection_limit}"


def _opening(declared: access.Database) -> str:
    limit = NO_LIMIT if declared.connection_limit is None else declared.connection_limit
    return f"ALTER DATABASE {identifier(declared.name)} WITH ALLOW_CONNECTIONS true CONNECTION LIMIT {limit}"


def _update(address: Address, before: Database, declared: access.Database, spec: Spec) -> Iterator[Step]:
    _refuse_another(before, declared)
    opens = before.is_half_made and declared.allow_connections is not False
    if not opens:
        _refuse_closed(before, declared, spec)
    after = _declared(declared)
    pieces = list(_pieces(before, after, declared, opens=opens))
    if before.has_renames:
        pieces = [replace(each, stage=Stage.CHANGE) for each in pieces]
    owner = (before.there.owner,) if before.there else ()
    found = steps_of(address, (before, after), pieces, MAINTENANCE, shared=True, acts_for=owner)
    yield from (replace(each, reveals=opens and each.stage is Stage.CHANGE) for each in found)
    if before.tablespace != declared.tablespace is not None:
        statement = f"ALTER DATABASE {identifier(address.name)} SET TABLESPACE {identifier(declared.tablespace)}"
        why = (Change("tablespace", before.tablespace, declared.tablespace),)
        text = "its files are copied, and nothing may be connected to it meanwhile"
        yield Step(address, Action.UPDATE, before, after, (RunSql(MAINTENANCE, (statement,), shown=True),), why, text)


def _pieces(before: Database, after: Database, declared: access.Database, *, opens: bool) -> Iterator[Piece]:
    for each in changes(before, after):
        if each.field not in _APART and not (opens and each.field in _OF_OPENING):
            stage = Stage.REVOKE if _takes_away(each, before) else Stage.CHANGE
            lost = f"{each.before} does not own it any more" if each.field == "owner" else ""
            owner = (declared.owner,) if each.field == "owner" and declared.owner else ()
            yield Piece(stage, each, (_statement(declared, each.field),), lost, owner)
    if before.acl is not None:
        for privilege, wanted in ((CONNECT, declared.connect), (TEMPORARY, declared.temporary)):
            yield from before.acl.pieces(declared.name, privilege, wanted) if wanted is not None else ()
    if opens:
        yield Piece(Stage.CHANGE, "it was made, and lets nothing in yet", (_opening(declared),))


def _takes_away(change: Change, before: Database) -> bool:
    if change.field == "owner":
        return before.has_owner
    if change.field == "connection limit":
        old, new = [int(each or NO_LIMIT) for each in (change.before, change.after)]
        return new != NO_LIMIT and (old == NO_LIMIT or new < old)
    return change.field == "allow connections" and change.after == "off"


def _statement(declared: access.Database, field: str) -> str:
    """Return the statement for a field that differs."""
    name, of = identifier(declared.name), f"ALTER DATABASE {identifier(declared.name)}"
    if field == "owner":
        return f"{of} OWNER TO {identifier(declared.owner or '')}"
    if field == "allow connections":
        return f"{of} ALLOW_CONNECTIONS {str(declared.allow_connections).lower()}"
    if field == "connection limit":
        return f"{of} CONNECTION LIMIT {declared.connection_limit}"
    if field == "comment":
        return f"COMMENT ON DATABASE {name} IS {literal(declared.comment) if declared.comment else 'NULL'}"
    return stored_settings.statement(of, field.removeprefix(_SETTING), declared.settings)


def _refuse_closed(before: Database, declared: access.Database, spec: Spec) -> None:
    """Refuse a database that has to be looked into, and that somebody has closed."""
    if declared.allow_connections is not None or before.there is None or before.there.connect:
        return
    if not (_is_looked_into(declared, spec) or declared.name == spec.server.database):
        return
    raise RefusedError(
        f"the database {declared.name!r} does not accept connections, and the spec does not say whether it should",
        evidence=[f"{declared.place}: there is no `allow_connections`"],
        next_step=f"write `databases: {{{declared.name}: {{allow_connections: true}}}}`, or in another database: "
        f"ALTER DATABASE {identifier(declared.name)} ALLOW_CONNECTIONS true",
    )


def _refuse_another(before: Database, declared: access.Database) -> None:
    """Refuse an encoding or a locale that only a new database could have."""
    there = before.there
    if there is None:
        return
    # LOCALE is about the operating system's locale beside an ICU one, too; only `builtin` has it as its own.
    libc = [there.locale or ""] if declared.provider == "builtin" else [there.collate, there.ctype]
    pairs = {
        "encoding": ([there.encoding], declared.encoding),
        "provider": ([catalog.PROVIDERS.get(there.provider, there.provider or "")], declared.provider),
        "locale": (libc, declared.locale),
        "icu_locale": ([there.locale or ""], declared.icu_locale),
    }
    wrong = [
        f"{field}: it has {' and '.join(dict.fromkeys(found))}, and {want} is declared"
        for field, (found, want) in pairs.items()
        if want is not None and any(_folded(each) != _folded(want) for each in found)
    ]
    if not wrong:
        return
    name = declared.name
    raise RefusedError(
        f"the database {name!r} is there, and what it was made with cannot be changed",
        evidence=[f"{declared.place}:", *wrong],
        next_step=f"take these keys out of `databases.{name}`; or move its data: pg_dump -Fc -f {name}.dump {name}, "
        f"drop it, {command('apply')}, pg_restore -d {name} {name}.dump",
    )


def _folded(text: str) -> str:
    """Return an encoding or a locale in one spelling: ``en_US.UTF-8`` and ``en_US.utf8`` are the same."""
    return re.sub(r"[^0-9a-z.]", "", text.casefold()).replace("unicode", "utf8")
