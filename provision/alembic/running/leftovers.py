"""What a failed revision left behind: objects that were committed before, and indexes that are not built to the end."""

from __future__ import annotations

from provision.alembic.running.lock import LockConnection
from provision.alembic.tree.version_table import read_rows, table_name
from provision.model.value import dataclass
from provision.spec.model import Migrations

# What initdb makes has a lower one: FirstNormalObjectId of access/transam.h.
_RELATIONS = """
SELECT ARRAY(SELECT oid::bigint FROM pg_class WHERE oid >= 16384{}), pg_current_xact_id()::xid::text
"""
_IN_SCHEMA = " AND relnamespace = coalesce((SELECT oid FROM pg_namespace WHERE nspname = %s), relnamespace)"

# An object is as old as the row that its creation wrote and nothing else usually writes: a table's is the one of its
# row type. Version rows are as old as the last revision that was applied: what is younger is of the one that failed.
_LEFT = """
SELECT relkind::text, format('%%I.%%I', nspname, relname), coalesce(indisvalid, true)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN pg_index ON indexrelid = pg_class.oid
LEFT JOIN pg_type ON pg_type.oid = reltype
CROSS JOIN LATERAL (SELECT age(coalesce(pg_index.xmin, pg_type.xmin, pg_class.xmin)) AS age) AS own
WHERE relkind IN ('r', 'p', 'v', 'm', 'i') AND relpersistence <> 't' AND nspname !~ '^(pg_|information_schema$)'
  AND nspname = coalesce(%(schema)s, nspname)
  AND pg_class.oid <> ALL (%(before)s::oid[]) AND (indrelid IS NULL OR indrelid = ANY (%(before)s::oid[])
       OR NOT indisvalid OR (SELECT age(row.xmin) FROM pg_class AS t JOIN pg_type AS row ON row.oid = t.reltype
                             WHERE t.oid = indrelid) >= {since})
  AND pg_class.oid IS DISTINCT FROM to_regclass(%(table)s) AND own.age < {since}
ORDER BY relkind = 'i' DESC, 2
"""

_ANY_INVALID = "SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)"
_INVALID = """
SELECT format('%%I.%%I', nspname, relname) FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE NOT indisvalid AND relkind = 'i' AND nspname = coalesce(%s, nspname)
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
ORDER BY 1
"""

_WORDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "i": "INDEX"}


@dataclass(frozen=True)
class Before:
    """The relations that were there before a migration began, and the transaction in which that was seen."""

    relations: tuple[int, ...]
    transaction: str


NOT_SEEN = Before((), "0")


def seen_before(query: LockConnection) -> Before:
    """Return what is there now.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    schema = query.scope.schema
    asked = (_RELATIONS.format(""), ()) if schema is None else (_RELATIONS.format(_IN_SCHEMA), (schema,))
    ((relations, transaction),) = query.rows(*asked)
    return Before(tuple(relations), transaction)


@dataclass(frozen=True)
class Leftover:
    """Something that a revision made and committed before it failed, and that a second run of it collides with."""

    kind: str
    name: str
    is_valid: bool

    def __str__(self) -> str:
        what = f"{self.kind.lower()} {self.name}"
        return what if self.is_valid else f"{what}, which is INVALID"

    @property
    def clean_up(self) -> str:
        """The statement that removes it."""
        return f"DROP {self.kind} {'CONCURRENTLY ' if self.kind == 'INDEX' else ''}{self.name};"


def leftovers(query: LockConnection, tree: Migrations, then: Before) -> tuple[Leftover, ...]:
    """Return what is there since the last revision that the version table holds.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = table_name(tree)
    since = "age(%(transaction)s::xid)"
    if read_rows(tree, query):
        since = f"least({since}, (SELECT min(age(xmin)) FROM {table}))"  # noqa: S608  # quoted
    asked: dict[str, object] = {"before": list(then.relations), "transaction": then.transaction, "table": table}
    asked["schema"] = query.scope.schema
    found = query.rows(_LEFT.format(since=since), asked)
    return tuple([Leftover(_WORDS[kind], name, is_valid) for kind, name, is_valid in found])


def invalid_indexes(query: LockConnection) -> tuple[str, ...]:
    """Return the indexes that no query uses because they were not built to the end.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    if query.rows(_ANY_INVALID) == [(False,)]:
        return ()
    return tuple([str(name) for (name,) in query.rows(_INVALID, (query.scope.schema,))])
