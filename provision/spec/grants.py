"""``grants`` of a database: privileges on single objects, which ``access`` cannot say.

https://www.postgresql.org/docs/current/ddl-priv.html
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from provision.spec.access import Grant, Target
from provision.spec.object_names import NotANameError, parse, qualified, quote, signature
from provision.spec.readers import boolean, identifier
from provision.spec.reading import Key, Wrong, attempt, failed, listed, mapping, nearest, read_table, scalar
from provision.spec.roles import grantee, names
from provision.spec.yaml import Sequence

if TYPE_CHECKING:
    from provision.spec.access import ObjectKind
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node


class On(NamedTuple):
    """What a word below ``on`` means."""

    kind: ObjectKind
    is_all: bool = False
    """All objects of the kind in a schema."""
    in_schema: bool = True


_DATABASE_WIDE: Final[tuple[ObjectKind, ...]] = (
    "database",
    "schema",
    "language",
    "fdw",
    "server",
    "large_object",
    "parameter",
)
ON: Final[dict[str, On]] = {
    "table": On("table"),
    "tables": On("table", is_all=True),
    "sequence": On("sequence"),
    "sequences": On("sequence", is_all=True),
    "routine": On("routine"),
    "routines": On("routine", is_all=True),
    "type": On("type"),
    "domain": On("domain"),
    **{kind: On(kind, in_schema=False) for kind in _DATABASE_WIDE},
}
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
OF_COLUMNS: Final = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
ALL: Final = ("ALL",)
_OTHER_WORDS = {"TEMP": "TEMPORARY", "ALL PRIVILEGES": "ALL"}


def _target(node: Node, reading: Reading, *, major: int) -> Target:
    example = "`{table: shop.customers}`"
    entries = mapping(node, example)
    keys = {word: Key(partial(_object, word=word, major=major)) for word in ON}
    columns = Key(partial(_columns, major=major))
    values = read_table(entries, {**keys, "columns": columns}, reading, "`on`")
    columns_ = values.pop("columns", ())
    if len(values) != 1:
        if len(entries.entries.keys() & ON) == 1:
            raise Reported
        raise Wrong("it must name one object, or all of a schema", f"for example {example}, or `{{tables: audit.*}}`")
    (target,) = values.values()
    return Target(target.kind, target.name, target.schema, columns_)


class Reported(Wrong):
    """What is wrong was reported."""

    def __init__(self) -> None:
        super().__init__("")


def _object(node: Node, reading: Reading, *, word: str, major: int) -> Target:
    on = ON[word]
    if not on.in_schema:
        name = identifier(node, reading)
        return Target(on.kind, name if on.kind in ("large_object", "parameter") else quote(name, major))
    found = scalar(node, "the name of an object")
    try:
        parsed = parse(reading.text(found))
        if on.is_all:
            return Target(on.kind, "", parsed.parts[0])
        rest = signature(parsed.rest, major) if on.kind == "routine" else ""
    except NotANameError as error:
        raise Wrong(f"{reading.show(found)}: {error}", error.advice) from None
    schema, name = parsed.parts
    return Target(on.kind, qualified(schema, name, major) + rest)


def _columns(node: Node, reading: Reading, *, major: int) -> tuple[str, ...]:
    return tuple([quote(each, major) for each in names(identifier, "[id, country]")(node, reading)])


def _privileges(node: Node, reading: Reading) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        word = reading.text(scalar(node, "a list of privileges, `all` or `none`")).casefold()
        if word == "none":
            return ()
        if word == "all":
            return ALL
        raise Wrong("it must be a list of privileges, `all` or `none`", "for example `[select]`")
    found = [attempt(_privilege, each, reading) for each in node.items]
    return tuple(dict.fromkeys(each for each in found if not failed(each)))


def _privilege(node: Node, reading: Reading) -> str:
    found = scalar(node, "a privilege")
    word = " ".join(reading.text(found).upper().replace("_", " ").split())
    word = _OTHER_WORDS.get(word, word)
    known = {each for words in PRIVILEGES.values() for each in words}
    if word not in known:
        meant = nearest(word, known)
        advice = f"did you mean `{meant.lower()}`?" if meant else f"they are {listed(sorted(map(str.lower, known)))}"
        raise Wrong(f"{reading.show(found)} is not a privilege", advice)
    return word


def grant_keys(major: int) -> dict[str, Key]:
    """Return the keys of an entry of ``grants``."""
    return {
        "to": Key(grantee("to"), required=True, example="to: shop_report"),
        "on": Key(partial(_target, major=major), required=True, example="on: {table: shop.customers}"),
        "privileges": Key(_privileges, required=True, example="privileges: [select]"),
        "grantable": Key(boolean),
    }


GRANT_KEYS = grant_keys(0)


def grants(node: Node, reading: Reading, *, major: int) -> tuple[Grant, ...]:
    """Read the list of grants."""
    if not isinstance(node, Sequence):
        raise Wrong("it must be a list", "for example `[{to: report, on: {tables: shop.*}, privileges: [select]}]`")
    found: list[Grant] = []
    for item in node.items:
        values: Any = attempt(lambda each, _: mapping(each, "`{to: …, on: …, privileges: …}`"), item, reading)
        if failed(values):
            continue
        values = read_table(values, grant_keys(major), reading, "a grant")
        if values.keys() >= {"to", "on", "privileges"}:
            place = f"{reading.path}:{item.mark.line}"
            found.append(Grant(values["to"], values["on"], values["privileges"], values.get("grantable", False), place))
    return tuple(found)
