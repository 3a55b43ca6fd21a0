"""The section ``databases``: what each database is, what is in it, and who may do what there.

https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping as MappingType
from functools import partial
from typing import Any, Final, NamedTuple

from provision.model import MAINTENANCE
from provision.model.value import replace
from provision.spec.access import Database, Extension, Schema
from provision.spec.backup import backup
from provision.spec.grants import grants, is_system
from provision.spec.migrations import migrations
from provision.spec.model import Migrations, Seed, Server
from provision.spec.readers import boolean, choice, comment, identifier, limit, list_of, refuse_own, text
from provision.spec.reading import (
    ONLY_ABSENT,
    Key,
    Reading,
    Reported,
    Wrong,
    attempt,
    by_name,
    failed,
    is_absent,
    listed,
    mapping,
    nearest,
    read_table,
    report_without_meaning,
    scalar,
    shorten,
    unread,
)
from provision.spec.role_names import key_name, mentioned_grantee, mentioned_role, remark_twins
from provision.spec.role_settings import settings
from provision.spec.seeds import seeds
from provision.spec.yaml import Mapping, Node, Scalar, Sequence

ACCESS: Final = ("none", "usage", "read", "write", "maintain")
TEMPLATES: Final = ("template0", "template1")
_ALWAYS_THERE: Final = ("public", "pg_catalog")
SINCE: Final = {"icu": 15, "builtin": 17}
"""The providers of locales that not every version has."""
# What a server's encoding can be, as pg_encoding_to_char() says it: the table pg_enc2name_tbl.
ENCODINGS: Final = tuple(
    """
    UTF8 SQL_ASCII LATIN1 LATIN2 LATIN3 LATIN4 LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 WIN866 WIN874 WIN1250 WIN1251
    WIN1252 WIN1253 WIN1254 WIN1255 WIN1256 WIN1257 WIN1258 KOI8R KOI8U ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8
    EUC_CN EUC_JP EUC_JIS_2004 EUC_KR EUC_TW MULE_INTERNAL
    """.split()  # noqa: SIM905  # a list has a line for each
)


class Databases(NamedTuple):
    """The databases by name, all migrations (those at the top of the file, and those below databases), and seeds."""

    declared: dict[str, Database]
    migrations: tuple[Migrations, ...]
    seeds: tuple[Seed, ...] = ()


def _access(node: Node, reading: Reading) -> dict[str, Any]:
    entries = mapping(node, "`shop_read: read` and the like below it").entries.values()
    return by_name(entries, _access_name, _access_word, reading)


def _access_word(node: Node, reading: Reading, _key: Scalar) -> str:
    if isinstance(node, Sequence):
        advice = "write the word that has these privileges, or list them below `grants` of the database"
        raise Wrong(f"this is a list, and must be one of {listed(ACCESS)}", advice)
    return choice(*ACCESS)(node, reading)


def _access_name(key: Scalar, reading: Reading) -> str:
    name = key_name(key, reading)
    if name == "public":
        raise Wrong("`public` is everybody and not a role", "write `public: usage` beside `access`")
    reading.mention("role", name, key, "access")
    return name


def _encoding(node: Node, reading: Reading) -> str:
    found = scalar(node, "an encoding like `UTF8`")
    folded = re.sub(r"[^a-z0-9]", "", reading.text(found).lower())
    known = {each.replace("_", "").lower(): each for each in ENCODINGS} | {"unicode": "UTF8"}
    if folded not in known:
        meant = nearest(re.sub(r"[^a-z0-9]", "", found.text.lower()), known)
        advice = f"did you mean `{known[meant]}`?" if meant else f"they are {listed(ENCODINGS)}"
        raise Wrong(f"{reading.show(found)} is not an encoding of a database", advice)
    return known[folded]


_state = choice("present", "absent")
SCHEMA_KEYS: dict[str, Key] = {
    "state": Key(_state),
    "owner": Key(mentioned_role("owner")),
    "access": Key(_access),
    "public": Key(choice("none", "usage", "create")),
    "defaults_for": Key(list_of(mentioned_role("defaults_for"), "[shop_owner]")),
    "comment": Key(comment),
}
EXTENSION_KEYS: dict[str, Key] = {
    "name": Key(identifier, required=True, example="name: citext"),
    "state": Key(_state),
    "schema": Key(identifier),
    "version": Key(text("a version", "1.6", verbatim=True)),
    "cascade": Key(boolean),
}


def _schemas(node: Node, reading: Reading) -> dict[str, Schema]:
    entries = mapping(node, "`shop: {}` and the like below it").entries.values()
    remark_twins([key for key, _ in entries], "schemas", reading)
    return by_name(entries, _schema_name, _schema, reading)


def _schema_name(key: Scalar, reading: Reading) -> str:
    name = key_name(key, reading)
    if is_system(name):
        raise Wrong(f"`{shorten(name)}` is a schema of PostgreSQL itself", "remove it, or write another name")
    refuse_own(name)
    return name


def _schema(node: Node, reading: Reading, key: Scalar) -> Schema:
    entries = mapping(node, "`{access: {shop_read: read}}`, or `{}`")
    values = read_table(entries, SCHEMA_KEYS, reading, "a schema")
    absent = is_absent(values, entries, SCHEMA_KEYS.keys() - {"state"}, reading)
    return Schema(key.text, is_absent=absent, place=reading.place(key.mark), **values)


def _extensions(node: Node, reading: Reading, *, database: Database) -> tuple[Extension, ...]:
    if not isinstance(node, Sequence):
        raise Wrong("it must be a list", "for example `[pgcrypto, {name: citext, schema: ext}]`")
    found: dict[str, Extension] = {}
    for item in node.items:
        extension = attempt(partial(_extension, schemas=database.schemas), item, reading)
        if not failed(extension) and extension.name in found:
            reading.report(item.mark, "this extension is in the list already", "keep one of the two")
        elif not failed(extension):
            found[extension.name] = extension
    return tuple(found.values())


def _extension(node: Node, reading: Reading, *, schemas: MappingType[str, Schema]) -> Extension:
    place = reading.place(node.mark)
    if not isinstance(node, Mapping):
        return Extension(identifier(node, reading), place=place)
    values = read_table(node, EXTENSION_KEYS, reading, "an extension")
    if "name" not in values:
        raise Reported
    absent = is_absent(values, node, ("schema", "version", "cascade"), reading)
    if not absent and "schema" in values:
        _check_schema(values["schema"], scalar(node.entries["schema"][1], "a name"), schemas, reading)
    return Extension(is_absent=absent, place=place, **values)


def _check_schema(name: str, node: Scalar, schemas: MappingType[str, Schema], reading: Reading) -> None:
    """Report the schema of an extension that the database does not have by itself, nor by the spec."""
    if name in schemas and schemas[name].is_absent:
        message = f"the schema {reading.show(node)} has `state: absent`"
        reading.report(node.mark, message, "keep the schema, or name another one")
    elif name not in schemas and name not in _ALWAYS_THERE:
        meant = nearest(node.text, schemas)
        advice = f"did you mean `{meant}`?" if meant else "add it there; `{}` behind its name is enough"
        reading.report(node.mark, f"there is no schema {reading.show(node)} below `schemas`", advice)


def database_keys(major: int) -> dict[str, Key]:
    """Return the keys of a database; what some of them may be depends on the major version, 0 where it is not known."""
    return {
        "state": Key(_state),
        "owner": Key(mentioned_role("owner")),
        "template": Key(identifier),
        "encoding": Key(_encoding),
        "locale": Key(text("a locale", "C.UTF-8")),
        "provider": Key(choice("libc", "icu", "builtin")),
        "icu_locale": Key(text("a locale of ICU", "en-US")),
        "tablespace": Key(identifier),
        "connection_limit": Key(limit("connections")),
        "allow_connections": Key(boolean),
        "comment": Key(comment),
        "connect": Key(list_of(mentioned_grantee("connect"), "[shop_read]")),
        "temporary": Key(list_of(mentioned_grantee("temporary"), "[shop_write]")),
        "settings": Key(settings(major)),
        "schemas": Key(_schemas),
        "extensions": Key(unread),
        "grants": Key(unread),
        "migrations": Key(unread),
        "sessions": Key(choice("refuse", "end")),
        "seeds": Key(unread),
        "backup": Key(backup),
    }


_READ_LATER = ("extensions", "grants", "migrations", "seeds")
_FIELDS = {"state": "is_absent", "sessions": "ends_sessions"}


def databases(node: Node, reading: Reading, server: Server, above: Databases) -> Databases:
    """Read every database by name; what concerns roles is judged by :mod:`provision.spec.role_checks`.

    ``above`` are the migrations and seeds at the top of the file, which go to the database of the server.
    """
    trees, sown = list(above.migrations), list(above.seeds)
    entries = mapping(node, "`shop: {owner: app}` and the like below it").entries.values()
    remark_twins([key for key, _ in entries], "databases", reading)
    read = partial(_database, keys=database_keys(server.major), server=server, all_=(trees, sown))
    return Databases(by_name(entries, _database_name, read, reading), tuple(trees), tuple(sown))


def _database_name(key: Scalar, reading: Reading) -> str:
    name = key_name(key, reading)
    if name in TEMPLATES:
        raise Wrong(f"`{name}` is a template of new databases, and is not managed", "remove it, or write another name")
    return name


def _database(
    node: Node,
    reading: Reading,
    key: Scalar,
    *,
    keys: dict[str, Key],
    server: Server,
    all_: tuple[list[Migrations], list[Seed]],
) -> Database:
    entries = mapping(node, "`{owner: app}`, or `{}`")
    before = len(reading.missing)
    values = read_table(entries, keys, reading, "a database")
    inside = {each: values.pop(each) for each in _READ_LATER if each in values}
    values["state"] = values.get("state") == "absent"
    values["sessions"] = values.get("sessions") == "end"
    place = reading.place(key.mark)
    database = Database(key.text, place=place, **{_FIELDS.get(each, each): value for each, value in values.items()})
    _check(database, entries, reading, server)
    readers: dict[str, Callable[[Node, Reading], Any]] = {
        "extensions": partial(_extensions, database=database),
        "grants": partial(grants, database=database, major=server.major),
        "migrations": partial(migrations, database=database.name, others=all_[0], meant=server.database),
        "seeds": partial(seeds, database=database.name),
    }
    found = {each: attempt(readers[each], inside[each], reading, key=each) for each in readers if each in inside}
    found = {each: value for each, value in found.items() if not failed(value)}
    if len(reading.missing) > before:
        raise Reported  # a variable that it needs is not set
    all_[0].extend(found.pop("migrations", ()))
    all_[1].extend(found.pop("seeds", ()))
    return replace(database, **found)


def _check(database: Database, entries: Mapping, reading: Reading, server: Server) -> None:
    """Report keys that contradict each other, or that this version of PostgreSQL does not have."""
    at = partial(reading.refuse, entries)
    if database.is_absent:
        others = database_keys(0).keys() - {"state", "sessions"}
        report_without_meaning(others, entries, reading, "with `state: absent`")
        if database.name == MAINTENANCE:
            at("state", f"`{MAINTENANCE}` is the database from which others are made and removed", "remove it")
        elif database.name == server.database:
            at("state", "this is the database of the server", "name another one in `server.database`, or keep this one")
        return
    at("sessions", "`sessions` has a meaning only with `state: absent`", ONLY_ABSENT)
    if database.template == database.name:
        at("template", "a database cannot be made from itself", "write `template0`, or remove it")
    within = [each for each in ("schemas", *_READ_LATER) if each in entries.entries]
    if database.allow_connections is False and within:
        message = f"no connection is allowed, and {listed(within)} need one"
        at("allow_connections", message, "remove it, or what is inside")
    _check_locale(database, at, server.major)


def _check_locale(database: Database, at: Callable[[str, str, str], None], major: int) -> None:
    provider = database.provider
    if provider is not None and 0 < major < SINCE.get(provider, 0):
        message = f"the provider `{provider}` exists from PostgreSQL {SINCE[provider]} on, and this is {major}"
        at("provider", message, "remove it, or write `libc`")
    elif provider == "icu" and database.icu_locale is None:
        at("provider", "`provider: icu` needs `icu_locale`", "for example `icu_locale: en-US`")
    elif provider == "builtin" and database.locale is None:
        at("provider", "`provider: builtin` needs `locale`", "for example `locale: C.UTF-8`")
    if database.icu_locale is not None and provider != "icu":
        advice = "write that beside it" if not 0 < major < SINCE["icu"] else "remove it"
        at("icu_locale", "`icu_locale` has a meaning only with `provider: icu`", advice)
