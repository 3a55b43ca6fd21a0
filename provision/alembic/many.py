"""Where many databases, or many schemas of one, are in a tree: with as few, and as cheap, questions as it takes.

Where there is nothing to do, that is all that a run does. So what concerns only tenants that are behind is asked of
those, and of the ledger nothing but what differs from the files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from provision.alembic.state import Revisions, observed
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.version_table import (
    LEDGER,
    LEDGER_IS_READABLE,
    LedgerEntry,
    compare_files,
    quoted,
    read_rows,
    rows_by_name,
    table_name,
)
from provision.model import Query
from provision.model.sql import identifier
from provision.model.value import replace
from provision.spec.model import Migrations, Spec

# The holder is asked for as in version_table._UNWRITABLE: a role that is not there yet has no privilege.
_TABLES = f"""
SELECT nspname::text, c.oid IS NOT NULL, CASE WHEN atttypmod < 4 THEN 2147483647 ELSE atttypmod - 4 END,
    CASE WHEN %(owner)s::text IS NOT NULL AND NOT coalesce((
        SELECT bool_and(has_table_privilege(r.oid, c.oid, privilege))
        FROM pg_roles AS r, unnest('{{SELECT,INSERT,UPDATE,DELETE}}'::text[]) AS t (privilege)
        WHERE rolname = %(owner)s), false) THEN pg_get_userbyid(relowner)::text END,
    {LEDGER_IS_READABLE}
FROM unnest(%(names)s::text[]) AS named (name) JOIN pg_namespace AS n ON nspname = name
LEFT JOIN pg_class AS c ON relnamespace = n.oid AND relname = %(table)s AND relkind IN ('r', 'p')
LEFT JOIN pg_attribute AS a ON attrelid = c.oid AND attname = 'version_num'
"""  # noqa: S608  # nothing in it comes from elsewhere
_EDITED = f"""
SELECT version_table, revision, sha256, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {LEDGER}
WHERE version_table = ANY (%(tables)s) AND sha256 <> %(digests)s::jsonb ->> revision
"""  # noqa: S608  # nothing in it comes from elsewhere
# A superuser may look a name up in any schema, and that is the cheapest question about a table.
_THERE = f"""
SELECT to_regclass(%(table)s) IS NOT NULL, to_regclass('{LEDGER}') IS NOT NULL, current_schema(),
    to_regclass(%(table)s) IS NULL
        AND EXISTS (SELECT FROM unnest(%(created)s::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL)
"""  # noqa: S608  # nothing in it comes from elsewhere
_STRANDED = """
SELECT nspname::text, relname::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname = ANY (%s) AND relname = ANY (%s) AND relkind IN ('r', 'p') ORDER BY 1, 2
"""


def database_of(tree: Migrations, graph: Graph, query: Query, spec: Spec) -> Revisions:
    """Return where the database of a tree is; ``query`` goes there by itself.

    Raises:
        UnavailableError: the server cannot be reached.
        RefusedError: our role may not read the version table.
    """
    if tree.owner is None and not graph.long and (found := _briefly(tree, graph, query)) is not None:
        return found
    return observed(tree, graph, query, spec=spec)


def _briefly(tree: Migrations, graph: Graph, query: Query) -> Revisions | None:
    """Return where a database is; None: more has to be asked, because it has tables, and no row says which they are."""
    if not tree.ledger:
        rows = read_rows(tree, query)
        return Revisions(rows) if rows else None
    table = table_name(tree)
    asked: dict[str, object] = {"table": table, "created": quoted(graph.creates)}
    ((is_there, has_ledger, schema, collides),) = query.rows(_THERE, asked)
    if not is_there:
        return None if collides or has_ledger else Revisions((), known=compare_files(graph, (), {}))
    sql, asked = f"SELECT version_num::text, NULL, NULL, NULL FROM {table}", {}  # noqa: S608  # quoted
    if has_ledger:
        sql = f"{sql.replace('%', '%%')} UNION ALL {_EDITED}"
        key = identifier(tree.version_table_schema or schema, tree.version_table)
        asked = {"tables": [key], "digests": _digests(graph)}
    found = query.rows(sql, asked)
    rows = tuple(sorted([row for row, *rest in found if not any(rest)]))
    entries = {revision: LedgerEntry(sha256, applied_at) for _, revision, sha256, applied_at in found if revision}
    return Revisions(rows, known=compare_files(graph, rows, entries)) if rows else None


def _digests(graph: Graph) -> str:
    return json.dumps({each.id: each.sha256 for each in graph.revisions.values()})


def schemas_of(tree: Migrations, graph: Graph, names: Sequence[str], query: Query) -> dict[str, Revisions]:
    """Return where the schemas are that exist, in the order of their names.

    Raises:
        UnavailableError: the server cannot be reached.
        RefusedError: our role may not read a version table.
    """
    asked = {"names": list(names), "table": tree.version_table, "owner": tree.owner}
    found = {name: each for name, *each in query.rows(_TABLES, asked)} if names else {}
    tables = {name: identifier(name, tree.version_table) for name, (is_there, *_) in found.items() if is_there}
    rows = rows_by_name(tables, query)
    states = {
        name: Revisions(rows.get(name, ()), width=found[name][1] if graph.long else None, holder=found[name][2])
        for name in names
        if name in found
    }
    if tree.ledger and any(is_readable for *_, is_readable in found.values()):
        states |= _edited(graph, states, tables, query)
    return states | _stranded(graph, states, query)


def _edited(graph: Graph, states: dict[str, Revisions], tables: dict[str, str], query: Query) -> dict[str, Revisions]:
    """Return the schemas with revisions whose files were edited; what the ledger has of others is not asked for."""
    entries: dict[str, dict[str, LedgerEntry]] = {}
    asked = {"tables": list(tables.values()), "digests": _digests(graph)}
    for table, revision, sha256, applied_at in query.rows(_EDITED, asked):
        entries.setdefault(table, {})[revision] = LedgerEntry(sha256, applied_at)
    return {
        name: replace(states[name], known=compare_files(graph, states[name].rows, entries[table]))
        for name, table in tables.items()
        if table in entries
    }


def _stranded(graph: Graph, states: dict[str, Revisions], query: Query) -> dict[str, Revisions]:
    """Return the schemas without a revision that have tables which the tree would create."""
    empty = [name for name, state in states.items() if not state.rows]
    created = [table for revision in graph.revisions.values() for schema, table in revision.creates if schema is None]
    if not empty or not created:
        return {}
    found: dict[str, list[str]] = {}
    for name, table in query.rows(_STRANDED, (empty, created)):
        found.setdefault(name, []).append(identifier(table))
    return {name: replace(states[name], stranded=tuple(tables)) for name, tables in found.items()}
