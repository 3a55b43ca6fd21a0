"""Who can use what: the server's own answer (``has_table_privilege`` and its kin) for each role and object.

Objects with the same owner and ACL share an answer, so one of them is asked for. A right counts together with what it
needs: CONNECT on the database, USAGE on the schema.
https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from provision.insight.paths import Groups, Path
from provision.kinds import Look, catalog
from provision.kinds.catalog import Acl, Cluster, Contents
from provision.kinds.rights import OWN_ROLES_SINCE
from provision.model.value import dataclass, field, replace
from provision.spec.object_names import quote
from provision.spec.parameters import MAJORS

Columns = Mapping[str, Acl]
Held = Mapping[tuple[int, str | None], frozenset[tuple[str, str | None]]]
"""For a thing's number and a role: each privilege, and the column where it is only on that."""

PUBLIC = "PUBLIC"
"""Everybody, where one role is asked for."""
_TABLES = frozenset({"table", "foreign table", "view", "materialized view"})
_CLASSES = {
    **dict.fromkeys(_TABLES, "table"),
    **dict.fromkeys(("function", "procedure"), "function"),
    **dict.fromkeys(("type", "domain"), "type"),
}
_MAINTAIN_SINCE = 17


@dataclass(frozen=True)
class Thing:
    """Objects of one database, kind, schema, owner and ACL. ``names`` are as SQL writes them, without the schema."""

    database: str
    kind: str
    schema: str | None
    names: tuple[str, ...]
    owner: str
    acl: Acl = field(repr=False)
    columns: Columns = field(default_factory=dict, repr=False, hash=False)

    @property
    def of(self) -> str:
        """The function of the server that answers for it: ``table`` in ``has_table_privilege``."""
        return _CLASSES.get(self.kind, self.kind)

    def only(self, names: tuple[str, ...]) -> Thing:
        """Return some of the objects."""
        return replace(self, names=names)


class Right(NamedTuple):
    """One privilege, and the ways to it. ``columns`` is empty where it is on the whole."""

    privilege: str
    columns: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Reach:
    """What a role may do with a thing. ``role`` None is PUBLIC, which every role is part of.

    ``after`` is the group that the role has to SET ROLE to first; then only what that adds is here. ``lacks`` are the
    privileges without which all of it is of no use, in words.
    """

    thing: Thing
    role: str | None
    login: bool
    rights: tuple[Right, ...]
    after: str | None = None
    lacks: tuple[str, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether every role has it, and this one has no other way to any of it."""
        return all({path.how for path in each.paths} == {"public"} for each in self.rights)


def things(cluster: Cluster, contents: Contents, database: str) -> tuple[Thing, ...]:
    """Return what one database has: itself, its schemas, and what is in them; tables with column grants apart."""
    itself = cluster.databases[database]
    found = [Thing(database, "database", None, (word(database),), itself.owner, itself.acl)]
    for name, schema in sorted(contents.schemas.items()):
        found.append(Thing(database, "schema", name, (word(name),), schema.owner, schema.acl))
    for each in sorted(contents.objects, key=lambda each: (each.schema, each.kind, each.names)):
        odd = [name for name in each.names if (each.schema, name) in contents.columns]
        if plain := tuple([name for name in each.names if name not in odd]):
            found.append(Thing(database, each.kind, each.schema, plain, each.owner, each.acl))
        for name in odd:
            columns = contents.columns[each.schema, name]
            found.append(Thing(database, each.kind, each.schema, (name,), each.owner, each.acl, columns))
    return tuple(found)


def reaches(look: Look, database: str, chosen: Sequence[Thing], role: str | None = None) -> Iterator[Reach]:
    """Yield what each role may do with each of the things of one database that were chosen; with ``role``, only it.

    Raises:
        UnseenError: the server cannot be asked.
    """
    cluster = look.once(catalog.cluster)
    contents = look.once(catalog.contents, database)
    around = [each for each in things(cluster, contents, database) if each.kind in ("database", "schema")]
    asked = [*chosen, *[each for each in around if each not in chosen]]
    held, settable = _ask(look, database, asked)
    answers = _Answers(cluster, Groups(cluster, database), asked, held)
    for number, thing in enumerate(chosen):
        for each in [None, *sorted(cluster.roles)]:
            if role is None and each is not None and each.startswith("pg_"):
                continue
            if role is None or (each or PUBLIC) == role:
                yield from answers.of(number, thing, each, settable.get(each, ()))


def word(name: str) -> str:
    """Return a name as people write it in SQL: in quotes only where a server of some version needs them."""
    return quote(name, MAJORS[-1])


class _Answers:
    """The server's answers, and what each is worth to a role."""

    def __init__(self, cluster: Cluster, groups: Groups, asked: Sequence[Thing], held: Held) -> None:
        self._cluster, self._groups, self._held = cluster, groups, held
        self._schemas = {each.schema: number for number, each in enumerate(asked) if each.kind == "schema"}
        self._database = next(number for number, each in enumerate(asked) if each.kind == "database")

    def of(self, number: int, thing: Thing, role: str | None, settable: Iterable[str]) -> Iterator[Reach]:
        """Yield what a role may do itself, then what each group adds that it may SET ROLE to."""
        login = role is not None and self._cluster.roles[role].login
        found: list[tuple[frozenset[tuple[str, str | None]], tuple[str, ...]]] = []
        for group in (role, *sorted(settable)):
            lacks = self._lacks(thing, role, group)
            before = [held for held, lacking in found if set(lacking) <= set(lacks)]
            if more := self._held.get((number, group), frozenset()).difference(*before):
                after = None if group == role else group
                yield Reach(thing, role, login, self._rights(thing, group, more), after, lacks)
                found.append((more, lacks))

    def _lacks(self, thing: Thing, role: str | None, group: str | None) -> tuple[str, ...]:
        """Return what keeps a role, once it has SET ROLE to a group, from the thing."""
        found = []
        if thing.kind != "database" and role is not None and not self._may(self._database, role, "CONNECT"):
            found.append(f"CONNECT on the database {word(thing.database)}")
        schema = None if thing.kind == "schema" else thing.schema
        if schema is not None and not self._may(self._schemas[schema], group, "USAGE"):
            found.append(f"USAGE on the schema {word(schema)}")
        return tuple(found)

    def _may(self, number: int, role: str | None, privilege: str) -> bool:
        return (privilege, None) in self._held.get((number, role), ())

    def _rights(self, thing: Thing, role: str | None, held: Iterable[tuple[str, str | None]]) -> tuple[Right, ...]:
        """Return privileges in the order of their names, with the ways to each; columns with the same ways together."""
        found: dict[tuple[str, tuple[Path, ...]], list[str]] = {}
        for privilege, column in sorted(held, key=lambda each: (each[0], each[1] or "")):
            acl = thing.acl if column is None else thing.acl | thing.columns[column]
            paths = self._groups.paths(role, privilege, thing.kind, thing.owner, acl)
            found.setdefault((privilege, paths), []).extend(() if column is None else (column,))
        return tuple([Right(privilege, tuple(columns), paths) for (privilege, paths), columns in found.items()])


def _ask(look: Look, database: str, asked: Sequence[Thing]) -> tuple[Held, Mapping[str | None, Sequence[str]]]:
    """Ask for what each role may do with each thing, and which groups it may SET ROLE to."""
    major = look.once(catalog.cluster).major
    first = dict(enumerate(asked))
    columns = [(number, name) for number, each in first.items() for name in each.columns]
    parameters = {
        "number": list(first),
        "of": [each.of for each in first.values()],
        "schema": [each.schema for each in first.values()],
        "name": [each.names[0] for each in first.values()],
        "columned": [number for number, _ in columns],
        "column": [name for _, name in columns],
        "table": [*_TABLE, *(["MAINTAIN"] if major >= _MAINTAIN_SINCE else [])],
        "set": "SET" if major >= OWN_ROLES_SINCE else "MEMBER",
    }
    held: dict[tuple[int, str | None], frozenset[tuple[str, str | None]]] = {}
    settable: dict[str | None, list[str]] = {}
    rows = look.rows(_HELD, parameters, database=database)
    for number, role, group, column, privileges in sorted(rows, key=lambda row: row[3] is not None):
        if group is not None:
            settable.setdefault(role, []).append(group)
            continue
        whole = held.get((number, role), frozenset())
        held[number, role] = whole | {(each, column) for each in privileges if (each, None) not in whole}
    return held, settable


_TABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
# The name of an object is resolved by its catalog: has_table_privilege() of a name fails where one may not enter the
# schema. The role 0 is PUBLIC.
_HELD = """SET LOCAL search_path TO pg_catalog;
WITH r AS (SELECT 0::oid AS oid, NULL::text AS name UNION ALL SELECT oid, rolname::text FROM pg_roles),
w AS (SELECT * FROM unnest(%(number)s::int[], %(of)s::text[], %(schema)s::text[], %(name)s::text[])
    AS w(number, of, schema, name)),
c AS (SELECT w.number, w.of, c.oid FROM w JOIN pg_namespace AS n ON n.nspname = w.schema
    JOIN pg_class AS c ON c.relnamespace = n.oid AND quote_ident(c.relname) = w.name
    WHERE w.of IN ('table', 'sequence')),
h AS (
    SELECT c.number, r.name, p.p FROM c, r, unnest(%(table)s::text[]) AS p(p)
    WHERE c.of = 'table' AND has_table_privilege(r.oid, c.oid, p.p)
    UNION ALL
    SELECT c.number, r.name, p.p FROM c, r, unnest('{SELECT,USAGE,UPDATE}'::text[]) AS p(p)
    WHERE c.of = 'sequence' AND has_sequence_privilege(r.oid, c.oid, p.p)
    UNION ALL
    SELECT w.number, r.name, 'EXECUTE' FROM r, w JOIN pg_namespace AS n ON n.nspname = w.schema
        JOIN pg_proc AS p ON p.pronamespace = n.oid
            AND quote_ident(p.proname) || '(' || oidvectortypes(p.proargtypes) || ')' = w.name
    WHERE w.of = 'function' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
    UNION ALL
    SELECT w.number, r.name, 'USAGE' FROM r, w JOIN pg_namespace AS n ON n.nspname = w.schema
        JOIN pg_type AS t ON t.typnamespace = n.oid AND quote_ident(t.typname) = w.name
    WHERE w.of = 'type' AND has_type_privilege(r.oid, t.oid, 'USAGE')
    UNION ALL
    SELECT w.number, r.name, p.p FROM r, unnest('{USAGE,CREATE}'::text[]) AS p(p),
        w JOIN pg_namespace AS n ON n.nspname = w.schema
    WHERE w.of = 'schema' AND has_schema_privilege(r.oid, n.oid, p.p)
    UNION ALL
    SELECT w.number, r.name, p.p FROM w, r, unnest('{CONNECT,CREATE,TEMPORARY}'::text[]) AS p(p), pg_database AS d
    WHERE w.of = 'database' AND d.datname = current_database() AND has_database_privilege(r.oid, d.oid, p.p))
SELECT h.number, h.name, NULL::text, NULL::text, array_agg(h.p) FROM h GROUP BY 1, 2
UNION ALL
SELECT a.number, r.name, NULL, a.name, array_agg(p.p)
FROM unnest(%(columned)s::int[], %(column)s::text[]) AS a(number, name) JOIN c ON c.number = a.number
    JOIN pg_attribute AS t ON t.attrelid = c.oid AND quote_ident(t.attname) = a.name, r,
    unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS p(p)
WHERE has_column_privilege(r.oid, c.oid, t.attnum, p.p)
GROUP BY 1, 2, 4
UNION ALL
SELECT NULL, r.rolname::text, g.rolname::text, NULL, NULL
FROM pg_roles AS r, pg_roles AS g
WHERE r.oid <> g.oid AND NOT r.rolsuper AND g.oid IN (SELECT roleid FROM pg_auth_members)
    AND r.oid IN (SELECT member FROM pg_auth_members) AND pg_has_role(r.oid, g.oid, %(set)s)
"""
