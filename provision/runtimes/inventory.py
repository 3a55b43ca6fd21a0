"""What is compared before and after an upgrade: SQL for psql that prints a line for each thing, alike in every major.

A table's line has its number of rows and a checksum of them. Left out is what a version brings itself or computes anew:
members of extensions, generated columns, the rows of materialized views, and the right to MAINTAIN, new in 17. The
checksum is that of hash partitioning, which has to stay the same: ``hashtextextended``.
"""

from __future__ import annotations

SETTINGS = """
SET search_path = pg_catalog;
SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET row_security = off; SET client_encoding = 'UTF8';
"""

CLUSTER = """
SELECT format('role %I: superuser %s, inherit %s, createrole %s, createdb %s, login %s, replication %s, bypassrls %s,'
  ' connections %s, valid until %s, password %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
  rolcanlogin,
  rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, md5(rolpassword)) FROM pg_authid WHERE rolname !~ '^pg_';
SELECT format('membership of %s in %s, admin %s', member::regrole, roleid::regrole, bool_or(admin_option))
  FROM pg_auth_members WHERE member::regrole::text !~ '^pg_' GROUP BY member, roleid;
SELECT format('setting of role %s in database %s: %s', coalesce(r.rolname, 'any'), coalesce(d.datname, 'any'), each)
  FROM pg_db_role_setting s LEFT JOIN pg_authid r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase,
  unnest(setconfig) each;
SELECT format('database %I: owner %s, encoding %s, %s, %s, connections %s, template %s, comment %s', datname,
  datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datistemplate,
  md5(shobj_description(oid, 'pg_database'))) FROM pg_database WHERE datname NOT IN ('template0', 'template1');
SELECT format('grant on database %I: %s to %s', datname, privilege_type, coalesce(r.rolname, 'public'))
  FROM pg_database d, aclexplode(datacl) a LEFT JOIN pg_authid r ON r.oid = a.grantee
  WHERE a.grantee <> datdba AND datname NOT IN ('template0', 'template1');
SELECT format('comment on role %s: %s', objoid::regrole, md5(description)) FROM pg_shdescription
  WHERE classoid = 'pg_authid'::regclass AND objoid::regrole::text !~ '^pg_';
"""

# The oids of what people made: not the system's, and no members of extensions.
_OURS = """
SELECT 'pg_class'::regclass::oid, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
UNION ALL SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
EXCEPT SELECT classid, objid FROM pg_depend WHERE deptype = 'e'"""


def _about(statement: str) -> str:
    return f"WITH ours (class, oid) AS ({_OURS})\n{statement}"


DATABASE = "\n".join(
    [
        "SELECT format('extension %I in schema %s', extname, extnamespace::regnamespace) FROM pg_extension;",
        """SELECT format('schema %I: owner %s', nspname, nspowner::regrole) FROM pg_namespace n
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
  AND deptype = 'e');""",
        _about("""SELECT format('%s %s: owner %s, row security %s, options %s', CASE relkind WHEN 'r' THEN 'table'
  WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
  WHEN 'f' THEN 'foreign table' WHEN 'i' THEN 'index' WHEN 'I' THEN 'partitioned index' ELSE relkind::text END,
  c.oid::regclass, relowner::regrole, relrowsecurity, reloptions) FROM pg_class c JOIN ours USING (oid)
  WHERE class = 'pg_class'::regclass AND relkind <> 't';"""),
        _about("""SELECT format('SELECT format(''rows of %%s: %%s, checksum %%s'', %L, count(*),
  coalesce(sum(pg_catalog.hashtextextended(ROW(%s)::text COLLATE "C", 0)), 0)) FROM ONLY %s AS t',
  c.oid::regclass, (SELECT string_agg(format('t.%I', attname), ', ' ORDER BY attname) FROM pg_attribute
  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''), c.oid::regclass)
  FROM pg_class c JOIN ours USING (oid) WHERE class = 'pg_class'::regclass AND relkind = 'r'
\\gexec"""),
        _about("""SELECT format('SELECT format(''value of %%s: %%s, called %%s'', %L, last_value, is_called) FROM %s',
  c.oid::regclass, c.oid::regclass) FROM pg_class c JOIN ours USING (oid)
  WHERE class = 'pg_class'::regclass AND relkind = 'S'
\\gexec"""),
        """SELECT format('large objects: %s', count(*)) FROM pg_largeobject_metadata;
SELECT format('large objects of %s: %s', lomowner::regrole, count(*)) FROM pg_largeobject_metadata GROUP BY lomowner;
SELECT format('content of the large objects: %s', coalesce(sum(hashtextextended(format('%s %s %s', loid, pageno,
  md5(page)), 0)), 0)) FROM (SELECT loid, pageno, rtrim(data, '\\x00'::bytea) AS page FROM pg_largeobject) AS pages
  WHERE page <> ''::bytea;""",
        _about("""SELECT format('function %s: %s', p.oid::regprocedure, md5(prosrc))
  FROM pg_proc p JOIN ours USING (oid)
  WHERE class = 'pg_proc'::regclass;"""),
        _about("""SELECT format('type %s: %s', t.oid::regtype, (SELECT string_agg(enumlabel, ',
  ' ORDER BY enumsortorder)
  FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t JOIN ours USING (oid)
  WHERE class = 'pg_type'::regclass AND typtype IN ('d', 'e', 'r');"""),
        _about("""SELECT format('constraint %I of %s', conname, conrelid::regclass) FROM pg_constraint k
  JOIN ours ON ours.oid = conrelid AND class = 'pg_class'::regclass WHERE contype <> 'n' AND conparentid = 0;"""),
        _about("""SELECT format('trigger %I of %s, enabled %s', tgname, tgrelid::regclass, tgenabled) FROM pg_trigger
  JOIN ours ON ours.oid = tgrelid AND class = 'pg_class'::regclass WHERE NOT tgisinternal AND tgparentid = 0;"""),
        _about("""SELECT format('policy %I of %s', polname, polrelid::regclass) FROM pg_policy
  JOIN ours ON ours.oid = polrelid AND class = 'pg_class'::regclass;"""),
        _about("""SELECT format('grant on %s: %s to %s', c.oid::regclass, a.privilege_type,
  coalesce(r.rolname, 'public'))
  FROM pg_class c JOIN ours USING (oid), aclexplode(relacl) a LEFT JOIN pg_authid r ON r.oid = a.grantee
  WHERE class = 'pg_class'::regclass AND a.grantee <> relowner AND a.privilege_type <> 'MAINTAIN';"""),
        _about("""SELECT format('comment on %s %s: %s', i.type, i.identity, md5(description)) FROM pg_description d
  JOIN ours ON ours.class = d.classoid AND ours.oid = d.objoid, pg_identify_object(classoid, objoid, objsubid) i;"""),
        "SELECT format('publication %I', pubname) FROM pg_publication;",
    ]
)
