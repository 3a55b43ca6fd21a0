"""The key ``tenants`` of migrations: which databases or schemas one tree migrates, and in which manner."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping as MappingType
from typing import Any, Literal

from provision.model.tenants import Tenants
from provision.model.value import replace
from provision.spec.readers import choice, identifier, list_of, number, refuse_own
from provision.spec.reading import (
    Key,
    Reading,
    Reported,
    Wrong,
    mapping,
    nearest,
    read_table,
    report_without_meaning,
    scalar,
    shorten,
)
from provision.spec.yaml import Mapping, Node, Sequence

MOST_WORKERS = 64
_EXAMPLE = "`databases: {query: \"SELECT datname FROM pg_database WHERE datname LIKE 'shop\\\\_%'\"}` below it"
_TEMPLATES = ("options", "env", "x")
_TENANT = r"(?<!\{)\{tenant\}"


def _name(node: Node, reading: Reading) -> str:
    value = identifier(node, reading)
    refuse_own(value)
    return value


_names = list_of(_name, "[shop_a, shop_b]")


def _query(node: Node, reading: Reading) -> str:
    value = reading.text(scalar(node, "a statement of SQL")).strip()
    if not value or "\0" in value:
        raise Wrong("it is not a statement of SQL", "for example `SELECT datname FROM pg_database`")
    return value


QUERY_KEYS = {"query": Key(_query, required=True, example="query: SELECT datname FROM pg_database")}


def which(kind: Literal["databases", "schemas"]) -> Callable[[Node, Reading], Tenants]:
    """Return a reader of a list of names, or of the query that says them."""

    def read(node: Node, reading: Reading) -> Tenants:
        if isinstance(node, Sequence):
            if not (names := _names(node, reading)):
                raise Wrong("the list is empty", "name the tenants, or ask for them: `{query: SELECT …}`")
            return Tenants(kind, names, place=reading.place(node.mark))
        if not isinstance(node, Mapping):
            raise Wrong("it is neither a list nor a query", "for example `[shop_a, shop_b]`, or `{query: SELECT …}`")
        values = read_table(node, QUERY_KEYS, reading, f"`{kind}`")
        at = node.entries["query"][1] if "query" in node.entries else node
        return Tenants(kind, query=values.get("query", ""), place=reading.place(at.mark))

    return read


TENANTS_KEYS = {
    "databases": Key(which("databases")),
    "schemas": Key(which("schemas")),
    "workers": Key(number("processes", MOST_WORKERS)),
    "first": Key(_names),
    "on_failure": Key(choice("stop", "continue")),
}


def tenants(node: Node, reading: Reading) -> Tenants:
    """Read the section.

    Raises:
        Wrong: it does not say whether they are databases or schemas.
    """
    entries = mapping(node, _EXAMPLE)
    values = read_table(entries, TENANTS_KEYS, reading, "`tenants`")
    kinds = [each for each in ("databases", "schemas") if each in entries.entries]
    if len(kinds) != 1:
        what = "both `databases` and `schemas`" if kinds else "neither `databases` nor `schemas`"
        raise Wrong(f"there are {what}, and tenants are one of the two", "keep one" if kinds else f"write {_EXAMPLE}")
    if kinds[0] not in values:
        raise Reported
    found: Tenants = replace(values.pop(kinds[0]), **values)
    unknown = [each for each in found.first if each not in found.names] if found.names else []
    if unknown:
        meant = nearest(unknown[0], found.names)
        advice = f"did you mean `{shorten(meant)}`?" if meant else f"add it to `{found.kind}`"
        raise Wrong(
            f"`first` names `{shorten(unknown[0])}`, which is no tenant", advice, at=entries.entries["first"][1]
        )
    return found


def check(entries: Mapping, values: MappingType[str, Any], reading: Reading) -> None:
    """Report what contradicts ``tenants`` among the other keys of a tree, and ``{tenant}`` where there are none."""
    found: Tenants | None = values.get("tenants")
    for key in _TEMPLATES if "tenants" not in entries.entries else ():
        for name, secret in values.get(key, {}).items():
            if re.search(_TENANT, secret.reveal()):
                at = entries.entries[key][1]
                at = at.entries[name][1] if isinstance(at, Mapping) else at
                reading.report(at.mark, f"`{name}`: `{{tenant}}` needs `tenants`", "declare `tenants` for this tree")
    without = ["command"] if found else []
    without += ["version_table_schema"] if found and found.kind == "schemas" else []
    for key in without:
        why = "each schema has a version table" if key != "command" else "one process migrates many of them"
        report_without_meaning((key,), entries, reading, f"with `tenants`: {why}")
