"""The programs that copy a cluster and list what is compared: shell scripts that run beside the new server.

The new version's own tools read the old server over the network and write to the new one through its socket.
https://www.postgresql.org/docs/current/upgrading.html#UPGRADING-VIA-PGDUMPALL ; the password comes in an open file that
has no name, so that nothing is left when a program is killed. Into a container, which is removed afterwards, it comes
on standard input, and the script keeps it in a file that only its reader can open:
https://www.postgresql.org/docs/current/libpq-pgpass.html

The inventory has a line for each thing, alike in every major version. A table's line has its number of rows and a
checksum of them. Left out is what a version brings itself or computes again: members of extensions, generated columns,
the rows of materialized views, and the right to MAINTAIN, new in 17. The checksum is that of hash partitioning, which
has to stay the same: ``hashtextextended``.
"""

from __future__ import annotations

from pathlib import Path

from provision.model import OWN_DATABASES, Secret
from provision.model.effects import RunProgram
from provision.model.sql import conninfo, identifier, passfile
from provision.model.value import dataclass

_TRANSACTION_TIMEOUT = 17

DATABASES = f"""
SELECT datname, pg_database_size(oid), datallowconn AND datconnlimit <> -2 FROM pg_database
WHERE datname <> 'template0' AND datname !~ '^{OWN_DATABASES}'
ORDER BY datname = 'template1' DESC, datname = 'postgres' DESC, 2
"""  # noqa: S608  # from constants only
"""The databases that are copied, with their sizes in bytes, and whether they take connections."""
TOOLS = ("psql", "pg_dump", "pg_dumpall", "pg_isready", "vacuumdb")

_BEGIN = """
set -euo pipefail
umask 077
passfile=${PROVISION_PASSFILE:-}
if [ -z "$passfile" ]; then
  passfile=$(mktemp)
  trap 'rm -f "$passfile"' EXIT
  cat > "$passfile"
fi
export PGPASSFILE="$passfile" PGAPPNAME=provision PGCONNECT_TIMEOUT=10
export PGOPTIONS='-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0
 -c role=none -c idle_in_transaction_session_timeout=0 -c client_min_messages=error'
old=(--host="$1" --port="$2" --username="$3")
new=(--host="$4" --port="$5" --username="$6")
shift 6
"""

_READY = """
set -euo pipefail
cat > /dev/null
until pg_isready --quiet --host="$2" --port="$3"; do
  [ "$SECONDS" -lt "$1" ] || { echo "the new server did not answer within $1 s" >&2; exit 1; }
  sleep 0.1
done
"""

_EXTENSIONS = """
missing=$(psql "${new[@]}" --dbname=postgres -XAtq -v ON_ERROR_STOP=1 -v names="$1" <<'SQL'
SELECT name FROM unnest(string_to_array(:'names', ',')) AS name
EXCEPT SELECT name FROM pg_available_extensions ORDER BY 1
SQL
)
[ -z "$missing" ] || { echo "the new server has no" $missing >&2; exit 1; }
"""

_ROLES = """
pg_dumpall "${old[@]}" --globals-only --quote-all-identifiers | grep -vxF "$1" |
  psql "${new[@]}" --dbname=postgres -Xq -v ON_ERROR_STOP=1 > /dev/null
"""

# Tools that are newer than their server set what it does not know, before anything else that matters.
_DATABASE = """
fitting() {
  if [ "$1" = newer ]; then cat; else sed '1,/^COPY /{/^SET transaction_timeout = 0;$/d;}'; fi
}
pg_dump "${old[@]}" --dbname="$1" --format=plain --create --clean --if-exists --quote-all-identifiers | fitting "$3" |
  psql "${new[@]}" --dbname="$2" -Xq -v ON_ERROR_STOP=1 > /dev/null
"""

_ANALYZE = 'vacuumdb "${new[@]}" --all --analyze-only --quiet'

_SETTINGS = """
SET search_path = pg_catalog;
SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET row_security = off; SET client_encoding = 'UTF8';
"""

_CLUSTER = f"""
SELECT format('role %I: superuser %s, inherit %s, createrole %s, createdb %s, login %s, replication %s, bypassrls %s,'
  ' connections %s, valid until %s, password %s', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb,
  rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, md5(rolpassword)) FROM pg_authid
  WHERE rolname !~ '^pg_';
SELECT format('membership of %s in %s, admin %s', member::regrole, roleid::regrole, bool_or(admin_option))
  FROM pg_auth_members WHERE member::regrole::text !~ '^pg_' GROUP BY member, roleid;
SELECT format('setting %s of role %s in database %s: %s', split_part(each, '=', 1), coalesce(r.rolname, 'any'),
  coalesce(d.datname, 'any'), md5(each))
  FROM pg_db_role_setting s LEFT JOIN pg_authid r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase,
  unnest(setconfig) each WHERE setdatabase = 0 OR datname !~ '^{OWN_DATABASES}';
SELECT format('database %I: owner %s, encoding %s, %s, %s, connections %s, template %s, comment %s', datname,
  datdba::regrole, pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datistemplate,
  md5(shobj_description(oid, 'pg_database'))) FROM pg_database WHERE datname !~ '^(template[01]$|{OWN_DATABASES})';
SELECT format('grant on database %I: %s to %s', datname, privilege_type, coalesce(r.rolname, 'public'))
  FROM pg_database d, aclexplode(datacl) a LEFT JOIN pg_authid r ON r.oid = a.grantee
  WHERE a.grantee <> datdba AND datname !~ '^(template[01]$|{OWN_DATABASES})';
SELECT format('comment on role %s: %s', objoid::regrole, md5(description)) FROM pg_shdescription
  WHERE classoid = 'pg_authid'::regclass AND objoid::regrole::text !~ '^pg_';
"""  # noqa: S608  # from constants only

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


_CONTENTS = "\n".join(
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
  FROM pg_proc p JOIN ours USING (oid) WHERE class = 'pg_proc'::regclass;"""),
        _about("""SELECT format('type %s: %s', t.oid::regtype, (SELECT string_agg(enumlabel, ', '
  ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t JOIN ours USING (oid)
  WHERE class = 'pg_type'::regclass AND typtype IN ('d', 'e', 'r');"""),
        _about("""SELECT format('constraint %I of %s', conname, conrelid::regclass) FROM pg_constraint k
  JOIN ours ON ours.oid = conrelid AND class = 'pg_class'::regclass WHERE contype <> 'n' AND conparentid = 0;"""),
        _about("""SELECT format('trigger %I of %s, enabled %s', tgname, tgrelid::regclass, tgenabled) FROM pg_trigger
  JOIN ours ON ours.oid = tgrelid AND class = 'pg_class'::regclass WHERE NOT tgisinternal AND tgparentid = 0;"""),
        _about("""SELECT format('policy %I of %s', polname, polrelid::regclass) FROM pg_policy
  JOIN ours ON ours.oid = polrelid AND class = 'pg_class'::regclass;"""),
        _about("""SELECT format('grant on %s: %s to %s', c.oid::regclass, a.privilege_type, coalesce(rolname, 'public'))
  FROM pg_class c JOIN ours USING (oid), aclexplode(relacl) a LEFT JOIN pg_authid r ON r.oid = a.grantee
  WHERE class = 'pg_class'::regclass AND a.grantee <> relowner AND a.privilege_type <> 'MAINTAIN';"""),
        _about("""SELECT format('comment on %s %s: %s', i.type, i.identity, md5(description)) FROM pg_description d
  JOIN ours ON ours.class = d.classoid AND ours.oid = d.objoid, pg_identify_object(classoid, objoid, objsubid) i;"""),
        "SELECT format('publication %I', pubname) FROM pg_publication;",
    ]
)

_INVENTORY = f"""
if [ "$1" = old ]; then server=("${{old[@]}}"); else server=("${{new[@]}}"); fi
shift
psql "${{server[@]}}" --dbname="$1" -XAtq -v ON_ERROR_STOP=1 <<'SQL'
{_SETTINGS}{_CLUSTER}
SQL
for database in "$@"; do
  psql "${{server[@]}}" --dbname="$database" -XAtq -v ON_ERROR_STOP=1 <<'SQL' |
{_SETTINGS}{_CONTENTS}
SQL
    while IFS= read -r line; do printf '%s: %s\n' "${{database#dbname=}}" "$line"; done
done
"""


@dataclass(frozen=True)
class Copying:
    """From where to where: the old server's address and superuser, and the superuser that the new one begins with.

    ``sockets`` and ``new_port`` say where the new one listens; without ``sockets`` the tools know its socket. They run
    in ``container``, or on this machine with those in ``programs`` first.
    """

    host: str
    port: int
    user: str
    bootstrap: str
    major: int
    password: Secret
    new_port: str = ""
    sockets: str = ""
    container: str | None = None
    programs: Path | None = None

    def ready(self, timeout: float) -> RunProgram:
        """Wait for the final server: the image's temporary one does not listen on TCP."""
        where = (self.sockets or "127.0.0.1", self.new_port or "5432")
        argv = ("bash", "-c", _READY, "provision", str(round(timeout)), *where)
        return self._run("starting the new server", argv)

    def extensions(self, names: tuple[str, ...]) -> RunProgram:
        """Fail with the extensions that the new server does not have."""
        return self._run("looking for the extensions", self._argv(_EXTENSIONS, ",".join(names)))

    def roles(self) -> RunProgram:
        """Copy roles with their passwords and settings; the superuser exists already, and gets its own."""
        return self._run("copying the roles", self._argv(_ROLES, f"CREATE ROLE {identifier(self.bootstrap)};"))

    def database(self, name: str) -> RunProgram:
        """Copy one database with everything that belongs to it; an existing one is replaced."""
        through = "template1" if name == "postgres" else "postgres"
        tools = "newer" if self.major >= _TRANSACTION_TIMEOUT else "older"
        return self._run(f"copying the database {name!r}", self._argv(_DATABASE, conninfo(name), through, tools))

    def analyze(self) -> RunProgram:
        """Collect the statistics of the new server, which a dump does not hold."""
        return self._run("collecting statistics", self._argv(_ANALYZE))

    def inventory(self, side: str, databases: tuple[str, ...]) -> RunProgram:
        """Print what is on one side, ``old`` or ``new``."""
        argv = self._argv(_INVENTORY, side, *(conninfo(each) for each in databases))
        return self._run("comparing the copy with the original", argv)

    def _argv(self, script: str, *more: str) -> tuple[str, ...]:
        where = (self.host, str(self.port), self.user, self.sockets, self.new_port, self.bootstrap)
        return ("bash", "-c", _BEGIN + script, "provision", *where, *more)

    def _run(self, what: str, argv: tuple[str, ...]) -> RunProgram:
        return RunProgram(argv, Secret(passfile(self.password.reveal())), what, self.container, self.programs)
