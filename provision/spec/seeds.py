"""The section ``seeds``: files and programs that bring a database its first rows, in the order in which they run."""

from __future__ import annotations

import glob
import os.path
import shlex
from collections.abc import Sequence as Sequence_
from functools import partial
from pathlib import Path
from typing import Any, Final

from provision.model.sql import identifier as quoted
from provision.spec.migrations import argv, named_role
from provision.spec.model import Seed
from provision.spec.object_names import NotANameError, parse
from provision.spec.readers import choice, existing, identifier, list_of, path, text
from provision.spec.reading import (
    Key,
    Reading,
    Reported,
    Wrong,
    all_of,
    listed,
    mapping,
    read_table,
    report_without_meaning,
    scalar,
)
from provision.spec.yaml import Node, Scalar, Sequence

RUN: Final = ("once", "changed", "always")
_SOURCES: Final = ("sql", "csv", "command")
_OF_CSV: Final = ("table", "columns", "key")
_LONGEST_NAME: Final = 2


def _files(node: Node, reading: Reading) -> Path:
    """Read a path in which ``*`` can stand; something has to be there."""
    found = path(node, reading)
    if not glob.has_magic(str(found)) or found.exists():
        return existing("a seed", directory=False)(node, reading)
    if not any(os.path.isfile(each) for each in glob.iglob(str(found), recursive=True)):  # noqa: PTH113, PTH207
        shown = reading.show(scalar(node, "a path"))
        advice = f"relative paths start in the directory of the spec, {reading.directory(node)}"
        raise Wrong(f"{shown} finds no file", advice)
    return found


def _table(node: Node, reading: Reading) -> str:
    written = text("a table", "shop.countries", verbatim=True)(node, reading)
    try:
        parts, rest = parse(written)
    except NotANameError as error:
        raise Wrong(str(error), error.advice) from None
    if rest or len(parts) > _LONGEST_NAME:
        raise Wrong(f"{reading.show(scalar(node, ''))} is not the name of a table", "for example `shop.countries`")
    return quoted(*parts)


def _key(node: Node, reading: Reading) -> tuple[str, ...]:
    if isinstance(node, Sequence):
        return list_of(identifier, "[country, year]")(node, reading)
    return (identifier(node, reading),)


SEED_KEYS: Final = {
    "sql": Key(_files),
    "csv": Key(_files),
    "command": Key(argv),
    "run": Key(choice(*RUN)),
    "table": Key(_table),
    "columns": Key(list_of(identifier, "[code, name]")),
    "key": Key(_key),
    "as": Key(partial(named_role, use="as")),
}


def seeds(node: Node, reading: Reading, *, database: str | None = None) -> tuple[Seed, ...]:
    """Read a list of seeds, for a database or for the one of the server."""
    if not isinstance(node, Sequence):
        raise Wrong("it must be a list", "for example `[{sql: seeds/countries.sql}]`")
    found: list[Seed] = []
    for item in node.items:
        found += all_of(partial(_seed, database=database, others=found), (item,), reading)
    return tuple(found)


def _seed(node: Node, reading: Reading, *, database: str | None, others: Sequence_[Seed]) -> Seed:
    entries = mapping(node, "`{sql: seeds/countries.sql}`")
    values = read_table(entries, SEED_KEYS, reading, "a seed")
    sources = [each for each in _SOURCES if each in entries.entries]
    if len(sources) != 1:
        what = f"there are both {listed(sources[:2])}" if sources else "it needs `sql`, `csv` or `command`"
        raise Wrong(what, "keep one of them" if sources else "for example `sql: seeds/countries.sql`")
    kind, run = sources[0], values.get("run", "once")
    if kind != "csv":
        report_without_meaning(_OF_CSV, entries, reading, "without `csv`")
    elif run == "once":
        report_without_meaning(("key",), entries, reading, "with `run: once`, which only inserts")
    if kind not in values:
        raise Reported
    written = entries.entries[kind][1]
    name = _written(written)
    if any((each.kind, each.name) == (kind, name) for each in others):
        raise Wrong("this seed is in the list already", "keep one of the two")
    given: dict[str, Any] = {each: values[each] for each in (*_OF_CSV, "run") if each in values}
    given |= {"argv": values[kind]} if kind == "command" else {"pattern": values[kind]}
    place = reading.place(entries.mark)
    return Seed(kind, name, login=values.get("as"), database=database, place=place, **given)


def _written(node: Node) -> str:
    """Return a source as it is in the file, with no variable put in."""
    if isinstance(node, Sequence):
        return shlex.join([each.text for each in node.items if isinstance(each, Scalar)])
    return node.text if isinstance(node, Scalar) else ""
