"""``grants`` of a database: privileges on single objects, which ``access`` cannot say.

https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final, NamedTuple

from provision.spec.access import PUBLIC, Database, Grant, Grantee, ObjectKind, Schema, Target
from provision.spec.object_names import NotANameError, parse, qualified, quote, signature, split
from provision.spec.parameters import canonical_name, check_name
from provision.spec.readers import boolean, identifier, list_of
from provision.spec.reading import (
    Key,
    Reading,
    Reported,
    Wrong,
    attempt,
    failed,
    listed,
    mapping,
    nearest,
    read_table,
    scalar,
    shorten,
)
from provision.spec.role_names import mentioned_grantee
from provision.spec.yaml import Mapping, Mark, Node, Scalar, Sequence

PRIVILEGES: Final[dict[ObjectKind, tuple[str, ...]]] = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "schema": ("USAGE", "CREATE"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "routine": ("EXECUTE",),
    "type": ("USAGE",),
    "domain": ("USAGE",),
    "language": ("USAGE",),
    "fdw": ("USAGE",),
    "server": ("USAGE",),
    "large_object": ("SELECT", "UPDATE"),
    "parameter": ("SET", "ALTER SYSTEM"),
}
"""What can be granted on objects of each kind, by the newest version."""
OF_COLUMNS: Final = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
SINCE: Final = {"MAINTAIN": 17}
PARAMETERS_SINCE: Final = 15
ALL: Final = ("ALL",)
_OTHER_WORDS: Final = {"TEMP": "TEMPORARY", "ALL PRIVILEGES": "ALL"}


def is_system(schema: str) -> bool:
    """Whether a schema is PostgreSQL's own."""
    return schema.startswith("pg_") or schema == "information_schema"


class On(NamedTuple):
    """What a word below ``on`` means: an object of a kind, or all of them in a schema."""

    kind: ObjectKind
    is_all: bool = False
    is_in_schema: bool = True


ON: Final[dict[str, On]] = {
    "database": On("database", is_in_schema=False),
    "schema": On("schema", is_in_schema=False),
    "table": On("table"),
    "tables": On("table", is_all=True),
    "sequence": On("sequence"),
    "sequences": On("sequence", is_all=True),
    "routine": On("routine"),
    "routines": On("routine", is_all=True),
    "type": On("type"),
    "domain": On("domain"),
    "language": On("language", is_in_schema=False),
    "fdw": On("fdw", is_in_schema=False),
    "server": On("server", is_in_schema=False),
    "large_object": On("large_object", is_in_schema=False),
    "parameter": On("parameter", is_in_schema=False),
}


_KINDS_OF: Final = {
    **dict.fromkeys(("view", "materialized_view", "foreign_table"), "table"),
    **dict.fromkeys(("views", "materialized_views", "foreign_tables"), "tables"),
    **dict.fromkeys(("function", "procedure", "aggregate"), "routine"),
    **dict.fromkeys(("functions", "procedures", "aggregates"), "routines"),
}
"""What people write for the kinds that PostgreSQL treats alike."""


def on_keys(major: int) -> dict[str, Key]:
    """Return the keys of ``on``."""
    objects = {word: Key(partial(_object, word=word, major=major)) for word in ON}
    return {**objects, "columns": Key(partial(_columns, major=major))}


def _target(node: Node, reading: Reading, *, major: int) -> Target:
    example = "`{table: shop.customers}`"
    entries = mapping(node, example)
    for word, (key, _) in entries.entries.items():
        if word in _KINDS_OF:
            raise Wrong(
                f"`{word}` is written as `{_KINDS_OF[word]}` here, as PostgreSQL grants on both alike",
                f"write `{_KINDS_OF[word]}`",
                at=key,
            )
    keys = on_keys(major)
    values = read_table(entries, keys, reading, "`on`")
    columns = values.pop("columns", ())
    if not entries.entries.keys() <= keys.keys():
        raise Reported  # an unknown key is probably the object
    words = [word for word in entries.entries if word in ON]
    if len(words) > 1:
        message = f"there are {listed(words)}, and one grant is on one of them"
        raise Wrong(message, "write a grant for each", at=entries.entries[words[1]][0])
    if not words:
        raise Wrong("it names no object", f"for example {example}, or `{{tables: audit.*}}` for all of a schema")
    if words[0] not in values:
        raise Reported
    target: Target = values[words[0]]
    if "columns" in entries.entries and (target.kind != "table" or not target.name):
        raise Wrong("`columns` belong to one `table`", "remove them", at=entries.entries["columns"][0])
    return Target(target.kind, target.name, target.schema, columns)


def _object(node: Node, reading: Reading, *, word: str, major: int) -> Target:
    on = ON[word]
    if on.is_in_schema:
        return _in_schema(scalar(node, "the name of an object"), reading, word, major)
    if on.kind == "large_object":
        found = scalar(node, "the OID of a large object")
        if not re.fullmatch(r"[0-9]{1,10}", reading.text(found)):
            raise Wrong(f"{reading.show(found)} is not the OID of a large object", "write its number")
        return Target(on.kind, str(int(reading.text(found))))
    name = identifier(node, reading)
    if on.kind == "parameter":
        return Target(on.kind, _parameter(name, reading.show(scalar(node, "a name")), major))
    if on.kind == "schema" and is_system(name):
        shown = reading.show(scalar(node, "a name"))
        raise Wrong(f"{shown} is a schema of PostgreSQL itself, and is not managed", "name another schema")
    return Target(on.kind, quote(name, major))


def _parameter(name: str, shown: str, major: int) -> str:
    if 0 < major < PARAMETERS_SINCE:
        raise Wrong(f"settings can be granted from PostgreSQL {PARAMETERS_SINCE} on, and this is {major}", "remove it")
    if wrong := check_name(major, canonical_name(major, name)):
        is_in_clear = shown == f"`{name}`"
        message = wrong.message if is_in_clear else f"{shown} is not a setting of PostgreSQL {major}"
        raise Wrong(message, wrong.suggestion if is_in_clear else None)
    return name.lower()  # as in pg_parameter_acl


def _in_schema(node: Scalar, reading: Reading, word: str, major: int) -> Target:
    on, shown = ON[word], reading.show(node)
    is_in_clear = not reading.secret and not reading.variables(node)  # the value of a variable is not repeated
    try:
        parts, rest = parse(reading.text(node))
        arguments = signature(rest, major) if on.kind == "routine" and not on.is_all and len(parts) > 1 else ""
    except NotANameError as error:
        why = f": {error}" if is_in_clear else ""
        raise Wrong(f"{shown} cannot be read{why}", error.advice if is_in_clear else _EXAMPLE) from None
    if is_system(parts[0]):
        raise Wrong(f"{shown} is in a schema of PostgreSQL itself, and is not managed", "name another object")
    if on.is_all:
        if len(parts) > 1 or rest != ".*":
            advice = f"write `{quote(parts[0], major)}.*`" if is_in_clear else "for example `shop.*`"
            raise Wrong(f"{shown} is not all of a schema", advice)
        return Target(on.kind, "", parts[0])
    if rest == ".*" and f"{word}s" in ON:
        raise Wrong(f"{shown} is all of a schema", f"write it with the key `{word}s`")
    if len(parts) == 1 and (not rest or on.kind == "routine"):
        example = f"public.{shorten(node.text)}" if is_in_clear else "public.customers"
        raise Wrong(f"{shown} has no schema", f"write it too, for example `{example}`")
    if len(parts) > 2 or (rest and not arguments):  # noqa: PLR2004  # a schema and a name
        raise Wrong(f"{shown} is not the name of an object", f"write it like `{_EXAMPLES.get(on.kind, 'shop.name')}`")
    return Target(on.kind, qualified(parts[0], parts[1], major) + arguments)


_EXAMPLE: Final = "write it like `shop.customers`"
_EXAMPLES: Final = {"table": "shop.customers", "sequence": "shop.customers_id_seq", "routine": "shop.refund(integer)"}


def _columns(node: Node, reading: Reading, *, major: int) -> tuple[str, ...]:
    found = list_of(identifier, "[id, country]")(node, reading)
    if not found:
        raise Wrong("there are no columns in the list", "name them, or remove the key")
    return tuple([quote(each, major) for each in found])


def _privileges(node: Node, reading: Reading) -> tuple[str, ...]:
    if isinstance(node, Sequence):
        if not node.items:
            raise Wrong("there are no privileges in the list", "write `none` where the grantee has none")
        found = list_of(_privilege, "[select]")(node, reading)
        if "ALL" in found and len(found) > 1:
            raise Wrong("`all` has the others in it", "write `privileges: all`")
        return found
    word = reading.text(scalar(node, "a list of privileges, `all` or `none`")).casefold()
    if word not in ("none", "all"):
        raise Wrong("it must be a list of privileges, `all` or `none`", "for example `[select]`")
    return ALL if word == "all" else ()


def _privilege(node: Node, reading: Reading) -> str:
    found = scalar(node, "a privilege like `select`")
    word = " ".join(reading.text(found).upper().replace("_", " ").split())
    word = _OTHER_WORDS.get(word, word)
    known = sorted({"ALL", *(each for words in PRIVILEGES.values() for each in words)})
    if word not in known:
        meant = nearest(word, known)
        advice = f"did you mean `{meant.lower()}`?" if meant else f"they are {listed(map(str.lower, known))}"
        raise Wrong(f"{reading.show(found)} is not a privilege", advice)
    return word


def grant_keys(major: int) -> dict[str, Key]:
    """Return the keys of an entry of ``grants``."""
    return {
        "to": Key(mentioned_grantee("to"), required=True, example="to: shop_report"),
        "on": Key(partial(_target, major=major), required=True, example="on: {table: shop.customers}"),
        "privileges": Key(_privileges, required=True, example="privileges: [select]"),
        "grantable": Key(boolean),
    }


def grants(node: Node, reading: Reading, *, database: Database, major: int) -> tuple[Grant, ...]:
    """Read the grants of a database: for a grantee and a target one entry, and one with the grant option."""
    if not isinstance(node, Sequence):
        raise Wrong("it must be a list", "for example `[{to: report, on: {tables: shop.*}, privileges: [select]}]`")
    keys = grant_keys(major)
    found: dict[tuple[Grantee, Target, bool], Grant] = {}
    marks: dict[tuple[Grantee, Target], Mark] = {}
    for item in node.items:
        if reading.is_full:
            break
        grant = attempt(partial(_grant, keys=keys, major=major), item, reading)
        if failed(grant):
            continue
        key = grant.to, grant.on, grant.grantable
        if (first := found.get(key)) is not None:
            line = first.place.rpartition(":")[2]
            message = f"line {line} says already what this grantee may do on this target"
            reading.report(item.mark, message, "join the two: the privileges are an exact list")
            continue
        found[key] = grant
        marks[grant.to, grant.on] = item.mark
    for (to, on), mark in marks.items():
        both = [each for option in (False, True) if (each := found.get((to, on, option)))]
        if complaint := _contradiction(both, database, major):
            reading.report(mark, *complaint)
    return tuple(found.values())


def _grant(node: Node, reading: Reading, *, keys: dict[str, Key], major: int) -> Grant:
    entries = mapping(node, "`{to: shop_report, on: {table: shop.customers}, privileges: [select]}`")
    values = read_table(entries, keys, reading, "a grant")
    if not values.keys() >= {"to", "on", "privileges"}:
        raise Reported
    place = reading.place(node.mark)
    grant = Grant(values["to"], values["on"], values["privileges"], values.get("grantable", False), place)
    _check(grant, entries, reading, major)
    return grant


def _check(grant: Grant, entries: Mapping, reading: Reading, major: int) -> None:
    """Report privileges that do not exist for the target, and a grant option that PostgreSQL does not give."""
    node = entries.entries["privileges"][1]
    possible = OF_COLUMNS if grant.on.columns else PRIVILEGES[grant.on.kind]
    what = "columns" if grant.on.columns else f"a {grant.on.kind.replace('_', ' ')}"
    for word in grant.privileges:
        if word != "ALL" and word not in possible:
            are = "are" if len(possible) > 1 else "is"
            advice = f"there {are} {listed(map(str.lower, possible))}"
            reading.report(node.mark, f"there is no privilege `{word.lower()}` on {what}", advice)
        elif 0 < major < SINCE.get(word, 0):
            message = f"the privilege `{word.lower()}` exists from PostgreSQL {SINCE[word]} on, and this is {major}"
            reading.report(node.mark, message, "remove it")
    if grant.grantable:
        if grant.to is PUBLIC:
            message = "`grantable` has no meaning with `to: public`: PostgreSQL lets only roles grant further"
            reading.refuse(entries, "grantable", message, "remove it, or name a role in `to`")
        elif not grant.privileges:
            reading.refuse(entries, "grantable", "`grantable` has no meaning with `privileges: none`")


def _contradiction(grants: list[Grant], database: Database, major: int) -> tuple[str, str] | None:
    """Return what another key of the database says of the same grantee and object, and what to do."""
    grant = grants[0]
    has = {
        word for each in grants for word in (PRIVILEGES[each.on.kind] if each.privileges == ALL else each.privileges)
    }
    if grant.on.kind == "database":
        if grant.on.name != quote(database.name, major):
            return "a grant on a database is written below that database", f"write `{{database: {database.name}}}`"
        if grant.to is not PUBLIC and grant.to == database.owner:
            return None  # it needs no place in these lists
        for name, able in (("connect", database.connect), ("temporary", database.temporary)):
            if able is not None and grant.to in able and name.upper() not in has:
                return (
                    f"the grantee is in `{name}` of the database, and this list lacks `{name}`",
                    "add it to this list",
                )
            if able is not None and grant.to not in able and name.upper() in has:
                return f"this list has `{name}`, and the grantee is not in `{name}` of the database", "add it there"
        return None
    schema = _schema_of(grant.on, database)
    if schema is None:
        return None
    if schema.is_absent:
        return f"the schema `{shorten(schema.name)}` has `state: absent`", "remove the grant"
    return _contradicts_schema(grant, has, schema) if grant.on.kind == "schema" else None


def _schema_of(on: Target, database: Database) -> Schema | None:
    if on.kind == "schema":
        return database.schemas.get(parse(on.name).parts[0])
    if on.schema is None and on.kind not in _IN_SCHEMAS:
        return None
    return database.schemas.get(on.schema or split(on.name)[0])


def _contradicts_schema(grant: Grant, has: set[str], schema: Schema) -> tuple[str, str] | None:
    if grant.to is PUBLIC:
        if schema.public is None or has == _OF_PUBLIC[schema.public]:
            return None
        return f"the schema has `public: {schema.public}`, which is not the same", "remove one of the two"
    word = schema.access.get(grant.to)
    if word is None or ("USAGE" in has) == (word != "none"):
        return None
    if word == "none":
        return "this list has `usage`, and `access` of the schema says `none`", "remove one of the two"
    return f"`access` of the schema says `{word}`, and this list lacks `usage`", "add it to this list"


_IN_SCHEMAS: Final = {each.kind for each in ON.values() if each.is_in_schema}
_OF_PUBLIC: Final = {"none": set[str](), "usage": {"USAGE"}, "create": {"USAGE", "CREATE"}}
