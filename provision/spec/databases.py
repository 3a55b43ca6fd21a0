"""The section ``databases``: what each database is, and what is in it.

https://www.postgresql.org/docs/current/sql-createdatabase.html
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from provision.spec.access import Database, Extension, Schema
from provision.spec.grants import grants
from provision.spec.migrations import migrations
from provision.spec.readers import boolean, choice, identifier, text
from provision.spec.reading import LATER, Key, Mention, Wrong, attempt, failed, mapping, read_table
from provision.spec.role_settings import settings
from provision.spec.roles import comment, connection_limit, grantee, names, role_name
from provision.spec.yaml import Mapping, Sequence

if TYPE_CHECKING:
    from provision.spec.model import Migrations
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node, Scalar


class Databases(NamedTuple):
    """The databases by name, and the migrations that are written below them."""

    declared: dict[str, Database]
    migrations: tuple[Migrations, ...]


access_word = choice("none", "usage", "read", "write", "maintain")


def _access(node: Node, reading: Reading) -> dict[str, Any]:
    found = {}
    for name, (key, value) in mapping(node, "`shop_read: read` and the like below it").entries.items():
        reading.mentions.append(Mention("role", name, key.mark, "access"))
        word = attempt(access_word, value, reading)
        if not failed(word):
            found[name] = word
    return found


_state = choice("present", "absent")
SCHEMA_KEYS: dict[str, Key] = {
    "state": Key(_state),
    "owner": Key(role_name("owner")),
    "access": Key(_access),
    "public": Key(choice("none", "usage", "create")),
    "defaults_for": Key(names(role_name("defaults_for"), "[shop_owner]")),
    "comment": Key(comment),
}
EXTENSION_KEYS: dict[str, Key] = {
    "name": Key(identifier, required=True, example="name: citext"),
    "schema": Key(identifier),
    "version": Key(text("a version", "1.6", verbatim=True)),
    "cascade": Key(boolean),
    "state": Key(_state),
}


def _schemas(node: Node, reading: Reading) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for name, (key, value) in mapping(node, "`shop: {}` and the like below it").entries.items():
        if not failed(attempt(identifier, key, reading)):
            schema = attempt(partial(_schema, name=name, key=key), value, reading)
            if not failed(schema):
                found[name] = schema
    return found


def _schema(node: Node, reading: Reading, *, name: str, key: Scalar) -> Schema:
    values = read_table(mapping(node, "`{access: {shop_read: read}}`, or `{}`"), SCHEMA_KEYS, reading, "a schema")
    is_absent = values.pop("state", "") == "absent"
    return Schema(name, is_absent=is_absent, place=f"{reading.path}:{key.mark.line}", **values)


def _extensions(node: Node, reading: Reading) -> tuple[Extension, ...]:
    if not isinstance(node, Sequence):
        raise Wrong("it must be a list", "for example `[pgcrypto, {name: citext, schema: ext}]`")
    found = [attempt(_extension, each, reading) for each in node.items]
    return tuple(each for each in found if not failed(each) and each is not None)


def _extension(node: Node, reading: Reading) -> Extension | None:
    place = f"{reading.path}:{node.mark.line}"
    if not isinstance(node, Mapping):
        return Extension(identifier(node, reading), place=place)
    values = read_table(node, EXTENSION_KEYS, reading, "an extension")
    is_absent = values.pop("state", "") == "absent"
    return Extension(is_absent=is_absent, place=place, **values) if "name" in values else None


def database_keys(major: int) -> dict[str, Key]:
    """Return the keys of a database; what its settings may be depends on the major version."""
    return {
        "state": Key(_state),
        "owner": Key(role_name("owner")),
        "template": Key(identifier),
        "encoding": Key(text("an encoding", "UTF8")),
        "locale": Key(text("a locale", "C.UTF-8")),
        "provider": Key(choice("libc", "icu", "builtin")),
        "icu_locale": Key(text("a locale of ICU", "en-US")),
        "tablespace": Key(identifier),
        "connection_limit": Key(connection_limit),
        "allow_connections": Key(boolean),
        "comment": Key(comment),
        "connect": Key(names(grantee("connect"), "[shop_read]")),
        "temporary": Key(names(grantee("temporary"), "[shop_write]")),
        "settings": Key(settings(major)),
        "schemas": Key(_schemas),
        "extensions": Key(_extensions),
        "grants": Key(partial(grants, major=major)),
        "migrations": Key(lambda node, _: node),
        "sessions": Key(choice("refuse", "end")),
        "seeds": LATER,
        "backup": LATER,
    }


DATABASE_KEYS = database_keys(0)
_FIELDS = {"state": "is_absent", "sessions": "ends_sessions"}


def databases(node: Node, reading: Reading, major: int) -> Databases:
    """Read every database by name."""
    found: dict[str, Database] = {}
    trees: list[Migrations] = []
    for name, (key, value) in mapping(node, "`shop: {owner: app}` and the like below it").entries.items():
        if reading.is_full:
            break
        if failed(attempt(identifier, key, reading)):
            continue
        database = attempt(partial(_database, name=name, key=key, major=major, trees=trees), value, reading)
        if not failed(database) and database is not None:
            found[name] = database
    return Databases(found, tuple(trees))


def _database(
    node: Node, reading: Reading, *, name: str, key: Scalar, major: int, trees: list[Migrations]
) -> Database | None:
    entries = mapping(node, "`{owner: app}`, or `{}`")
    values = read_table(entries, database_keys(major), reading, "a database")
    if "migrations" in values:
        read = attempt(partial(migrations, database=name), values.pop("migrations"), reading, key="migrations")
        trees += () if failed(read) else read
    if reading.may_lack and not values.keys() | {"migrations"} >= entries.entries.keys():
        return None  # a variable that it needs is not set, and that was reported
    values["state"] = values.get("state") == "absent"
    values["sessions"] = values.get("sessions") == "end"
    place = f"{reading.path}:{key.mark.line}"
    return Database(name, place=place, **{_FIELDS.get(each, each): value for each, value in values.items()})
