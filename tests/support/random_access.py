"""Random policies and random drift on a real server, and who may do what then: computed from the declaration alone.

The oracle shares nothing with :mod:`provision.kinds`: it asks ``has_*_privilege`` about every role and object, and has
tables of its own for what the words mean. What is not declared has to be as it was.
"""

# ruff: noqa: S608  # statements from constants, on a server of the test

from __future__ import annotations

from collections import defaultdict
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2

from provision.spec.access import Database, Grant, Schema, Target
from provision.spec.object_names import quote

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

    from provision.model import Endpoint
    from provision.spec.access import Grantee

    Rights = dict[str, bool]
    """Privileges, and whether each has the grant option."""
    Cell = tuple[str, str, str, str]
    """Role, kind, object (with its column), and privilege, perhaps with the grant option."""

ROLES = ("ap a", "apB", 'ap"c', "ap_d", "ap_e", "ap_owner")
SCHEMAS = ("ap_s", 'ap "T" u')
EXTENSIONS = "ap_ext"
COLUMNS = ("id", "B c", "n")
WORDS = ("none", "usage", "read", "write", "maintain")
DRIFTS, MOST_SINGLE = 65, 8

PRIVILEGES = {
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "column": ("SELECT", "INSERT", "UPDATE", "REFERENCES"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "routine": ("EXECUTE",),
    "type": ("USAGE",),
    "schema": ("USAGE", "CREATE"),
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "language": ("USAGE",),
    "fdw": ("USAGE",),
    "server": ("USAGE",),
    "large_object": ("SELECT", "UPDATE"),
    "parameter": ("SET", "ALTER SYSTEM"),
}
SQL_NAMES = {"fdw": "FOREIGN DATA WRAPPER", "server": "FOREIGN SERVER", "large_object": "LARGE OBJECT"}
ASKED = {
    "table": "has_table_privilege",
    "sequence": "has_sequence_privilege",
    "routine": "has_function_privilege",
    "type": "has_type_privilege",
    "schema": "has_schema_privilege",
    "database": "has_database_privilege",
    "language": "has_language_privilege",
    "fdw": "has_foreign_data_wrapper_privilege",
    "server": "has_server_privilege",
}
_READS = {"table": ("SELECT",), "sequence": ("SELECT",), "schema": ("USAGE",)}
_WRITES = {"table": ("SELECT", "INSERT", "UPDATE", "DELETE"), "sequence": ("SELECT", "USAGE"), "schema": ("USAGE",)}
_MEANING: dict[str, dict[str, tuple[str, ...]]] = {
    "none": {},
    "usage": {"schema": ("USAGE",)},
    "read": _READS,
    "write": _WRITES,
    "maintain": {**_WRITES, "table": (*_WRITES["table"], "TRUNCATE", "MAINTAIN")},
}
OPTION = " WITH GRANT OPTION"
_NEW = "ap_new_"
"""How the names of objects begin that are created afterwards: what their owner has is a default of its own."""


def q(name: str | None) -> str:
    """Return a role or schema as SQL has it; None is PUBLIC."""
    return "PUBLIC" if name is None else '"{}"'.format(name.replace('"', '""'))


class Object(NamedTuple):
    """One object; ``name`` is as SQL writes it, without its schema."""

    kind: str
    schema: str | None
    name: str
    owner: str
    oid: int

    @property
    def target(self) -> str:
        """Its name in a spec."""
        return self.name if self.schema is None else f"{quote(self.schema, 18)}.{self.name}"

    @property
    def sql(self) -> str:
        """As a GRANT names it."""
        return f"{SQL_NAMES.get(self.kind, self.kind.upper())} {self.target}"


@dataclass
class Policy:
    """What is declared; PUBLIC has words of its own."""

    major: int
    name: str
    words: dict[tuple[str, Grantee], str] = field(default_factory=dict)
    wide: list[tuple[str, str, Grantee, tuple[str, ...], bool]] = field(default_factory=list)
    single: list[tuple[Object, Grantee, tuple[str, ...], bool, tuple[str, ...]]] = field(default_factory=list)
    defaults_for: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    def database(self) -> Database:
        """Return it as the spec would be read."""
        schemas = {
            name: Schema(
                name,
                access={each: word for (at, each), word in self.words.items() if at == name and each is not None},  # type: ignore[misc]
                public=self.words.get((name, None)),  # type: ignore[arg-type]
                defaults_for=self.defaults_for.get(name),
            )
            for name in (*SCHEMAS, EXTENSIONS)
        }
        wide = [Grant(to, Target(kind, "", at), privileges, option, "spec.yml:1")  # type: ignore[arg-type]
                for at, kind, to, privileges, option in self.wide]  # fmt: skip
        single = [
            Grant(to, Target(on.kind, on.target, None, tuple(quote(each, 18) for each in columns)), *rest, "spec.yml:1")  # type: ignore[arg-type]
            for on, to, *rest, columns in self.single
        ]
        return Database(self.name, schemas=schemas, grants=(*wide, *single))

    def _of(self, kind: str, privileges: tuple[str, ...], *, option: bool = False, columns: bool = False) -> Rights:
        every = PRIVILEGES["column" if columns else kind]
        found = every if privileges == ("ALL",) else privileges
        return {each: option for each in found if each != "MAINTAIN" or self.major >= 17}

    def of_all(self, schema: str, kind: str, grantee: Grantee) -> Rights | None:
        """Return what all objects of a kind give, also future ones; None: that is not declared."""
        for at, each, to, privileges, option in self.wide:
            if (at, each, to) == (schema, kind, grantee):
                return self._of(kind, privileges, option=option)
        word = self.words.get((schema, grantee))
        if word is None:
            return None
        if grantee is not None:
            return self._of(kind, _MEANING[word].get(kind, ()))
        if kind == "schema":
            return dict.fromkeys({"none": (), "usage": ("USAGE",), "create": ("USAGE", "CREATE")}[word], False)
        return {} if kind in ("table", "sequence") or (kind == "routine" and word == "none") else None

    def of(self, on: Object, grantee: Grantee) -> Rights | None:
        """Return what an object gives."""
        mine = [each for each in self.single if each[0] == on and each[1] == grantee]
        for _, _, privileges, option, columns in mine:
            if not columns:
                return self._of(on.kind, privileges, option=option)
        schema = self._schema_of(on)
        base = None if schema is None else self.of_all(schema, on.kind, grantee)
        return {} if base is None and mine else base

    def of_column(self, on: Object, column: str, grantee: Grantee) -> Rights | None:
        """Return what a column gives by itself."""
        if self.of(on, grantee) is None:
            return None
        return _union(
            [
                self._of(on.kind, privileges, option=option, columns=True)
                for each, to, privileges, option, columns in self.single
                if each == on and to == grantee and column in columns
            ]
        )

    @staticmethod
    def _schema_of(on: Object) -> str | None:
        if on.kind == "schema":
            return on.name.strip('"').replace('""', '"')
        return on.schema


def _union(rights: Iterable[Rights]) -> Rights:
    found: Rights = {}
    for each in rights:
        for privilege, option in each.items():
            found[privilege] = option or found.get(privilege, False)
    return found


_MAKE = """
CREATE TYPE {s}.mood AS ENUM ('sad', 'ok'); CREATE TYPE {s}."C t" AS (a int); CREATE DOMAIN {s}.price AS numeric;
CREATE TYPE {s}.span AS RANGE (subtype = int4);
CREATE TABLE {s}.t1 (id int, "B c" text, n serial); CREATE TABLE {s}."T 2" (id int, "B c" text, n int);
CREATE TABLE {s}.parts (id int, "B c" text, n int) PARTITION BY LIST (id);
CREATE TABLE {s}.part1 PARTITION OF {s}.parts FOR VALUES IN (1);
CREATE VIEW {s}.v AS SELECT * FROM {s}.t1; CREATE MATERIALIZED VIEW {s}."M v" AS SELECT * FROM {s}."T 2";
CREATE SEQUENCE {s}.numbers; CREATE SEQUENCE {s}."S 2";
CREATE FUNCTION {s}.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION {s}.f(text, VARIADIC int[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION {s}."F x"(a {s}.mood, b timestamptz DEFAULT now()) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE {s}.p(int, OUT x int, INOUT y text) LANGUAGE sql AS $$ SELECT 1, 'a' $$;
CREATE AGGREGATE {s}.total(int) (sfunc = int4pl, stype = int, initcond = '0');
"""
_OBJECTS = """
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname::text, quote_ident(c.relname),
    pg_get_userbyid(c.relowner), c.oid::bigint, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'
    ELSE 'r' END::"char", c.relowner))
FROM pg_class AS c JOIN n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL
SELECT 'routine', n.nspname::text, quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')',
    pg_get_userbyid(p.proowner), p.oid::bigint, coalesce(p.proacl, acldefault('f', p.proowner))
FROM pg_proc AS p JOIN n ON n.oid = p.pronamespace
UNION ALL
SELECT 'type', n.nspname::text, quote_ident(t.typname), pg_get_userbyid(t.typowner), t.oid::bigint,
    coalesce(t.typacl, acldefault('T', t.typowner))
FROM pg_type AS t JOIN n ON n.oid = t.typnamespace
WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typelem = 0
    AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
UNION ALL
SELECT 'schema', NULL, quote_ident(n.nspname), pg_get_userbyid(n.nspowner), n.oid::bigint,
    coalesce(n.nspacl, acldefault('n', n.nspowner))
FROM n
UNION ALL
SELECT 'database', NULL, quote_ident(d.datname), pg_get_userbyid(d.datdba), d.oid::bigint,
    coalesce(d.datacl, acldefault('d', d.datdba)) FROM pg_database AS d WHERE d.datname = current_database()
UNION ALL
SELECT 'language', NULL, quote_ident(l.lanname), pg_get_userbyid(l.lanowner), l.oid::bigint,
    coalesce(l.lanacl, acldefault('l', l.lanowner)) FROM pg_language AS l WHERE l.lanispl
UNION ALL
SELECT 'fdw', NULL, quote_ident(w.fdwname), pg_get_userbyid(w.fdwowner), w.oid::bigint,
    coalesce(w.fdwacl, acldefault('F', w.fdwowner)) FROM pg_foreign_data_wrapper AS w
UNION ALL
SELECT 'server', NULL, quote_ident(f.srvname), pg_get_userbyid(f.srvowner), f.oid::bigint,
    coalesce(f.srvacl, acldefault('S', f.srvowner)) FROM pg_foreign_server AS f
UNION ALL
SELECT 'large_object', NULL, l.oid::text, pg_get_userbyid(l.lomowner), l.oid::bigint,
    coalesce(l.lomacl, acldefault('L', l.lomowner)) FROM pg_largeobject_metadata AS l
"""
_WITH = f"""WITH n AS (SELECT * FROM pg_namespace WHERE nspname = ANY(%(schemas)s)),
    o (kind, schema, name, owner, oid, acl) AS ({_OBJECTS})"""
_LISTED = f"{_WITH} SELECT kind, schema, name, owner, oid FROM o ORDER BY 1, 2, 3, 5"
_EDGES = f"""{_WITH}
SELECT o.kind, o.oid, ''::text, CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END,
    a.privilege_type, bool_or(a.is_grantable) FROM o, aclexplode(o.acl) AS a GROUP BY 1, 2, 4, 5
UNION ALL
SELECT 'column', t.attrelid::bigint, t.attname::text,
    CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END, a.privilege_type, bool_or(a.is_grantable)
FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid JOIN n ON n.oid = c.relnamespace,
    aclexplode(t.attacl) AS a
WHERE NOT t.attisdropped GROUP BY 2, 3, 4, 5"""
_MATRIX = """SELECT r, o, p, {function}(r, o, p) FROM unnest(%(roles)s) AS r, unnest(%(oids)s::oid[]) AS o,
    unnest(%(privileges)s) AS p"""
_COLUMNS = """SELECT r, o, c, p, has_column_privilege(r, o, c, p) FROM unnest(%(roles)s) AS r,
    unnest(%(oids)s::oid[]) AS o, unnest(%(columns)s) AS c, unnest(%(privileges)s) AS p"""


class Place:
    """A database of a server, made for our roles, and a superuser's connection to it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint, self.name = endpoint, endpoint.database
        name = self.name
        login = {"host": endpoint.host, "port": endpoint.port, "user": endpoint.user}
        self._login = {**login, "password": endpoint.password.reveal()}
        self._maintenance(f"DROP DATABASE IF EXISTS {q(name)}", f"CREATE DATABASE {q(name)} TEMPLATE template0")
        self.connection = psycopg2.connect(dbname=name, **self._login)
        self.connection.autocommit = True
        self.major = self.connection.server_version // 10_000
        self.superuser = endpoint.user
        self.said: list[str] = []
        for each in ROLES:
            self.run(f"DROP ROLE IF EXISTS {q(each)}; CREATE ROLE {q(each)}")
        self.run(f"CREATE SCHEMA {EXTENSIONS}", *[f"CREATE EXTENSION {each} SCHEMA {EXTENSIONS}" for each in (
            "lo", "pg_stat_statements")], "CREATE FOREIGN DATA WRAPPER ap_fdw",
            'CREATE SERVER "ap server" FOREIGN DATA WRAPPER ap_fdw')  # fmt: skip

    def close(self) -> None:
        """Leave nothing behind."""
        roles = ", ".join(map(q, ROLES))
        self._forget()
        self.connection.close()
        self._maintenance(f"DROP DATABASE {q(self.name)}", f"DROP ROLE {roles}")

    def _forget(self) -> None:
        """Take all from our roles. Memberships go first: a REVOKE with CASCADE leaves what these give again."""
        for group, member in self.rows(
            "SELECT DISTINCT roleid::regrole::text, member::regrole::text FROM pg_auth_members AS m"
            " JOIN pg_roles AS r ON r.oid = m.member WHERE r.rolname = ANY(%(roles)s)", roles=list(ROLES)
        ):  # fmt: skip
            self.run(f"REVOKE {group} FROM {member}" + (" CASCADE" if self.major >= 16 else ""))
        self.run(*[f"DROP SCHEMA IF EXISTS {q(each)} CASCADE" for each in SCHEMAS])
        self.run(*[f"DROP OWNED BY {q(each)} CASCADE" for each in ROLES])

    def _maintenance(self, *statements: str) -> None:
        with closing(psycopg2.connect(dbname="postgres", **self._login)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for each in statements:
                    cursor.execute(each)

    def run(self, *statements: str) -> None:
        """Run statements; they are what a failure shows."""
        with self.connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)

    def rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return rows, with the names of types written in full."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO pg_catalog; {sql}", parameters or None)
            return cursor.fetchall()

    def try_(self, statement: str) -> None:
        """Run a statement that the server may refuse."""
        with suppress(psycopg2.Error):
            self.run(statement)
            self.said.append(statement)

    def renew(self, chance: random.Random) -> None:
        """Forget the last round, and make everything again with other owners."""
        roles = ", ".join(map(q, ROLES))
        self.said = []
        self._forget()
        self.run(f"DROP ROLE {roles}")
        self.run(*[f"CREATE ROLE {q(each)}" for each in ROLES])
        self.run("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
        self.run(
            f"GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {EXTENSIONS} TO PUBLIC",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {EXTENSIONS} FROM PUBLIC",
            f"REVOKE ALL ON SCHEMA {EXTENSIONS} FROM PUBLIC",
            "ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC",
            "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO PUBLIC",
            f"GRANT USAGE ON TYPE {EXTENSIONS}.lo TO PUBLIC",
            f"GRANT CONNECT, TEMPORARY ON DATABASE {q(self.name)} TO PUBLIC",
            "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
            "SELECT lo_create(4711), lo_create(4712)",
        )
        for schema in SCHEMAS:
            owner = chance.choice([*ROLES, self.superuser])
            self.run(f"CREATE SCHEMA {q(schema)} AUTHORIZATION {q(owner)}", _MAKE.format(s=q(schema)))
        for on in self.objects():
            if on.schema in SCHEMAS and chance.random() < 0.8:
                self.own(on, chance)

    def own(self, on: Object, chance: random.Random) -> None:
        """Give an object another owner."""
        self.try_(f"ALTER {on.sql} OWNER TO {q(chance.choice(ROLES))}")

    def objects(self) -> list[Object]:
        """Return all objects, in an order that is the same in every run."""
        return [Object(*row) for row in self.rows(_LISTED, schemas=[*SCHEMAS, EXTENSIONS])]

    def edges(self) -> dict[tuple[str, int, str], dict[Grantee, Rights]]:
        """Return what is granted to whom, by kind, oid and column, whoever granted it."""
        found: dict[tuple[str, int, str], dict[Grantee, Rights]] = defaultdict(lambda: defaultdict(dict))
        for kind, oid, column, grantee, privilege, option in self.rows(_EDGES, schemas=[*SCHEMAS, EXTENSIONS]):
            found[kind, oid, column][grantee][privilege] = option
        return found

    def closures(self) -> dict[str, set[str]]:
        """Return for each role those whose privileges it has."""
        found: dict[str, set[str]] = {}
        for role, group in self.rows("SELECT a, b FROM unnest(%(roles)s) AS a, unnest(%(roles)s) AS b"
                                     " WHERE pg_has_role(a, b, 'USAGE')", roles=list(ROLES)):  # fmt: skip
            found.setdefault(role, set()).add(group)
        return found

    def matrix(self, objects: list[Object]) -> dict[Cell, bool]:
        """Return who may do what, in the words of the server."""
        found: dict[Cell, bool] = {}
        for kind, function in ASKED.items():
            here = {each.oid: each for each in objects if each.kind == kind}
            asked = self._asked(kind)
            for role, oid, privilege, answer in self.rows(_MATRIX.format(function=function), roles=list(ROLES),
                                                          oids=list(here), privileges=asked):  # fmt: skip
                found[role, kind, here[oid].target, privilege] = answer
        tables = {each.oid: each for each in objects if each.kind == "table" and each.schema in SCHEMAS}
        for role, oid, column, privilege, answer in self.rows(
            _COLUMNS, roles=list(ROLES), oids=list(tables), columns=list(COLUMNS), privileges=self._asked("column")
        ):
            found[role, "column", f"{tables[oid].target} {column}", privilege] = answer
        return found

    def _asked(self, kind: str) -> list[str]:
        known = [each for each in PRIVILEGES[kind] if each != "MAINTAIN" or self.major >= 17]
        return [f"{each}{option}" for each in known for option in ("", OPTION)]

    def expected(self, policy: Policy, objects: list[Object]) -> dict[Cell, bool]:
        """Return the same from what is declared; what is not, and what owners took from themselves, is as it is."""
        closures, edges = self.closures(), self.edges()
        found: dict[Cell, bool] = {}
        for on in objects:
            if on.kind not in ASKED:
                continue
            held = {each: self._held(policy, on, each, edges) for each in (*ROLES, None)}
            for role in ROLES:
                mine = {None, *closures[role]}
                for privilege in self._asked(on.kind):
                    answer = _has(held, mine, privilege, on.owner)
                    found[role, on.kind, on.target, privilege] = answer
            if on.kind == "table" and on.schema in SCHEMAS:
                for column in COLUMNS:
                    own = {each: self._held_on_column(policy, on, column, each, edges) for each in (*ROLES, None)}
                    for role in ROLES:
                        mine = {None, *closures[role]}
                        for privilege in self._asked("column"):
                            has = _has(held, mine, privilege, on.owner) or _has(own, mine, privilege, on.owner)
                            found[role, "column", f"{on.target} {column}", privilege] = has
        return found

    @staticmethod
    def _held(policy: Policy, on: Object, grantee: Grantee, edges: Any) -> Rights:
        declared = policy.of(on, grantee)
        there: Rights = edges[on.kind, on.oid, ""][grantee]
        if grantee == on.owner:
            given = {} if on.name.startswith(_NEW) else declared or {}
            return {**there, **dict.fromkeys(given, False)}
        return there if declared is None else declared

    @staticmethod
    def _held_on_column(policy: Policy, on: Object, column: str, grantee: Grantee, edges: Any) -> Rights:
        declared = policy.of_column(on, column, grantee)
        there: Rights = edges["column", on.oid, column][grantee]
        if grantee == on.owner:
            return {**there, **dict.fromkeys(declared or {}, False)}
        return there if declared is None else declared

    def undeclared(self, policy: Policy, objects: list[Object]) -> dict[tuple[str, str, Grantee], Rights]:
        """Return what is granted and nobody declares: nothing may change it."""
        edges, by_oid = self.edges(), {(each.kind, each.oid): each for each in objects}
        found = {}
        for (kind, oid, column), held in edges.items():
            on = by_oid["table" if kind == "column" else kind, oid]
            for grantee, rights in held.items():
                declared = policy.of_column(on, column, grantee) if column else policy.of(on, grantee)
                if rights and declared is None and grantee != on.owner:
                    found[on.sql, column, grantee] = rights
        return found


def _has(held: dict[Grantee, Rights], mine: set[Grantee], asked: str, owner: str) -> bool:
    privilege, is_option = asked.removesuffix(OPTION), asked.endswith(OPTION)
    if is_option:
        return owner in mine or any(held[each].get(privilege, False) for each in mine)
    return any(privilege in held[each] for each in mine)


# --- what happens by chance ---


def drift(place: Place, objects: list[Object], chance: random.Random) -> None:
    """Change what may be changed, as several people would who do not talk to each other."""
    acts = (_grant, _grant, _grant, _revoke, _grant_column, _default, _member, _owner, _grant_schema)
    for _ in range(DRIFTS):
        place.try_(chance.choice(acts)(place, objects, chance))


def _privileges(place: Place, kind: str, chance: random.Random) -> list[str]:
    known = [each for each in PRIVILEGES[kind] if each != "MAINTAIN" or place.major >= 17]
    return chance.sample(known, chance.randint(1, min(3, len(known))))


def _grantee(chance: random.Random) -> Grantee:
    return chance.choice([*ROLES, *ROLES, None])


def _as(statement: str, chance: random.Random) -> str:
    """Have another role do it, half of the time: its name is then the grantor's."""
    return f"SET ROLE {q(chance.choice(ROLES))}; {statement}; RESET ROLE" if chance.random() < 0.5 else statement


def _grant(place: Place, objects: list[Object], chance: random.Random) -> str:
    on, grantee = chance.choice(objects), _grantee(chance)
    option = OPTION if grantee is not None and chance.random() < 0.5 else ""
    return _as(f"GRANT {', '.join(_privileges(place, on.kind, chance))} ON {on.sql} TO {q(grantee)}{option}", chance)


def _grant_schema(_place: Place, objects: list[Object], chance: random.Random) -> str:
    on = chance.choice([each for each in objects if each.kind == "schema"])
    return f"GRANT USAGE ON {on.sql} TO {q(_grantee(chance))}"


def _revoke(place: Place, objects: list[Object], chance: random.Random) -> str:
    on = chance.choice(objects)
    only = chance.choice(["", "", "GRANT OPTION FOR "])
    privileges = ", ".join(_privileges(place, on.kind, chance))
    return _as(f"REVOKE {only}{privileges} ON {on.sql} FROM {q(_grantee(chance))} CASCADE", chance)


def _grant_column(place: Place, objects: list[Object], chance: random.Random) -> str:
    on = chance.choice([each for each in objects if each.kind == "table"])
    privilege, grantee = chance.choice(PRIVILEGES["column"]), _grantee(chance)
    columns = ", ".join([q(each) for each in chance.sample(COLUMNS, chance.randint(1, 2))])
    option = OPTION if grantee is not None and chance.random() < 0.5 else ""
    del place
    return _as(f"GRANT {privilege} ({columns}) ON {on.sql} TO {q(grantee)}{option}", chance)


def _default(place: Place, _objects: list[Object], chance: random.Random) -> str:
    kind = chance.choice(["table", "sequence", "routine", "type"])
    creator = chance.choice([*ROLES, place.superuser])
    where = f" IN SCHEMA {q(chance.choice(SCHEMAS))}" if chance.random() < 0.6 else ""
    grantee = chance.choice(ROLES) if creator == place.superuser else _grantee(chance)
    privileges = ", ".join(_privileges(place, kind, chance))
    option = OPTION if grantee is not None and chance.random() < 0.3 else ""
    begin = f"ALTER DEFAULT PRIVILEGES FOR ROLE {q(creator)}{where}"
    if chance.random() < 0.3:
        return f"{begin} REVOKE {privileges} ON {kind.upper()}S FROM {q(grantee)}"
    return f"{begin} GRANT {privileges} ON {kind.upper()}S TO {q(grantee)}{option}"


def _member(place: Place, _objects: list[Object], chance: random.Random) -> str:
    group, member = chance.sample(ROLES, 2)
    if place.major >= 16:
        options = f" WITH INHERIT {chance.choice(['TRUE', 'FALSE'])}, SET {chance.choice(['TRUE', 'FALSE'])}"
    else:
        options = chance.choice(["", " WITH ADMIN OPTION"])
    return f"GRANT {q(group)} TO {q(member)}{options}"


def _owner(place: Place, objects: list[Object], chance: random.Random) -> str:
    on = chance.choice([each for each in objects if each.kind in ("table", "sequence", "routine", "type", "schema")
                        and EXTENSIONS not in (each.schema, each.name)])  # fmt: skip
    del place
    return f"ALTER {on.sql} OWNER TO {q(chance.choice(ROLES))}"


def policy(place: Place, objects: list[Object], chance: random.Random) -> Policy:
    """Declare something, of which a part is new and a part is how it was."""
    found = Policy(place.major, place.name)
    for schema in (*SCHEMAS, EXTENSIONS):
        for role in ROLES:
            if chance.random() < 0.6:
                found.words[schema, role] = chance.choice(WORDS)
        if chance.random() < 0.5:
            found.words[schema, None] = chance.choice(["none", "usage", "create"])
        if chance.random() < 0.5:
            found.defaults_for[schema] = tuple(chance.sample([*ROLES, place.superuser], chance.randint(1, 3)))
        if chance.random() < 0.4:
            kind = chance.choice(["table", "sequence", "routine"])
            found.wide.append((schema, kind, _grantee(chance), *_some(place, kind, chance)))
    for _ in range(chance.randint(0, MOST_SINGLE)):
        on, grantee = chance.choice(objects), _grantee(chance)
        columns = tuple(chance.sample(COLUMNS, chance.randint(1, 2))) if chance.random() < 0.4 else ()
        columns = columns if on.kind == "table" and on.schema in SCHEMAS else ()
        privileges, option = _some(place, "column" if columns else on.kind, chance)
        if (on, grantee, columns) not in [(each, to, of) for each, to, _, _, of in found.single]:
            found.single.append((on, grantee, privileges, option and grantee is not None, columns))
    found.wide = [(*rest, option and rest[2] is not None) for *rest, option in found.wide]  # type: ignore[misc]
    return found


def _some(place: Place, kind: str, chance: random.Random) -> tuple[tuple[str, ...], bool]:
    how = chance.random()
    privileges = () if how < 0.2 else ("ALL",) if how < 0.35 else tuple(_privileges(place, kind, chance))
    return privileges, bool(privileges) and chance.random() < 0.3


# --- what will be created ---

_FUTURE = """
CREATE TABLE {s}.ap_new_table (id int, "B c" text, n int); CREATE SEQUENCE {s}.ap_new_sequence;
CREATE FUNCTION {s}.ap_new_function() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE DOMAIN {s}.ap_new_type AS int;
"""


def futures(place: Place, policy: Policy, schema: str, creator: str) -> Iterator[str]:
    """Yield what differs on new objects of a creator; they are gone afterwards."""
    place.run(f"BEGIN; GRANT USAGE, CREATE ON SCHEMA {q(schema)} TO {q(creator)}; SET LOCAL ROLE {q(creator)}")
    try:
        place.run(_FUTURE.format(s=q(schema)), "RESET ROLE")
        new = [each for each in place.objects() if each.schema == schema and each.name.startswith(_NEW)]
        is_left = not policy.defaults_for.get(schema) and creator == place.superuser
        some = Policy(policy.major, policy.name, dict(policy.words), policy.wide)
        if is_left and some.words.get((schema, None)) == "none":
            some.words[schema, None] = "usage"
        assert len(new) == 4
        yield from differing(place.expected(some, new), place.matrix(new))
    finally:
        place.run("ROLLBACK")


def differing(expected: dict[Cell, bool], found: dict[Cell, bool]) -> list[str]:
    """Return the cells of two matrices that are not the same."""
    assert expected.keys() == found.keys()
    return [f"{cell}: {found[cell]}, declared {answer}" for cell, answer in expected.items() if found[cell] != answer]
