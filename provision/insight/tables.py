"""The tables of a database, their columns and keys, and how large they are: one question to the catalogs.

Rows are what the last ANALYZE or VACUUM has written down (``reltuples``), sizes are those of
``pg_total_relation_size``: with indexes and TOAST. A partitioned table counts with its partitions, which are not
listed; tables of extensions, and our own schema, are left out.
https://www.postgresql.org/docs/current/catalog-pg-class.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from provision.errors import UsageError, command
from provision.kinds import Look, catalog
from provision.model.value import dataclass

_SQL = r"""
SELECT nspname::text, relname::text, obj_description(c.oid, 'pg_class'),
    CASE WHEN relkind = 'p' THEN (SELECT CASE WHEN min(l.reltuples) >= 0 THEN sum(l.reltuples) END
        FROM pg_partition_tree(c.oid) AS t JOIN pg_class AS l ON l.oid = t.relid WHERE isleaf)
        WHEN reltuples >= 0 THEN reltuples END::bigint,
    CASE WHEN relkind = 'p' THEN (SELECT coalesce(sum(pg_total_relation_size(relid)), 0)
        FROM pg_partition_tree(c.oid) WHERE isleaf)
        ELSE pg_total_relation_size(c.oid) END::bigint,
    CASE WHEN relkind = 'p' THEN (SELECT count(*) FROM pg_partition_tree(c.oid) WHERE isleaf) END::int,
    ARRAY(SELECT json_build_array(attname, format_type(atttypid, atttypmod), attnotnull,
              coalesce(attnum = ANY (p.conkey), false))::text
          FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
    ARRAY(SELECT json_build_array(f.conname, fs.nspname, ft.relname,
              ARRAY(SELECT attname FROM unnest(f.conkey) WITH ORDINALITY AS k (n, at)
                    JOIN pg_attribute ON attrelid = f.conrelid AND attnum = n ORDER BY at),
              ARRAY(SELECT attname FROM unnest(f.confkey) WITH ORDINALITY AS k (n, at)
                    JOIN pg_attribute ON attrelid = f.confrelid AND attnum = n ORDER BY at),
              EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique AND indpred IS NULL
                      AND indnatts = cardinality(f.conkey) AND f.conkey @> indkey::int2[]))::text
          FROM pg_constraint AS f JOIN pg_class AS ft ON ft.oid = f.confrelid
          JOIN pg_namespace AS fs ON fs.oid = ft.relnamespace
          WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conparentid = 0 ORDER BY f.conname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
LEFT JOIN pg_constraint AS p ON p.conrelid = c.oid AND p.contype = 'p'
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relpersistence <> 't'
    AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'provision')
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY 1, 2
"""


class Column(NamedTuple):
    """A column; ``is_key``: it belongs to the primary key."""

    name: str
    type: str
    not_null: bool
    is_key: bool


class Reference(NamedTuple):
    """A foreign key: ``columns`` refer to ``others`` of the table ``to`` (schema and name).

    ``is_unique``: no two rows have the same values, so that it is one to one.
    """

    name: str
    to: tuple[str, str]
    columns: tuple[str, ...]
    others: tuple[str, ...]
    is_unique: bool = False


@dataclass(frozen=True)
class Table:
    """A table: ``rows`` as the statistics say, None where there are none yet; ``size`` in bytes, with its indexes.

    ``partitions`` is how many it has; None: it is not partitioned.
    """

    schema: str
    name: str
    columns: tuple[Column, ...] = ()
    references: tuple[Reference, ...] = ()
    rows: int | None = None
    size: int = 0
    comment: str | None = None
    partitions: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its schema and name."""
        return self.schema, self.name

    @property
    def title(self) -> str:
        """Its name, with the schema where that is not ``public``."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


def tables(look: Look, database: str) -> tuple[Table, ...]:
    """Return the tables of a database, by schema and name.

    Raises:
        UnavailableError: the database lets nobody in, or a table is locked for longer than we wait.
    """
    versions = {
        (each.version_table_schema or "public", each.version_table)
        for each in look.spec.migrations
        if look.spec.database_of(each) == database
    }
    return tuple([each for each in _read(look, database) if each.key not in versions])


def of(look: Look, name: str | None) -> tuple[str, tuple[Table, ...]]:
    """Return the name of a declared database, by default the first, and its tables.

    Raises:
        UsageError: the spec has no such database, or the server does not.
        UnavailableError: as above.
    """
    there = databases(look)
    wanted = name or look.spec.server.database
    if wanted not in there:
        known = f"there {'are' if there[1:] else 'is'} {', '.join(there)}" if there else "provision apply makes it"
        raise UsageError(
            f"the server has no declared database {wanted!r}",
            evidence=[known],
            next_step=command("erd", f"--database {there[0]}") if name and there else command("apply"),
        )
    return wanted, tables(look, wanted)


def size(look: Look, database: str) -> int:
    """Return the size of a database in bytes.

    Raises:
        UnavailableError: as above.
    """
    ((found,),) = look.rows("SELECT pg_database_size(current_database())", database=database)
    return int(found)


def databases(look: Look) -> tuple[str, ...]:
    """Return the declared databases that the server has: the one of the spec's server first, then those of trees."""
    spec = look.spec
    declared = [each.name for each in spec.databases.values() if not each.is_absent]
    names = dict.fromkeys([spec.server.database, *declared, *map(spec.database_of, spec.migrations)])
    there = look.once(catalog.cluster).databases
    return tuple([each for each in names if each in there])


def _read(look: Look, database: str) -> Iterator[Table]:
    import json

    for schema, name, comment, rows, size, partitions, columns, references in look.rows(_SQL, database=database):
        keys = [
            Reference(label, (space, other), tuple(own), tuple(theirs), bool(unique))
            for label, space, other, own, theirs, unique in map(json.loads, references)
        ]
        found = tuple([Column(*json.loads(each)) for each in columns])
        yield Table(schema, name, found, tuple(keys), rows, size, comment, partitions)
