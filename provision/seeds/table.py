"""A CSV file into a table: ``COPY`` for a seed that runs once, else by a temporary table, so that rows are updated.

https://www.postgresql.org/docs/current/sql-copy.html (it writes the numbers of the file also into a column that is
``GENERATED ALWAYS AS IDENTITY``), https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, NamedTuple, TextIO

from provision.model.sql import identifier
from provision.seeds.script import ScriptError
from provision.spec.reading import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import psycopg2.extensions

    from provision.spec.model import Seed

_TEMPORARY = "pg_temp.provision_seed"
_NUMBER = r"^[0-9]+[_.-]"
_COLUMNS = """
SELECT attname::text, attidentity = 'a', attnum = ANY (coalesce(
    (SELECT indkey::int2[] FROM pg_catalog.pg_index WHERE indrelid = attrelid AND indisprimary), '{}'))
FROM pg_catalog.pg_attribute
WHERE attrelid = pg_catalog.to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


class Loaded(NamedTuple):
    """The table, as SQL writes it, and how many rows came into it or were updated."""

    table: str
    rows: int


class Columns(NamedTuple):
    """The columns of a table, those of its primary key, and those that only the server may give another value."""

    names: tuple[str, ...]
    key: tuple[str, ...]
    generated: tuple[str, ...]


def table_of(seed: Seed, path: Path) -> str:
    """Return the table of a file, as SQL writes it: declared, or by its name without a number before it.

    >>> from pathlib import Path
    >>> from provision.spec.model import Seed
    >>> table_of(Seed("csv", ""), Path("seeds/02_shop.countries.csv"))
    '"shop"."countries"'
    """
    if seed.table is not None:
        return seed.table
    return identifier(*re.sub(_NUMBER, "", path.stem).split(".", 1))


def header(seed: Seed, file: TextIO) -> tuple[str, ...]:
    """Return the columns of a file that was opened, which is at its beginning afterwards.

    Raises:
        ScriptError: it has none.
    """
    first = tuple([each.strip() for each in next(csv.reader(file), [])])
    file.seek(0)
    if seed.columns and [each.casefold() for each in first] == [each.casefold() for each in seed.columns]:
        raise ScriptError(1, "the first line names the columns, and so does the spec", "remove `columns`")
    if not seed.columns and not any(first):
        raise ScriptError(1, "there is no header line", "write the names of the columns there, or as `columns`")
    return seed.columns or first


def load(cursor: psycopg2.extensions.cursor, seed: Seed, path: Path, file: TextIO, named: tuple[str, ...]) -> Loaded:
    """Bring a file into its table; ``named`` are the columns of the file.

    The header line is left to the server, which so counts the lines as an editor does.

    Raises:
        ScriptError: the table, or a column, is not there, or nothing tells rows apart.
        psycopg2.Error: the server refuses a row.
    """
    table = table_of(seed, path)
    there = columns(cursor, table)
    _check(table, named, there)
    listed = ", ".join(map(identifier, named))
    options = f"(FORMAT csv, HEADER {'false' if seed.columns else 'true'})"
    if seed.run == "once":
        cursor.copy_expert(f"COPY {table} ({listed}) FROM STDIN WITH {options}", file)
        return Loaded(table, cursor.rowcount)
    key = _key(seed, table, named, there)
    name = _TEMPORARY.partition(".")[2]
    cursor.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {listed} FROM {table} WITH NO DATA")  # noqa: S608  # quoted
    cursor.copy_expert(f"COPY {_TEMPORARY} ({listed}) FROM STDIN WITH {options}", file)
    cursor.execute(merge(table, named, key, there.generated))
    return Loaded(table, cursor.rowcount)


def merge(table: str, named: Sequence[str], key: Sequence[str], generated: Sequence[str]) -> str:
    """Return the statement that brings the rows of the temporary table in, and updates those that are there.

    >>> merge("t", ("id", "name"), ("id",), ())[-66:]
    'ON CONFLICT ("id") DO UPDATE SET "name" = excluded."name"'[-66:]
    """
    listed = ", ".join(map(identifier, named))
    rest = [each for each in named if each not in key and each not in generated]
    values = ", ".join([f"{identifier(each)} = excluded.{identifier(each)}" for each in rest])
    what = f"UPDATE SET {values}" if values else "NOTHING"
    return (
        f"INSERT INTO {table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {listed} FROM {_TEMPORARY} "  # noqa: S608
        f"ON CONFLICT ({', '.join(map(identifier, key))}) DO {what}"
    )


def columns(cursor: psycopg2.extensions.cursor, table: str) -> Columns:
    """Return what a table has.

    Raises:
        ScriptError: there is none.
    """
    cursor.execute(_COLUMNS, (table,))
    found = cursor.fetchall()
    if not found:
        advice = "write its name as `table`, or let a revision make it"
        raise ScriptError(0, f"there is no table {_plain(table)}", advice)
    return Columns(
        tuple([name for name, _, _ in found]),
        tuple([name for name, _, is_key in found if is_key]),
        tuple([name for name, is_generated, _ in found if is_generated]),
    )


def _check(table: str, named: Sequence[str], there: Columns) -> None:
    for each in named:
        if each not in there.names:
            meant = nearest(each, there.names)
            advice = f"did you mean {meant}?" if meant else f"it has {', '.join(there.names)}"
            raise ScriptError(1, f"the table {_plain(table)} has no column {each!r}", advice)
    if twice := next((each for each in named if named.count(each) > 1), None):
        raise ScriptError(1, f"the column {twice!r} is there twice", "keep one of the two")


def _key(seed: Seed, table: str, named: Sequence[str], there: Columns) -> Sequence[str]:
    key = seed.key or there.key
    if not key:
        advice = "write `key`: the columns of one that is unique"
        raise ScriptError(0, f"the table {_plain(table)} has no primary key, so nothing tells its rows apart", advice)
    if missing := [each for each in key if each not in named]:
        what = "the key" if seed.key else f"the primary key of {_plain(table)}"
        advice = "add the column, or write another `key`"
        raise ScriptError(1, f"{what} is {', '.join(key)}, and the file has no {missing[0]}", advice)
    return key


def _plain(table: str) -> str:
    return table.replace('"', "")
