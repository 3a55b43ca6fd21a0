"""What the catalogs of a cluster, and of one database, say of roles and privileges: one statement each, and its rows.

Privileges are effective: a NULL ACL is the default that PostgreSQL builds in (``acldefault``). Names of objects are as
SQL writes them, quoted where they have to be. https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from provision.kinds import Look
from provision.model import OWN_DATABASES
from provision.model.value import dataclass, field

PARAMETERS_SINCE = 15
"""The major version from which on settings can be granted."""
FIRST_SUPERUSER = 10
"""The OID of the role that initdb makes, BOOTSTRAP_SUPERUSERID in pg_authid.dat."""
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin", None: "libc"}
"""The words of a spec for the providers of locales."""


class Edge(NamedTuple):
    """One privilege that ``grantor`` has given. ``grantee`` None is PUBLIC."""

    grantee: str | None
    privilege: str
    grantable: bool
    grantor: str


Acl = frozenset[Edge]
Settings = Mapping[str, str]


@dataclass(frozen=True)
class Role:
    """A row of ``pg_roles``; ``valid_until`` is in UTC, None: for ever. ``verifier`` None: none, or it is not shown."""

    oid: int
    superuser: bool
    inherit: bool
    createrole: bool
    createdb: bool
    login: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    valid_until: str | None
    comment: str | None
    verifier: str | None = field(repr=False)


class Membership(NamedTuple):
    """That ``member`` is in ``group``. ``inherit`` and ``set`` are None before PostgreSQL 16."""

    group: str
    member: str
    grantor: str
    admin: bool
    inherit: bool | None
    set: bool | None


@dataclass(frozen=True)
class Database:
    """A row of ``pg_database``; ``is_default`` tells that its ACL was never touched."""

    owner: str
    encoding: str
    collate: str
    ctype: str
    provider: str | None
    locale: str | None
    template: bool
    connect: bool
    connection_limit: int
    tablespace: str
    comment: str | None
    is_default: bool
    acl: Acl


@dataclass(frozen=True)
class Cluster:
    """What all databases share. ``settings`` has (database, role) as its key; None stands for "all"."""

    roles: Mapping[str, Role]
    memberships: tuple[Membership, ...]
    settings: Mapping[tuple[str | None, str | None], Settings]
    databases: Mapping[str, Database]
    tablespaces: Mapping[str, Acl]
    parameters: Mapping[str, Acl]
    login: str
    """The role that asked."""
    is_superuser: bool
    major: int


class Objects(NamedTuple):
    """Objects of one schema, kind, owner and ACL. Routines have their argument types behind their names.

    ``kind`` is ``table``, ``foreign table``, ``view``, ``materialized view``, ``sequence``, ``function``,
    ``procedure``, ``type`` or ``domain``; ``is_of_extension`` tells that an extension made them.
    """

    schema: str
    kind: str
    owner: str
    is_default: bool
    is_of_extension: bool
    acl: Acl
    names: tuple[str, ...]


class Schema(NamedTuple):
    """A row of ``pg_namespace``."""

    owner: str
    is_default: bool
    acl: Acl
    comment: str | None


class Default(NamedTuple):
    """A row of ``pg_default_acl``: what future objects of ``creator`` get. ``schema`` None: in every schema.

    ``kind`` is the letter of the catalog: r, S, f, T, n.
    """

    creator: str
    schema: str | None
    kind: str
    acl: Acl


class Extension(NamedTuple):
    """A row of ``pg_extension``."""

    owner: str
    schema: str
    version: str
    is_relocatable: bool


@dataclass(frozen=True)
class Contents:
    """What is in one database. ``columns`` maps (schema, table) to the ACL of each column that has one."""

    objects: tuple[Objects, ...]
    schemas: Mapping[str, Schema]
    columns: Mapping[tuple[str, str], Mapping[str, Acl]]
    defaults: tuple[Default, ...]
    extensions: Mapping[str, Extension]
    others: Mapping[tuple[str, str], tuple[str, Acl]]
    """Owner and ACL by (kind, name) of what is in no schema: ``language``, ``fdw``, ``server``, ``large_object``."""
    unmanaged: Mapping[str, int] = field(default_factory=dict)
    """How many there are of what decides about access too, and is in no spec: ``policy``, ``publication`` …"""


def cluster(look: Look) -> Cluster:
    """Ask for what all databases share; kinds share the answer by ``look.once(catalog.cluster)``.

    Raises:
        UnseenError: the server cannot be asked.
    """
    is_superuser = look.reported("is_superuser") == "on"
    major = int(look.reported("server_version").split(".")[0])
    found: dict[str, list[tuple[Any, Any, Any]]] = {}
    for kind, *rest in look.rows(_cluster(is_superuser=is_superuser, has_parameters=major >= PARAMETERS_SINCE)):
        found.setdefault(kind, []).append(tuple(rest))
    return Cluster(
        roles={name: Role(**value) for name, _, value in found.get("role", ())},
        memberships=tuple([Membership(name, part, **value) for name, part, value in found.get("membership", ())]),
        settings={
            (name, part): dict(each.partition("=")[::2] for each in value)
            for name, part, value in found.get("setting", ())
        },
        databases={name: Database(**{**value, "acl": acl(value["acl"])}) for name, _, value in found["database"]},
        tablespaces={name: acl(value) for name, _, value in found["tablespace"]},
        parameters={name: acl(value) for name, _, value in found.get("parameter", ())},
        login=found["login"][0][0],
        is_superuser=is_superuser,
        major=major,
    )


def enters(look: Look, database: str) -> bool | None:
    """Tell whether the server has a database; None where that lets nothing in.

    Raises:
        UnseenError: the server cannot be asked.
    """
    if database == look.spec.server.database:
        return None if look.is_closed else bool(look.has_database)
    found = look.once(cluster).databases.get(database)
    return found is not None and (found.connect or None)


def contents(look: Look, database: str) -> Contents:
    """Ask for what is in one database; kinds share the answer by ``look.once(catalog.contents, database)``.

    Raises:
        UnseenError: the server cannot be asked.
        LoginError: the database lets nobody in.
    """
    found: dict[str, list[tuple[Any, Any, Any]]] = {}
    for kind, *rest in look.rows(_DATABASE, database=database):
        found.setdefault(kind, []).append(tuple(rest))
    return Contents(
        objects=tuple([_objects(*each) for each in found.get("object", ())]),
        schemas={
            name: Schema(value["owner"], value["is_default"], acl(value["acl"]), value["comment"])
            for name, _, value in found.get("schema", ())
        },
        columns={
            (schema, table): {name: acl(each) for name, each in value.items()}
            for schema, table, value in found.get("columns", ())
        },
        defaults=tuple(
            [
                Default(value["role"], schema, kind, acl(value["acl"]))
                for schema, kind, value in found.get("default", ())
            ]
        ),
        extensions={name: Extension(schema=schema, **value) for schema, name, value in found.get("extension", ())},
        others={(kind, name): (value["owner"], acl(value["acl"])) for kind, name, value in found.get("other", ())},
        unmanaged={kind: number for kind, _, number in found.get("unmanaged", ())},
    )


def acl(items: Iterable[tuple[str | None, str, bool, str]] | None) -> Acl:
    """Return an ACL as the queries give it; None has no privilege for anybody."""
    return frozenset([Edge(*each) for each in items or ()])


def _objects(schema: str, kind: str, value: Mapping[str, Any]) -> Objects:
    names = tuple(sorted(value["names"]))
    return Objects(schema, kind, value["owner"], value["is_default"], value["extension"], acl(value["acl"]), names)


_PATH = "SET LOCAL search_path TO pg_catalog; "
"""So that the types of a routine's arguments are written with their schemas."""

_SYSTEM = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"


def _acl(expression: str) -> str:
    who = "CASE x.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(x.grantee) END"
    edge = f"jsonb_build_array({who}, x.privilege_type, x.is_grantable, pg_get_userbyid(x.grantor))"
    return f"(SELECT jsonb_agg({edge}) FROM aclexplode({expression}) AS x)"  # noqa: S608  # from constants only


def _cluster(*, is_superuser: bool, has_parameters: bool) -> str:
    """Return the statement; only superusers may read ``pg_authid``, and a role's name in it is checked when parsed."""
    verifier, table = ("r.rolpassword", "pg_authid") if is_superuser else ("NULL::text", "pg_roles")
    parameters = f" UNION ALL SELECT 'parameter', p.parname, NULL, {_acl('p.paracl')} FROM pg_parameter_acl AS p"  # noqa: S608  # from constants only
    return _CLUSTER.replace("@verifier", verifier).replace("@table", table) + (parameters if has_parameters else "")


# to_jsonb of a row has the columns that only later versions have, without another statement for each version.
_CLUSTER = f"""{_PATH}
SELECT 'login' AS kind, current_user::text AS name, NULL::text AS part, NULL::jsonb AS value
UNION ALL
SELECT 'role', r.rolname::text, NULL, jsonb_build_object('oid', r.oid::bigint, 'superuser', r.rolsuper,
    'inherit', r.rolinherit, 'createrole', r.rolcreaterole, 'createdb', r.rolcreatedb, 'login', r.rolcanlogin,
    'replication', r.rolreplication, 'bypassrls', r.rolbypassrls, 'connection_limit', r.rolconnlimit,
    'valid_until', CASE WHEN isfinite(r.rolvaliduntil)
        THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ELSE nullif(r.rolvaliduntil::text, 'infinity') END,
    'comment', shobj_description(r.oid, 'pg_authid'), 'verifier', @verifier)
FROM @table AS r
UNION ALL
SELECT 'membership', g.rolname::text, m.rolname::text, jsonb_build_object('grantor', pg_get_userbyid(a.grantor),
    'admin', a.admin_option, 'inherit', to_jsonb(a) -> 'inherit_option', 'set', to_jsonb(a) -> 'set_option')
FROM pg_auth_members AS a JOIN pg_roles AS g ON g.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
WHERE m.rolname !~ '^pg_'
UNION ALL
SELECT 'setting', d.datname::text, r.rolname::text, to_jsonb(s.setconfig)
FROM pg_db_role_setting AS s LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole
WHERE s.setdatabase = 0 OR d.datname !~ '^{OWN_DATABASES}'
UNION ALL
SELECT 'database', d.datname::text, NULL, jsonb_build_object('owner', pg_get_userbyid(d.datdba),
    'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, 'ctype', d.datctype,
    'provider', to_jsonb(d) -> 'datlocprovider',
    'locale', coalesce(to_jsonb(d) -> 'datlocale', to_jsonb(d) -> 'daticulocale'), 'template', d.datistemplate,
    'connect', d.datallowconn, 'connection_limit', d.datconnlimit, 'tablespace', t.spcname,
    'comment', shobj_description(d.oid, 'pg_database'), 'is_default', d.datacl IS NULL,
    'acl', {_acl("coalesce(d.datacl, acldefault('d', d.datdba))")})
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace
WHERE d.datname !~ '^{OWN_DATABASES}'
UNION ALL
SELECT 'tablespace', t.spcname::text, NULL, {_acl("coalesce(t.spcacl, acldefault('t', t.spcowner))")}
FROM pg_tablespace AS t"""  # noqa: S608  # from constants only

# One row for all objects of a schema, kind, owner and ACL: aclitem has no order, so the rows are grouped by hashing.
_DATABASE = f"""{_PATH}
WITH n AS MATERIALIZED (SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_namespace AS n WHERE {_SYSTEM}),
a AS MATERIALIZED (  -- few have one: to begin with the columns of each table takes three times as long
    SELECT a.attrelid, a.attname, a.attacl FROM pg_attribute AS a WHERE a.attacl IS NOT NULL AND NOT a.attisdropped),
e AS MATERIALIZED (
    SELECT d.classid, d.objid FROM pg_depend AS d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
o AS (
    SELECT n.nspname, CASE c.relkind WHEN 'f' THEN 'foreign table' WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, c.relowner AS owner,
        coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)) AS acl,
        c.relacl IS NULL AS is_default, quote_ident(c.relname) AS name,
        EXISTS (SELECT FROM e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid) AS extension
    FROM pg_class AS c JOIN n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
    UNION ALL
    SELECT n.nspname, CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner)), p.proacl IS NULL,
        quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')',
        EXISTS (SELECT FROM e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)
    FROM pg_proc AS p JOIN n ON n.oid = p.pronamespace
    UNION ALL
    SELECT n.nspname, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, t.typowner,
        coalesce(t.typacl, acldefault('T', t.typowner)), t.typacl IS NULL, quote_ident(t.typname),
        EXISTS (SELECT FROM e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)
    FROM pg_type AS t JOIN n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r')
        OR t.typtype = 'c' AND (SELECT c.relkind FROM pg_class AS c WHERE c.oid = t.typrelid) = 'c'
        OR t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type AS a WHERE a.typarray = t.oid)),
g AS (
    SELECT o.nspname, o.kind, o.owner, o.acl, o.is_default, o.extension, array_agg(o.name) AS names
    FROM o GROUP BY 1, 2, 3, 4, 5, 6)
SELECT 'object' AS what, g.nspname::text AS schema, g.kind AS kind,
    jsonb_build_object('owner', pg_get_userbyid(g.owner), 'is_default', g.is_default, 'extension', g.extension,
        'acl', {_acl("g.acl")}, 'names', g.names) AS value
FROM g
UNION ALL
SELECT 'schema', n.nspname::text, NULL, jsonb_build_object('owner', pg_get_userbyid(n.nspowner),
    'is_default', n.nspacl IS NULL, 'acl', {_acl("coalesce(n.nspacl, acldefault('n', n.nspowner))")},
    'comment', obj_description(n.oid, 'pg_namespace'))
FROM n
UNION ALL
SELECT 'columns', n.nspname::text, quote_ident(c.relname), jsonb_object_agg(quote_ident(a.attname), {_acl("a.attacl")})
FROM a JOIN pg_class AS c ON c.oid = a.attrelid JOIN n ON n.oid = c.relnamespace GROUP BY 2, 3
UNION ALL
SELECT 'default', n.nspname::text, d.defaclobjtype::text,
    jsonb_build_object('role', pg_get_userbyid(d.defaclrole), 'acl', {_acl("d.defaclacl")})
FROM pg_default_acl AS d LEFT JOIN pg_namespace AS n ON n.oid = d.defaclnamespace
UNION ALL
SELECT 'extension', n.nspname::text, e.extname::text, jsonb_build_object('owner', pg_get_userbyid(e.extowner),
    'version', e.extversion, 'is_relocatable', e.extrelocatable)
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
UNION ALL
SELECT 'other', x.kind, x.name, jsonb_build_object('owner', pg_get_userbyid(x.owner), 'acl', {_acl("x.acl")})
FROM (
    SELECT 'language' AS kind, quote_ident(lanname) AS name, lanowner AS owner,
        coalesce(lanacl, acldefault('l', lanowner)) AS acl FROM pg_language WHERE lanispl
    UNION ALL
    SELECT 'fdw', quote_ident(fdwname), fdwowner, coalesce(fdwacl, acldefault('F', fdwowner))
    FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT 'server', quote_ident(srvname), srvowner, coalesce(srvacl, acldefault('S', srvowner)) FROM pg_foreign_server
    UNION ALL
    SELECT 'large_object', oid::text, lomowner, coalesce(lomacl, acldefault('L', lomowner))
    FROM pg_largeobject_metadata) AS x
UNION ALL
SELECT 'unmanaged', x.kind, NULL, to_jsonb(x.number)
FROM (
    SELECT 'policy' AS kind, count(*) AS number FROM pg_policy
    UNION ALL
    SELECT 'publication', count(*) FROM pg_publication
    UNION ALL
    SELECT 'subscription', count(*) FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'event trigger', count(*) FROM pg_event_trigger
    UNION ALL
    SELECT 'user mapping', count(*) FROM pg_user_mappings) AS x
WHERE x.number > 0
"""  # noqa: S608  # from constants only
