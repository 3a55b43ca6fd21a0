"""The version table, in which Alembic keeps what is applied, and the ledger beside it.

Alembic knows a revision by its id alone, so it does not see that a file was edited after it ran: databases made before
and after the edit differ for ever. The ledger holds the SHA-256 of each file that we applied. A revision that was
applied in another way has no row there, and nothing is claimed about it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import is_in_repository
from provision.alembic.tree.source import Revision
from provision.model import Query
from provision.model.sql import identifier, literal, owned
from provision.model.value import dataclass
from provision.model.words import some
from provision.spec.model import Migrations

_SCHEMA = "provision"
_NAME = "applied_revisions"
LEDGER = f"{_SCHEMA}.{_NAME}"
_COLUMNS = ("version_table", "revision", "sha256", "applied_at", "provision_version")
_SHOWN = 10

CREATE_LEDGER = f"""
CREATE SCHEMA IF NOT EXISTS {_SCHEMA};
CREATE TABLE {LEDGER} (
    version_table text, revision text, sha256 text NOT NULL, applied_at timestamptz NOT NULL,
    provision_version text NOT NULL, PRIMARY KEY (version_table, revision)
);
COMMENT ON TABLE {LEDGER} IS 'what was in each revision file when provision applied it; can be dropped at any time'
"""


def create_ledger(owner: str | None) -> str:
    """Return the statements that make the ledger; ``owner`` None: our login owns it."""
    return owned(CREATE_LEDGER, _SCHEMA, LEDGER, owner)


_FOUND = f"""
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
WHERE nspname = '{_SCHEMA}' AND relname = '{_NAME}'
"""
LEDGER_IS_THERE = f"EXISTS (SELECT {_FOUND})"
LEDGER_IS_READABLE = f"""
EXISTS (SELECT {_FOUND} AND has_schema_privilege(space.oid, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')
        AND {len(_COLUMNS)} = (SELECT count(*) FROM pg_catalog.pg_attribute
                              WHERE attrelid = pg_class.oid AND attname IN {_COLUMNS}))
"""  # noqa: S608  # nothing in it comes from elsewhere
TABLE_KEY = """
coalesce((pg_identify_object('pg_catalog.pg_class'::regclass, to_regclass(%(table)s), 0)).identity,
         format('%%I.%%I', coalesce(%(schema)s, current_schema()), %(name)s::text))
"""
"""The version table, by its schema and name, whether it is there or not: trees in one database share ids."""


OTHER_TABLE = "version table"
"""In place of a hash: the row names, as its revision, another version table that ``env.py`` kept in the same run."""


def ledger_key(tree: Migrations, table: str) -> dict[str, object]:
    """Return the parameters of :data:`KEY`; ``table`` is the version table as an identifier of SQL."""
    return {"table": table, "schema": tree.version_table_schema, "name": tree.version_table}


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger knows of one revision. ``applied_at`` is in UTC, to the second."""

    sha256: str
    applied_at: str


@dataclass(frozen=True)
class Edit:
    """A revision whose file is not what it was when it was applied."""

    revision: Revision
    entry: LedgerEntry

    def __str__(self) -> str:
        when = f"{self.entry.applied_at} UTC"
        return f"revision {self.revision} was edited after it was applied ({when}): {self.revision.path}"

    @property
    def difference(self) -> str:
        """The command that shows an edit that was not committed; with ``checkout`` for ``diff`` it is taken back."""
        return self._git("diff", "HEAD")

    @property
    def history(self) -> str:
        """The command that shows how the file was changed by commits."""
        return self._git("log", "-p")

    @property
    def is_in_repository(self) -> bool:
        """Whether Git can know the file."""
        return is_in_repository(self.revision.path)

    def _git(self, *words: str) -> str:
        path = self.revision.path
        return shlex.join(("git", "-C", str(path.parent), *words, "--", path.name))


@dataclass(frozen=True)
class Known:
    """What the ledger says about the revisions that are applied: of how many it knows, and which were edited."""

    applied: int
    recorded: int
    edits: tuple[Edit, ...] = ()


def compare_files(graph: Graph, rows: Iterable[str], entries: Mapping[str, LedgerEntry]) -> Known:
    """Compare the files of what is applied with what they were; what this tree does not have cannot be compared."""
    applied = graph.ancestors([row for row in rows if row in graph])
    known = {name: entry for name, entry in entries.items() if name in applied}
    edits = [Edit(graph[name], entry) for name, entry in known.items() if entry.sha256 != graph[name].sha256]
    return Known(len(applied), len(known), tuple(sorted(edits, key=lambda each: str(each.revision.path))))


def edit_remarks(edits: tuple[Edit, ...]) -> Iterator[str]:
    """Yield each edit in a sentence, and once what that means and what to do."""
    yield from some([str(each) for each in edits], _SHOWN)
    if edits:
        first = edits[0]
        if not first.is_in_repository:
            yield "no edit reaches a database that has the revision: take it back, or write a new revision"
            return
        yield (
            f"no edit reaches a database that has the revision: `{first.difference}` shows it (`checkout` for `diff` "
            f"takes it back), or, once it is committed, `{first.history}`; or write a new revision"
        )


_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_BOTH_THERE = f"SELECT to_regclass(%s) IS NOT NULL, {LEDGER_IS_READABLE}"
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


# A role that is not there yet has no privilege.
_UNWRITABLE = """
SELECT pg_get_userbyid(relowner)::text FROM pg_class AS c
WHERE c.oid = to_regclass(%(table)s) AND NOT coalesce((
    SELECT bool_and(has_table_privilege(r.oid, c.oid, privilege))
    FROM pg_roles AS r, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS t (privilege) WHERE rolname = %(owner)s
), false)
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


class Applied(NamedTuple):
    """The rows of the version table (None: there is no such table), what the ledger holds, and the other tables."""

    rows: tuple[str, ...] | None
    entries: dict[str, LedgerEntry]
    others: tuple[str, ...] = ()


def read_with_ledger(tree: Migrations, query: Query) -> Applied:
    """Return the rows as :func:`read_rows` does, and what the ledger holds: both in as many questions as the first.

    Where there is no ledger, or our role may not read it, nothing is known.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = table_name(tree)
    ((is_there, is_readable),) = query.rows(_BOTH_THERE, (table,))
    if not is_there:
        return Applied(None, {})
    if not is_readable:
        return Applied(tuple(sorted(str(row[0]) for row in query.rows(f"SELECT version_num FROM {table}"))), {})  # noqa: S608
    sql = _BOTH.format(table=table.replace("%", "%%"), ledger=LEDGER, key=TABLE_KEY)
    rows: list[str] = []
    others: list[str] = []
    entries: dict[str, LedgerEntry] = {}
    for name, sha256, applied_at in query.rows(sql, ledger_key(tree, table)):
        if sha256 is None:
            rows.append(name)
        elif sha256 == OTHER_TABLE:
            others.append(name)
        else:
            entries[name] = LedgerEntry(sha256, applied_at)
    return Applied(tuple(sorted(rows)), entries, tuple(sorted(others)))


def rows_of_tables(tables: Sequence[str], query: Query) -> dict[str, tuple[str, ...]]:
    """Return the rows of version tables, which are identifiers of SQL; one that is not there has none.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    there = {str(name): str(name) for (name,) in query.rows(_EXISTING, (list(tables),))}
    return {**dict.fromkeys(tables, ()), **rows_by_name(there, query)}


def rows_by_name(tables: Mapping[str, str], query: Query) -> dict[str, tuple[str, ...]]:
    """Return the rows of version tables that have some, by the names that ``tables`` gives these identifiers of SQL."""
    parts = [f"SELECT {literal(name)}, version_num::text FROM {table}" for name, table in tables.items()]  # noqa: S608
    found: dict[str, list[str]] = {}
    for name, row in query.rows(" UNION ALL ".join(parts)) if parts else ():
        found.setdefault(name, []).append(row)
    return {name: tuple(sorted(rows)) for name, rows in found.items()}


def table_key(tree: Migrations, query: Query) -> str:
    """Return the version table with its schema, as the ledger names it.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    return str(query.rows(f"SELECT {TABLE_KEY}", ledger_key(tree, table_name(tree)))[0][0])


def version_num_width(tree: Migrations, query: Query) -> int | None:
    """Return how many characters the version table holds; None where there is no such table.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    found = query.rows(_WIDTH, (table_name(tree),))
    return int(found[0][0]) if found else None


def owner_of_unwritable(tree: Migrations, query: Query) -> str | None:
    """Return who owns the version table, where the sessions of the tree may not write it; None where they may.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    if tree.owner is None:
        return None
    found = query.rows(_UNWRITABLE, {"table": table_name(tree), "owner": tree.owner})
    return str(found[0][0]) if found else None


def existing_tables(tables: Iterable[tuple[str | None, str]], query: Query) -> tuple[str, ...]:
    """Return those of ``tables`` (schema or None, name) that the database has.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    names = quoted(tables)
    return tuple([str(row[0]) for row in query.rows(_EXISTING, (names,))]) if names else ()


def quoted(tables: Iterable[tuple[str | None, str]]) -> list[str]:
    """Return tables (schema or None, name) as identifiers of SQL."""
    return [_qualified(schema, table) for schema, table in tables]


def _qualified(schema: str | None, name: str) -> str:
    return identifier(name) if schema is None else identifier(schema, name)
