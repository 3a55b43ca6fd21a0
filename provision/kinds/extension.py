"""Extensions of the declared databases: made, updated, moved to another schema, and dropped where nothing needs them.

https://www.postgresql.org/docs/current/extend-extensions.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from provision.errors import RefusedError, command
from provision.kinds import Before, Files, Inputs, Look, Scene, catalog, rights
from provision.kinds.pieces import Piece, steps as steps_of
from provision.model import UNKNOWN, Action, Address, Plan, Stage, State, Step, Unknown, changes
from provision.model.effects import OWNER_OF_DATABASE, RunInTransaction
from provision.model.sql import identifier, literal
from provision.model.value import dataclass, field
from provision.model.words import some
from provision.spec import access
from provision.spec.model import Spec
from provision.spec.setting_values import list_items

KIND = "extension"
LATEST = "latest"
_SHOWN = 10
_PRELOADED = frozenset(
    {
        *("citus", "pg_cron", "pg_net", "pg_qualstats", "pg_squeeze", "pg_stat_kcache", "pg_stat_monitor"),
        *("pg_stat_statements", "pg_wait_sampling", "pgaudit", "pglogical", "timescaledb"),
    }
)
"""Extensions that do nothing, or cannot be made, before the server has loaded their library at its start."""
_LIBRARIES = "shared_preload_libraries"
_USUAL_PATH = '"$user", public'

_AVAILABLE = """
SELECT v.name, v.version, v.requires::text[], a.default_version, v.trusted OR NOT v.superuser
FROM pg_available_extension_versions AS v JOIN pg_available_extensions AS a USING (name) WHERE v.name = ANY(%s)
"""
# Who may not know the setting gets NULL.
_LOADED = "SELECT CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting(%s) END"
# What depends on an extension, or on what goes with it, and does not itself go with one that is declared absent.
_DEPENDENTS = """
WITH RECURSIVE gone (root, classid, objid) AS (
    SELECT extname, 'pg_extension'::regclass::oid, oid FROM pg_extension WHERE extname = ANY(%(gone)s)
    UNION
    SELECT gone.root, d.classid, d.objid
    FROM pg_depend AS d JOIN gone ON (d.refclassid, d.refobjid) = (gone.classid, gone.objid)
    WHERE d.deptype IN ('e', 'i', 'a', 'P', 'S'))
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid)
FROM pg_depend AS d JOIN gone ON (d.refclassid, d.refobjid) = (gone.classid, gone.objid) AND gone.root = %(name)s
WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM gone)
    AND NOT EXISTS (SELECT FROM pg_depend AS o
        WHERE (o.classid, o.objid) = (d.classid, d.objid) AND o.deptype IN ('e', 'i', 'P', 'S'))
ORDER BY 1
"""
_TABLES = """
SELECT t.oid::regclass::text FROM pg_extension AS e, unnest(e.extconfig) AS t (oid) JOIN pg_class AS c USING (oid)
WHERE e.extname = %(name)s AND c.relkind IN ('r', 'p')
"""


class Available(NamedTuple):
    """What the server could install: its default version, and what each version requires.

    ``is_trusted``: whoever may create in a database may install it there.
    """

    default: str
    versions: dict[str, tuple[str, ...]]
    is_trusted: bool


@dataclass(frozen=True)
class Extension(State):
    """An extension; ``schema`` and ``version`` are None where they are not managed.

    ``trouble`` says why one cannot be made or updated, ``others`` the same of all that are declared. ``path`` is the
    search_path that the database has stored. ``dependents`` and ``tables`` are those of one that is declared absent.
    """

    database: str
    name: str
    schema: str | None = None
    version: str | None = None
    trouble: str = ""
    owner: str = field(default="", compare=False)
    others: tuple[str, ...] = field(default=(), compare=False)
    is_relocatable: bool = field(default=True, compare=False)
    is_loaded: bool | None = field(default=None, compare=False)
    path: str | None = field(default=None, compare=False)
    dependents: tuple[str, ...] = field(default=(), compare=False)
    tables: tuple[str, ...] = field(default=(), compare=False)


def wanted(spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the extensions that are declared present."""
    return {
        _address(database, each): Extension(database.name, each.name, each.schema, each.version)
        for database, each in _declared(spec)
        if not each.is_absent
    }


def _declared(spec: Spec) -> Iterator[tuple[access.Database, access.Extension]]:
    for database in spec.databases.values():
        if not database.is_absent:
            yield from ((database, each) for each in database.extensions)


def _address(database: access.Database, each: access.Extension) -> Address:
    return Address(KIND, f"{database.name}/{each.name}")


def seen(look: Look) -> dict[Address, State | Unknown]:
    """Return the declared extensions that exist, and those that the server cannot make."""
    found: dict[Address, State | Unknown] = {}
    for database, each in _declared(look.spec):
        contents = rights.contents(look, database.name)
        if not each.is_absent and (trouble := _trouble(look, database, each)):
            others = tuple(filter(None, (_said(look, *pair) for pair in _declared(look.spec))))
            found[_address(database, each)] = Extension(database.name, each.name, trouble=trouble, others=others)
        elif contents is not None and each.name in contents.extensions:
            found[_address(database, each)] = _seen(look, database, each, contents.extensions[each.name])
        elif contents is None:
            found[_address(database, each)] = UNKNOWN
    return found


def _said(look: Look, database: access.Database, each: access.Extension) -> str:
    trouble = "" if each.is_absent else _trouble(look, database, each)
    return f"{each.place}: {database.name}/{each.name}: {trouble}" if trouble else ""


def _seen(look: Look, database: access.Database, want: access.Extension, there: catalog.Extension) -> Extension:
    def names(query: str) -> tuple[str, ...]:
        gone = [each.name for each in database.extensions if each.is_absent]
        rows = look.rows(query, {"name": want.name, "gone": gone}, database=database.name)
        return tuple([name for (name,) in rows])

    cluster, version = look.once(catalog.cluster), there.version
    if want.version == LATEST and want.name in (found := look.once(available)):
        version = LATEST if found[want.name].default == version else version
    return Extension(
        database.name,
        want.name,
        there.schema if want.schema is not None else None,
        version if want.version is not None else None,
        owner=there.owner,
        is_relocatable=there.is_relocatable,
        is_loaded=_is_loaded(look, want.name),
        path=cluster.settings.get((database.name, None), {}).get("search_path"),
        dependents=names(_DEPENDENTS) if want.is_absent else (),
        tables=names(_TABLES) if want.is_absent else (),
    )


def available(look: Look) -> dict[str, Available]:
    """Return what the server could install of the extensions that are declared, but for those that are as declared."""
    asked: set[str] = set()
    for database, each in _declared(look.spec):
        contents = rights.contents(look, database.name)
        there = contents.extensions.get(each.name) if contents is not None else None
        if not each.is_absent and (there is None or each.version not in (None, there.version)):
            asked.add(each.name)
    rows = look.rows(_AVAILABLE, (sorted(asked),)) if asked else []
    found: dict[str, Available] = {}
    for name, version, requires, default, is_trusted in rows:
        found.setdefault(name, Available(default, {}, is_trusted)).versions[version] = tuple(requires or ())
    return found


def trusted(look: Look) -> frozenset[str]:
    """Return the extensions that a login may make, or update, that is no superuser."""
    return frozenset([name for name, each in look.once(available).items() if each.is_trusted])


def _trouble(look: Look, database: access.Database, each: access.Extension) -> str:
    """Return why an extension cannot be made or updated; empty where nothing speaks against it."""
    contents = rights.contents(look, database.name)
    there = contents.extensions if contents is not None else {}
    if each.name in there and each.version in (None, LATEST, there[each.name].version):
        return ""
    found = look.once(available).get(each.name)
    if found is None:
        return "the server does not have it"
    version = found.default if each.version in (None, LATEST) else each.version
    if version not in found.versions:
        return f"the server has version {', '.join(sorted(found.versions))}, and {version} is declared"
    declared = {other.name for other in database.extensions if not other.is_absent}
    missing = [name for name in found.versions[version] if name not in there and name not in declared]
    if missing and not each.cascade and each.name not in there:
        return f"it requires {', '.join(missing)}: declare that before it, or write `cascade: true`"
    return ""


def _is_loaded(look: Look, name: str) -> bool | None:
    """Tell whether the library of an extension is loaded; None: it needs none, or our role may not know."""
    libraries = look.once(_libraries) if name in _PRELOADED else None
    return None if libraries is None else name in (list_items(libraries) or [])


def _libraries(look: Look) -> str | None:
    ((found,),) = look.rows(_LOADED, (_LIBRARIES,))
    return found if found is None else str(found)


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Make an extension, update it, move it, or drop it; say what keeps it from working.

    Raises:
        RefusedError: the server cannot make it, cannot move it, or something depends on one that is declared absent.
    """
    state = after if before in (None, UNKNOWN) else before
    if not isinstance(state, Extension):
        return Plan()
    if state.trouble:
        raise _unavailable(state)
    database = scene.spec.databases[state.database]
    want = next(each for each in database.extensions if each.name == state.name)
    if after is None:
        return Plan(_drop(address, state, want, scene) if before is not UNKNOWN else ())
    remarks = tuple(_remarks(address, before, want, database, scene.spec))
    if before is UNKNOWN:
        why = ("once its database is there",)
        return Plan((Step(address, Action.CREATE, UNKNOWN, after, (), why),), remarks=remarks)
    if before is None:
        effect = RunInTransaction(database.name, (creating(want),), acts_for=(OWNER_OF_DATABASE,))
        return Plan((Step(address, Action.CREATE, None, after, (effect,)),), remarks=remarks)
    found = steps_of(address, (state, after), _pieces(state, after, want), database.name, acts_for=(state.owner,))
    return Plan(tuple(found), remarks=remarks)


def creating(want: access.Extension) -> str:
    """Return the statement that makes an extension."""
    words = [f"CREATE EXTENSION {identifier(want.name)}"]
    if want.schema is not None:
        words.append(f"SCHEMA {identifier(want.schema)}")
    if want.version not in (None, LATEST):
        words.append(f"VERSION {literal(want.version or '')}")
    return " ".join([*words, *(["CASCADE"] if want.cascade else [])])


def _pieces(before: Extension, after: State, want: access.Extension) -> Iterator[Piece]:
    name = identifier(want.name)
    for each in changes(before, after):
        if each.field == "version":
            to = "" if want.version in (None, LATEST) else f" TO {literal(want.version or '')}"
            yield Piece(Stage.CHANGE, each, (f"ALTER EXTENSION {name} UPDATE{to}",))
        elif each.field == "schema":
            if not before.is_relocatable:
                raise RefusedError(
                    f"the extension {want.name!r} of {before.database!r} cannot be moved to another schema",
                    evidence=[f"{want.place}: schema: {want.schema}", f"it is in {before.schema}, and not relocatable"],
                    next_step=f"write `schema: {before.schema}`, or drop it yourself and make it again",
                )
            yield Piece(Stage.CHANGE, each, (f"ALTER EXTENSION {name} SET SCHEMA {identifier(want.schema or '')}",))


def _unavailable(state: Extension) -> RefusedError:
    found = state.others
    what = "a declared extension" if len(found) == 1 else f"{len(found)} declared extensions"
    return RefusedError(
        f"the server cannot make {what}",
        evidence=found,
        next_step="install what is missing on the server's machine, or use an image that has it; or correct the spec",
    )


def _remarks(
    address: Address, before: Before, want: access.Extension, database: access.Database, spec: Spec
) -> Iterator[str]:
    """Yield what keeps an extension from working although it is there."""
    there = before if isinstance(before, Extension) else None
    if want.name in _PRELOADED:
        declared = list_items(str(spec.server.settings.get(_LIBRARIES, ""))) or []
        is_loaded = there.is_loaded if there is not None else want.name in declared
        if is_loaded is False:
            where = f"add {want.name!r} to `server.settings.{_LIBRARIES}`"
            yield f"{address}: it works only once the server has loaded its library at its start: {where}"
    path = _path(database, there, spec)
    if (
        want.schema is None
        or want.schema in ("pg_catalog", *path)
        or _is_on_paths_of_roles(want.schema, database, spec)
    ):
        return
    yield (
        f"{address}: schema {want.schema!r} is not on the database's search_path, so its operators are not found;"
        f" add it to `databases.{database.name}.settings.search_path`"
    )


def _path(database: access.Database, there: Extension | None, spec: Spec) -> Iterable[str]:
    declared = database.settings.get("search_path")
    if declared is not None:
        return declared
    stored = there.path if there is not None and "search_path" not in database.settings else None
    return list_items(stored or str(spec.server.settings.get("search_path", _USUAL_PATH))) or ()


def _is_on_paths_of_roles(schema: str, database: access.Database, spec: Spec) -> bool:
    """Tell whether roles have search paths of their own with a schema."""
    return any(
        schema in (values.get("search_path") or ())
        for role in spec.roles.values()
        for values in (role.settings, role.settings_in.get(database.name, {}))
    )


def _drop(address: Address, before: Extension, want: access.Extension, scene: Scene) -> tuple[Step, ...]:
    place, name = f"{want.place}: state: absent", f"the extension {before.name!r} of {before.database!r}"
    if found := before.dependents:
        raise RefusedError(
            f"{name} is declared absent, and other objects depend on it",
            evidence=[place, *some(found, _SHOWN)],
            next_step="change or drop these by a migration, or take it out of the spec",
        )
    if before.tables and not scene.wishes.data:
        raise RefusedError(
            f"{name} is declared absent, and its tables would be lost",
            evidence=[place, *before.tables],
            next_step="to drop it: " + command("apply --data"),
        )
    drop = (f"DROP EXTENSION {identifier(before.name)}",)
    effects = (RunInTransaction(before.database, drop, acts_for=(before.owner,)),)
    why, destroys = ("state: absent", *before.tables), bool(before.tables)
    return (Step(address, Action.REMOVE, before, None, effects, why, destroys=destroys, stage=Stage.DROP),)
