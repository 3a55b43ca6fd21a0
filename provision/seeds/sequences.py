"""Sequences after rows with numbers of their own came in: one that is behind them gives a number that is taken.

https://www.postgresql.org/docs/current/functions-sequence.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from provision.model.sql import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg2.extensions

# A partition has the sequence of its table. Nothing is known of what our role may not read.
_OWNED = """
SELECT format('%%I.%%I', sn.nspname, s.relname), tn.nspname::text, t.relname::text, a.attname::text,
    CASE WHEN has_sequence_privilege(s.oid, 'USAGE,SELECT') THEN coalesce(
        pg_sequence_last_value(s.oid) + seqincrement, seqstart) END
FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid JOIN pg_namespace AS sn ON sn.oid = s.relnamespace
    JOIN pg_sequence ON seqrelid = s.oid JOIN pg_class AS t ON t.oid = d.refobjid
    JOIN pg_namespace AS tn ON tn.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    AND s.relkind = 'S' AND seqincrement > 0 AND has_column_privilege(t.oid, a.attnum, 'SELECT') AND {which}
ORDER BY 1
"""
_OF_TABLE = "t.oid = to_regclass(%(table)s)"
_OF_TRANSACTION = """t.oid IN (
    SELECT coalesce(ancestor, c.oid) FROM pg_class AS c
        LEFT JOIN LATERAL pg_partition_ancestors(c.oid) AS p (ancestor) ON c.relispartition
    WHERE c.relkind IN ('r', 'p') AND pg_stat_get_xact_tuples_inserted(c.oid) > 0
)"""


class Behind(NamedTuple):
    """A sequence that gives ``next`` next, although its column is at ``largest`` already."""

    sequence: str
    column: str
    next: int
    largest: int

    @property
    def statement(self) -> str:
        """What brings it forward."""
        return f"SELECT pg_catalog.setval({literal(self.sequence)}, {self.largest})"

    def __str__(self) -> str:
        return (
            f"the sequence {self.sequence} gives {self.next} next, and {self.column} is at {self.largest} already, "
            f"so inserts will fail; mend it at the end of the seed: {self.statement};"
        )


def behind(cursor: psycopg2.extensions.cursor, table: str | None = None) -> list[Behind]:
    """Return the sequences that are behind the columns of a table; None: of all that this transaction inserted into.

    Raises:
        psycopg2.Error: the server refuses the question.
    """
    cursor.execute(_OWNED.format(which=_OF_TABLE if table else _OF_TRANSACTION), {"table": table})
    found = []
    for sequence, schema, name, column, following in cursor.fetchall():
        cursor.execute(f"SELECT max({identifier(column)}) FROM {identifier(schema, name)}")  # noqa: S608  # quoted
        ((largest,),) = cursor.fetchall()
        if largest is not None and following is not None and largest >= following:
            found.append(Behind(sequence, f"{schema}.{name}.{column}", int(following), int(largest)))
    return found


def bring_forward(
    cursor: psycopg2.extensions.cursor, table: str, otherwise: Callable[[str], str | None]
) -> list[Behind]:
    """Bring the sequences of a table forward; return those of which neither our role nor ``otherwise`` may do that.

    Raises:
        psycopg2.Error: the server refuses a question.
    """
    from psycopg2.errors import InsufficientPrivilege

    left = []
    for each in behind(cursor, table):
        cursor.execute("SAVEPOINT sequence")
        try:
            cursor.execute(each.statement)
        except InsufficientPrivilege:
            cursor.execute("ROLLBACK TO SAVEPOINT sequence")
            if otherwise(each.statement) is not None:
                left.append(each)
    return left
