"""The version table: what Alembic wrote down in the database about what is applied; and our ledger beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from provision.alembic.tree import ledger
from provision.model.sql import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provision.model import Query
    from provision.spec.model import Migrations

_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_BOTH_THERE = f"SELECT to_regclass(%s) IS NOT NULL, {ledger.IS_READABLE}"
_BOTH = """
SELECT version_num::text, NULL, NULL FROM {table}
UNION ALL
SELECT revision, sha256, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {ledger}
WHERE version_table = {key}
"""
_EXISTING = """
SELECT name FROM unnest(%s::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL ORDER BY name
"""
# A type modifier is the length and 4; `text` has none. https://www.postgresql.org/docs/current/catalog-pg-attribute.html
_WIDTH = """
SELECT CASE WHEN atttypmod < 4 THEN 2147483647 ELSE atttypmod - 4 END
FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = 'version_num'
"""


def table_name(tree: Migrations) -> str:
    """Return the version table as an identifier of SQL; without a schema it is found through the search path."""
    return _qualified(tree.version_table_schema, tree.version_table)


def read_rows(tree: Migrations, query: Query) -> tuple[str, ...] | None:
    """Return the rows of the version table, sorted, or None where there is no such table.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = table_name(tree)
    if query.rows(_THERE, (table,)) != [(True,)]:
        return None
    return tuple(sorted(str(row[0]) for row in query.rows(f"SELECT version_num FROM {table}")))  # noqa: S608  # quoted


class Found(NamedTuple):
    """The rows of the version table (None: there is no such table), what the ledger holds, and the other tables."""

    rows: tuple[str, ...] | None
    entries: dict[str, ledger.Entry]
    others: tuple[str, ...] = ()


def read_with_ledger(tree: Migrations, query: Query) -> Found:
    """Return the rows as :func:`read_rows` does, and what the ledger holds: both in as many questions as the first.

    Where there is no ledger, or our role may not read it, nothing is known.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = table_name(tree)
    ((is_there, is_readable),) = query.rows(_BOTH_THERE, (table,))
    if not is_there:
        return Found(None, {})
    if not is_readable:
        return Found(tuple(sorted(str(row[0]) for row in query.rows(f"SELECT version_num FROM {table}"))), {})  # noqa: S608
    sql = _BOTH.format(table=table.replace("%", "%%"), ledger=ledger.TABLE, key=ledger.KEY)
    rows: list[str] = []
    others: list[str] = []
    entries: dict[str, ledger.Entry] = {}
    for name, sha256, applied_at in query.rows(sql, ledger.key(tree, table)):
        if sha256 is None:
            rows.append(name)
        elif sha256 == ledger.OTHER_TABLE:
            others.append(name)
        else:
            entries[name] = ledger.Entry(sha256, applied_at)
    return Found(tuple(sorted(rows)), entries, tuple(sorted(others)))


def rows_of(tables: Sequence[str], query: Query) -> dict[str, tuple[str, ...]]:
    """Return the rows of version tables, which are identifiers of SQL; one that is not there has none.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    there = [str(name) for (name,) in query.rows(_EXISTING, (list(tables),))]
    parts = [f"SELECT {literal(each)}, version_num::text FROM {each}" for each in there]  # noqa: S608  # quoted
    found: dict[str, list[str]] = {each: [] for each in tables}
    for name, row in query.rows(" UNION ALL ".join(parts)) if parts else ():
        found[name].append(row)
    return {name: tuple(sorted(rows)) for name, rows in found.items()}


def key_of(tree: Migrations, query: Query) -> str:
    """Return the version table with its schema, as the ledger names it.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    return str(query.rows(f"SELECT {ledger.KEY}", ledger.key(tree, table_name(tree)))[0][0])


def width(tree: Migrations, query: Query) -> int | None:
    """Return how many characters the version table holds; None where there is no such table.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    found = query.rows(_WIDTH, (table_name(tree),))
    return int(found[0][0]) if found else None


def existing(tables: Iterable[tuple[str | None, str]], query: Query) -> tuple[str, ...]:
    """Return those of ``tables`` (schema or None, name) that the database has.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    names = [_qualified(schema, table) for schema, table in tables]
    return tuple([str(row[0]) for row in query.rows(_EXISTING, (names,))]) if names else ()


def _qualified(schema: str | None, name: str) -> str:
    return identifier(name) if schema is None else identifier(schema, name)
