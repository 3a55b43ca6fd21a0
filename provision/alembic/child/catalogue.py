"""What the schemas of a database hold, as texts that can be compared: for whether a downgrade undoes what it should.

Left out is what PostgreSQL cannot bring back as it was (the order of columns, object ids, statistics), what belongs to
an extension, and Alembic's version table. Read on the connection of ``env.py``, which sees what is not committed yet.
https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    Catalogue = dict[tuple[str, str], str]
    Difference = list[Any]

_SCHEMAS = """
ours AS (SELECT oid, nspname, nspacl, nspowner FROM pg_namespace
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
extended AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
relation AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class AS c JOIN ours AS n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT 1 FROM extended WHERE classid = 'pg_class'::regclass AND objid = c.oid)
      AND c.oid IS DISTINCT FROM to_regclass(:table) AND c.relpersistence <> 't')
"""

_TABLE_OR_SEQUENCE = """CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END"""


def _granted(column: str, kind: str, owner: str) -> str:
    """Return privileges in a fixed order; those that were never changed are the same as those that were put back."""
    default = f"acldefault({kind}, {owner})"
    return f"(SELECT string_agg(g::text, ' ' ORDER BY g::text) FROM unnest(coalesce({column}, {default})) AS g)"  # noqa: S608


# What a NOT NULL is called (a constraint since PostgreSQL 18) is the server's business; that it is there, the column's.
_PARTS = (
    f"""SELECT 'schema', format('%I', nspname), {_granted("nspacl", "'n'", "nspowner")} FROM ours""",  # noqa: S608
    f"""SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table'
                           WHEN 'S' THEN 'sequence' ELSE 'table' END, name,
              concat_ws(' ', relkind, relpersistence, {_granted("relacl", _TABLE_OR_SEQUENCE, "relowner")},
                        CASE WHEN relrowsecurity THEN 'row security' END,
                        CASE WHEN relforcerowsecurity THEN 'forced' END, array_to_string(reloptions, ' '),
                        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END,
                        CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END, pg_get_expr(relpartbound, oid))
       FROM relation WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')""",  # noqa: S608
    """SELECT 'column', r.name || '.' || format('%I', a.attname),
              concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                        CASE WHEN d.oid IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
                        CASE WHEN a.attidentity <> '' THEN concat('IDENTITY ', a.attidentity) END,
                        CASE WHEN a.attgenerated <> '' THEN concat('GENERATED ', a.attgenerated) END,
                        CASE WHEN a.attcollation <> t.typcollation THEN 'COLLATE ' || l.collname END, a.attacl::text)
       FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
       JOIN pg_type AS t ON t.oid = a.atttypid
       LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
       LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
       WHERE r.relkind IN ('r', 'p', 'f')""",
    """SELECT 'constraint', r.name || '.' || format('%I', k.conname),
              pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not validated)' END
       FROM pg_constraint AS k JOIN relation AS r ON r.oid = k.conrelid WHERE k.contype NOT IN ('n', 't')""",
    """SELECT 'index', r.name, pg_get_indexdef(r.oid) || CASE WHEN i.indisvalid THEN '' ELSE ' (INVALID)' END
       FROM relation AS r JOIN pg_index AS i ON i.indexrelid = r.oid
       WHERE i.indrelid IS DISTINCT FROM to_regclass(:table)""",
    """SELECT 'sequence', r.name || ' as', concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement,
              s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' END)
       FROM relation AS r JOIN pg_sequence AS s ON s.seqrelid = r.oid""",
    """SELECT 'trigger', r.name || '.' || format('%I', t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
       FROM pg_trigger AS t JOIN relation AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal""",
    """SELECT 'policy', r.name || '.' || format('%I', p.polname),
              concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
                        pg_get_expr(p.polwithcheck, p.polrelid))
       FROM pg_policy AS p JOIN relation AS r ON r.oid = p.polrelid""",
    """SELECT 'rule', r.name || '.' || format('%I', w.rulename), pg_get_ruledef(w.oid)
       FROM pg_rewrite AS w JOIN relation AS r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'""",
    f"""SELECT 'function', format('%I.%I(%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid)),
              concat(CASE WHEN f.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(f.oid) END,
                     {_granted("f.proacl", "'f'", "f.proowner")})
       FROM pg_proc AS f JOIN ours AS n ON n.oid = f.pronamespace
       WHERE NOT EXISTS (SELECT 1 FROM extended WHERE classid = 'pg_proc'::regclass AND objid = f.oid)
         AND NOT EXISTS (SELECT 1 FROM pg_depend AS i WHERE i.classid = 'pg_proc'::regclass AND i.objid = f.oid
                         AND i.deptype = 'i')""",  # noqa: S608
    """SELECT 'type', format('%I.%I', n.nspname, t.typname),
              concat_ws(' ', t.typtype, (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                                         FROM pg_enum WHERE enumtypid = t.oid),
                        CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, t.typdefault,
                        (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY conname) FROM pg_constraint AS k
                         WHERE k.contypid = t.oid),
                        (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod)), ', '
                                           ORDER BY attnum)
                         FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped),
                        (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = t.oid))
       FROM pg_type AS t JOIN ours AS n ON n.oid = t.typnamespace LEFT JOIN pg_class AS c ON c.oid = t.typrelid
       WHERE (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
         AND NOT EXISTS (SELECT 1 FROM extended WHERE classid = 'pg_type'::regclass AND objid = t.oid)""",
    """SELECT 'extension', format('%I', extname), extversion FROM pg_extension""",
    """SELECT 'publication', format('%I', pubname), concat_ws(' ', puballtables, pubinsert, pubupdate, pubdelete,
              (SELECT string_agg(prrelid::regclass::text, ', ' ORDER BY prrelid::regclass::text)
               FROM pg_publication_rel WHERE prpubid = p.oid)) FROM pg_publication AS p""",
    """SELECT 'event trigger', format('%I', evtname),
              concat_ws(' ', evtevent, evtenabled, evttags::text, evtfoid::regproc)
       FROM pg_event_trigger""",
    """SELECT 'comment', concat_ws('.', r.name, quote_ident(a.attname)), d.description
       FROM relation AS r JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = r.oid
       LEFT JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = d.objsubid AND d.objsubid > 0""",
)
QUERY = "WITH " + _SCHEMAS.strip() + "\n" + "\nUNION ALL\n".join(_PARTS)


def read(connection: Any, table: str) -> Catalogue:
    """Return kind and name of everything, and how it is defined; ``table`` is the quoted version table."""
    from sqlalchemy import text

    began = connection.in_transaction()
    rows = connection.execute(text(QUERY.replace("::", "\\:\\:")), {"table": table}).fetchall()
    if not began and connection.in_transaction():
        connection.commit()  # leave no transaction behind that env.py did not begin
    return {(str(kind), str(name)): str(definition) for kind, name, definition in rows}


def differences(before: Catalogue, after: Catalogue) -> Iterator[Difference]:
    """Yield kind, name, and the definition before and after (None: not there) of all that differs."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old != new:
            yield [*key, old, new]
