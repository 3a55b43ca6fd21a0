"""A version table that is there, in a schema where the sessions of its tree do not find it."""

from __future__ import annotations

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.version_table import table_name
from provision.errors import RefusedError
from provision.model import Query
from provision.model.sql import identifier
from provision.spec.model import Migrations

# A table of a superuser was made before the migrations had a role; one of yet another role is another tree's.
_HIDDEN = """
SELECT nspname::text, has_schema_privilege(o.oid, n.oid, 'USAGE'), array_to_string(current_schemas(false), ', '),
    has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace JOIN pg_roles AS r ON r.oid = relowner,
    pg_roles AS o
WHERE relname = %(name)s AND relkind IN ('r', 'p') AND nspname !~ '^pg_' AND (r.rolname = %(owner)s OR r.rolsuper)
    AND to_regclass(%(table)s) IS NULL AND o.rolname = %(owner)s
ORDER BY 1
"""


def hidden(tree: Migrations, graph: Graph, query: Query, *, by_path: bool = False) -> RefusedError | None:
    """Return the refusal where there is one, with revisions of this tree.

    With ``by_path``, only where the search path is the reason: rights may be given before the tree is migrated.
    """
    if tree.owner is None or tree.version_table_schema is not None:
        return None
    asked = {"name": tree.version_table, "owner": tree.owner, "table": table_name(tree)}
    for schema, may_use, path, is_readable in query.rows(_HIDDEN, asked):
        if by_path and not may_use:
            continue
        table = identifier(schema, tree.version_table)
        found = query.rows(f"SELECT version_num::text FROM {table}") if is_readable else []  # noqa: S608  # quoted
        rows = tuple([str(row) for (row,) in found])
        if is_readable and (not rows or graph.unknown(rows)):
            continue
        lacks = f"{tree.owner!r} lacks USAGE on the schema {schema}"
        return RefusedError(
            f"the version table is in the schema {schema}, where the migrations of {tree.owner!r} do not find it",
            evidence=[
                f"{table} holds {', '.join(rows) or 'rows that this login may not read'}",
                f"the search path of the migrations is {path or 'empty'}" if may_use else lacks,
                "nothing was migrated: all revisions would run once more",
            ],
            next_step=f"write `version_table_schema: {schema}` into `migrations`, or add the schema to `search_path`"
            if may_use
            else f"as an administrator: GRANT USAGE, CREATE ON SCHEMA {identifier(schema)} TO {identifier(tree.owner)}",
        )
    return None
