"""The version table: what Alembic wrote down in the database about what is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provision.model import Query
    from provision.spec.model import Migrations

_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_EXISTING = """
SELECT name FROM unnest(%s::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL ORDER BY name
"""


def table_name(tree: Migrations) -> str:
    """Return the version table as an identifier of SQL; without a schema it is found through the search path."""
    return identifier(tree.version_table_schema, tree.version_table)


def read_rows(tree: Migrations, query: Query) -> tuple[str, ...] | None:
    """Return the rows of the version table, sorted, or None where there is no such table.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = table_name(tree)
    if query.rows(_THERE, (table,)) != [(True,)]:
        return None
    return tuple(sorted(str(row[0]) for row in query.rows(f"SELECT version_num FROM {table}")))  # noqa: S608  # quoted


def existing(tables: Iterable[tuple[str | None, str]], query: Query) -> tuple[str, ...]:
    """Return those of ``tables`` (schema or None, name) that the database has.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    names = [identifier(schema, table) for schema, table in tables]
    return tuple([str(row[0]) for row in query.rows(_EXISTING, (names,))]) if names else ()


def identifier(schema: str | None, name: str) -> str:
    """Return a quoted, possibly qualified name."""
    parts = [name] if schema is None else [schema, name]
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)
