"""The programs that copy a cluster: shell scripts, as argument lists, that are run beside the new server.

The new version's own tools read the old server over the network and write to the new one through its socket.
https://www.postgresql.org/docs/current/upgrading.html#UPGRADING-VIA-PGDUMPALL ; the password comes in an open file that
has no name, so that nothing stays behind whatever is killed, and into a container, which is removed then, on standard
input; there it is kept in a file that only its reader can open: https://www.postgresql.org/docs/current/libpq-pgpass.html
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.model import Secret
from provision.model.sql import identifier
from provision.runtimes import inventory

PASSFILE = "PROVISION_PASSFILE"
"""The variable that names a password file which is there already."""
_TRANSACTION_TIMEOUT = 17

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
 -c idle_in_transaction_session_timeout=0 -c client_min_messages=error'
old=(--host="$1" --port="$2" --username="$3")
new=(--host="$4" --port="$5" --username="$6")
shift 6
"""

# Tools that are newer than their server set what it does not know, before anything else that matters.
_FILTER = """
fitting() {
  if [ "$1" = newer ]; then cat; else sed '1,/^COPY /{/^SET transaction_timeout = 0;$/d;}'; fi
}
"""

_READY = """
set -euo pipefail
cat > /dev/null
until pg_isready --quiet --host="$2" --port="$3"; do
  [ "$SECONDS" -lt "$1" ] || { echo "the new server did not answer within $1 s" >&2; exit 1; }
  sleep 0.1
done
"""

_EXTENSIONS = (
    _BEGIN  # noqa: S608  # a script; names come as its arguments
    + """
missing=$(psql "${new[@]}" --dbname=postgres -XAtq -v ON_ERROR_STOP=1 -v names="$1" <<'SQL'
SELECT name FROM unnest(string_to_array(:'names', ',')) AS name
EXCEPT SELECT name FROM pg_available_extensions ORDER BY 1
SQL
)
[ -z "$missing" ] || { echo "the new server has no" $missing >&2; exit 1; }
"""
)

_ROLES = (
    _BEGIN
    + """
pg_dumpall "${old[@]}" --globals-only --quote-all-identifiers | grep -vxF "$1" |
  psql "${new[@]}" --dbname=postgres -Xq -v ON_ERROR_STOP=1 > /dev/null
"""
)

_DATABASE = (
    _BEGIN
    + _FILTER
    + """
pg_dump "${old[@]}" --dbname="$1" --format=plain --create --clean --if-exists --quote-all-identifiers | fitting "$3" |
  psql "${new[@]}" --dbname="$2" -Xq -v ON_ERROR_STOP=1 > /dev/null
"""
)

_ANALYZE = (
    _BEGIN
    + """
vacuumdb "${new[@]}" --all --analyze-only --quiet
"""
)

_INVENTORY = (
    _BEGIN
    + f"""
if [ "$1" = old ]; then server=("${{old[@]}}"); else server=("${{new[@]}}"); fi
shift
psql "${{server[@]}}" --dbname="$1" -XAtq -v ON_ERROR_STOP=1 <<'SQL'
{inventory.SETTINGS}{inventory.CLUSTER}
SQL
for database in "$@"; do
  psql "${{server[@]}}" --dbname="$database" -XAtq -v ON_ERROR_STOP=1 <<'SQL' |
{inventory.SETTINGS}{inventory.DATABASE}
SQL
    while IFS= read -r line; do printf '%s: %s\n' "${{database#dbname=}}" "$line"; done
done
"""
)


@dataclass(frozen=True, slots=True)
class Copying:
    """From where to where: the old server's address and superuser, and the superuser that the new one begins with.

    ``sockets`` and ``new_port`` say where the new one listens; without them it does in a place of its own, its
    container, where the tools know its socket, and TCP is for the final server only.
    """

    host: str
    port: int
    user: str
    bootstrap: str
    major: int
    sockets: str = ""
    new_port: str = ""

    def ready(self, timeout: float) -> tuple[str, ...]:
        """Wait for the final server: the image's temporary one does not listen."""
        where = (self.sockets or "127.0.0.1", self.new_port or "5432")
        return ("bash", "-c", _READY, "provision", str(round(timeout)), *where)

    def extensions(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Fail with the extensions that the new server has not."""
        return self._argv(_EXTENSIONS, ",".join(names))

    def roles(self) -> tuple[str, ...]:
        """Copy roles with their passwords and settings; the superuser is there already, and gets its own."""
        return self._argv(_ROLES, f"CREATE ROLE {identifier(self.bootstrap)};")

    def database(self, name: str) -> tuple[str, ...]:
        """Copy one database with all that belongs to it; one that is there is made anew."""
        through = "template1" if name == "postgres" else "postgres"
        tools = "newer" if self.major >= _TRANSACTION_TIMEOUT else "older"
        return self._argv(_DATABASE, conninfo(name), through, tools)

    def analyze(self) -> tuple[str, ...]:
        """Collect the statistics of the new server, which a dump does not hold."""
        return self._argv(_ANALYZE)

    def inventory(self, side: str, databases: tuple[str, ...]) -> tuple[str, ...]:
        """Print what is on one side, ``old`` or ``new``."""
        return self._argv(_INVENTORY, side, *(conninfo(each) for each in databases))

    def _argv(self, script: str, *more: str) -> tuple[str, ...]:
        where = (self.host, str(self.port), self.user, self.sockets, self.new_port, self.bootstrap)
        return ("bash", "-c", script, "provision", *where, *more)


def conninfo(database: str) -> str:
    r"""Return a connection string that means this database, whatever its name looks like.

    >>> conninfo("it's")
    "dbname='it\\'s'"
    """
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def passfile(password: Secret) -> Secret:
    """Return the content of a password file that holds for every server."""
    escaped = password.reveal().replace("\\", "\\\\").replace(":", "\\:")
    return Secret(f"*:*:*:*:{escaped}\n")
