"""Writers wait, readers do not: locks that are held by sessions of ours, and are gone with this process.

A server that is only switched to ``default_transaction_read_only`` would stay so when this process is killed, and a
client may switch it off for itself. Table locks do neither. EXCLUSIVE lets in readers and pg_dump only:
https://www.postgresql.org/docs/current/explicit-locking.html ; on ``pg_class`` it keeps new tables out, and what is
refreshed. A sequence cannot be locked as such, but a change of it, which is never committed, holds back ``nextval``.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from provision.errors import RacedError, StepFailedError, command
from provision.system.postgres import Login, LoginError, connect, rows
from provision.system.waiting import attempts

if TYPE_CHECKING:
    import psycopg2.extensions

    from provision.model import Endpoint

_TIMEOUT = "30s"
_AT_ONCE = 200
_PATIENCE = 30.0
_POLL = 0.05
_LOOKS = 3
_TRIES = 3
_AGAIN = command("upgrade")
_OPTIONS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
_SHARED = "pg_authid, pg_auth_members, pg_database, pg_db_role_setting"
_CATALOGS = "pg_class, pg_largeobject_metadata"
_RELATIONS = """
SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'S', coalesce(s.seqcache, 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1
"""
_OTHERS = """
SELECT format('process %s (%s) of %I in %I, %s since %s', pid, coalesce(nullif(application_name, ''), 'no name'),
              usename, datname, state, to_char(xact_start, 'HH24:MI:SS'))
FROM pg_stat_activity WHERE xact_start IS NOT NULL AND backend_type = 'client backend'
AND application_name <> 'provision'
ORDER BY xact_start LIMIT 5
"""

_END = """
SELECT pid, backend_type, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datid IS NOT NULL AND pid <> ALL (%s)
"""


class Fence:
    """Holds the locks, one session for each database, until it is closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sessions: dict[str, psycopg2.extensions.connection] = {}

    def hold(self, database: str) -> None:
        """Let everybody who would write to a database wait.

        Raises:
            StepFailedError: a session writes for longer than we wait.
        """
        for left in reversed(range(_TRIES)):
            try:
                self._hold(database)
                break
            except RacedError:  # a deadlock, with autovacuum for example, which takes the catalogs in its own order
                self._sessions.pop(database).close()
                if not left:
                    raise

    def _hold(self, database: str) -> None:
        session = connect(self._endpoint, database, read_only=False)
        self._sessions[database] = session
        known = rows(session, "SELECT name FROM pg_settings WHERE name = ANY (%s)", (list(_OPTIONS),))
        settings = [f"SET {name} = 0" for (name,) in known]
        first = [f"LOCK TABLE {_SHARED} IN EXCLUSIVE MODE"] if len(self._sessions) == 1 else []
        begin = [*settings, "BEGIN", f"SET LOCAL lock_timeout = '{_TIMEOUT}'"]
        self._execute(database, [*begin, *first, f"LOCK TABLE {_CATALOGS} IN EXCLUSIVE MODE"])
        found = rows(session, _RELATIONS)
        tables = [f"ONLY {name}" for name, is_sequence, _ in found if not is_sequence]
        batches = [tables[at : at + _AT_ONCE] for at in range(0, len(tables), _AT_ONCE)]
        self._execute(database, [f"LOCK TABLE {', '.join(each)} IN EXCLUSIVE MODE" for each in batches])
        self._execute(database, [f"ALTER SEQUENCE {name} CACHE {cache}" for name, is_one, cache in found if is_one])

    def hold_large_objects(self, database: str) -> None:
        """Let everybody wait who would open a large object, also those who read it by functions.

        Raises:
            StepFailedError: a session has one open for too long.
        """
        self._execute(database, ["LOCK TABLE pg_largeobject IN EXCLUSIVE MODE"])

    def end_sessions(self) -> None:
        """End all other sessions, once the server lets in no more.

        A session that was let in at the last moment is not seen at once, so several looks in a row have to find none.

        Raises:
            StepFailedError: sessions are still let in, or do not end.
        """
        wait = attempts(_PATIENCE, _POLL)
        if not any(self._is_closed() for _ in wait):
            raise StepFailedError("the old server still lets sessions in", next_step=_AGAIN)
        ours = [session.info.backend_pid for session in self._sessions.values()]
        session, alone, clients = next(iter(self._sessions.values())), 0, []
        for _ in wait:
            rows(session, "SELECT pg_stat_clear_snapshot()")  # within a transaction each look would be the first
            clients = [pid for pid, backend, _ in rows(session, _END, (ours,)) if backend == "client backend"]
            alone = 0 if clients else alone + 1
            if alone == _LOOKS:
                return
        raise StepFailedError(f"sessions of the old server do not end: processes {clients}", next_step=_AGAIN)

    def _is_closed(self) -> bool:
        try:
            connect(self._endpoint, read_only=True).close()
        except LoginError as error:
            return error.login is Login.STARTING  # the same words for a server that is shutting down
        return False

    def close(self) -> None:
        """Release the locks."""
        while self._sessions:
            self._sessions.popitem()[1].close()

    def _execute(self, database: str, statements: list[str]) -> None:
        import psycopg2
        from psycopg2.errors import DeadlockDetected

        with self._sessions[database].cursor() as cursor:
            for statement in statements:
                try:
                    cursor.execute(statement)
                except psycopg2.Error as error:
                    kind = RacedError if isinstance(error, DeadlockDetected) else StepFailedError
                    raise kind(
                        f"whoever writes to the database {database!r} could not be held back",
                        evidence=[*str(error).splitlines()[:3], *self._others()],
                        next_step="end the transactions named above, or wait for them, and try again",
                    ) from error

    def _others(self) -> list[str]:
        try:
            with closing(connect(self._endpoint, read_only=True)) as session:
                return [line for (line,) in rows(session, _OTHERS)]
        except LoginError as error:
            return list(error.evidence)
