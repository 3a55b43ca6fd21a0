"""One migration at a time in a database: an advisory lock, polled for, on a connection of its own.

Polled, because a waiter that blocks in ``pg_advisory_lock`` holds a snapshot, and ``CREATE INDEX CONCURRENTLY`` of the
one that is being waited for waits for that snapshot: a deadlock. A session lock, because revisions commit; on a
connection that Alembic never sees, because a lock taken on its own would begin a transaction there. It dies with us.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from provision.alembic.running.process import CHILD_NAME
from provision.errors import LockedError, UnavailableError, command
from provision.system.lost import is_lost
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provision.model import Endpoint

CLASS_ID, OBJECT_ID = 0x70726F76, 1  # "prov", and the purpose: migrations of this database
MARK_ID = 2
"""Another purpose: to be recognised."""
_FIRST_POLL, _LONGEST_POLL = 0.05, 0.5

_HOLDER = """
SELECT activity.pid, application_name, usename, client_addr::text, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')
FROM pg_locks LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Another role's session can have that name too; to end it is not ours, and asking for it would be an error.
_LEFT_BEHIND = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND pg_has_role(usesysid, 'USAGE')
"""


class LockConnection:
    """The connection that holds the lock, and asks what has to be asked meanwhile."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._database = endpoint.database
        self._connection = connect(endpoint, read_only=False)
        try:
            self.pid = self._introduce()
        except BaseException:
            self._connection.close()
            raise

    def _introduce(self) -> int:
        name = f"provision migrate {socket.gethostname()}:{os.getpid()}"[:63]
        self.rows("SELECT set_config('application_name', %s, false)", (name,))
        # A lock held by a session that only waits must not be lost to a time-out for idle sessions.
        self.rows("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        return int(self.rows("SELECT pg_backend_pid()")[0][0])

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement (a :class:`provision.model.Query`).

        Raises:
            UnavailableError: the connection is lost.
        """
        import psycopg2

        if database not in {None, self._database}:
            message = f"this connection leads to {self._database}, not to {database}"
            raise ValueError(message)
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall()
        except psycopg2.Error as error:
            failure = UnavailableError(
                "the connection that holds the migration lock was lost",
                evidence=str(error).splitlines(),
                next_step=command("status"),
            )
            failure.server_is_gone = is_lost(error.pgcode, str(error))
            raise failure from error

    def write(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> str | None:
        """Run statements in one transaction that hardly waits; return the server's words when it refuses them."""
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '2s'; {sql}", parameters or None)
        except psycopg2.Error as error:
            return str(error).partition("\n")[0] or type(error).__name__
        return None

    def acquire(self, deadline: float, waiting: Callable[[str], None]) -> None:
        """Take the lock; ``waiting`` is told once for every holder that is waited for.

        Raises:
            LockedError: somebody else held it until ``deadline``.
        """
        told = ""
        pause = _FIRST_POLL
        while self.rows("SELECT pg_try_advisory_lock(%s, %s)", (CLASS_ID, OBJECT_ID)) != [(True,)]:
            holder = self._holder()
            if holder and holder != told:
                waiting(holder)
                told = holder
            if time.monotonic() + pause > deadline:
                raise LockedError(
                    f"another migration of database {self._database} is running, and the time to wait is over",
                    evidence=(f"the lock is held by {told or holder or 'a session that has just ended'}",),
                    next_step="wait for it and run the same command again, or give it more time (`migrations.timeout`)",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)
        # Nobody else can be migrating now: such a session was left behind by a run that was killed.
        self.end_all()

    def mark(self) -> dict[str, int]:
        """Take a lock that keeps nobody out, by which a connection to the same database can be recognised.

        Returns:
            What the child looks for.

        Raises:
            UnavailableError: the connection is lost.
        """
        self.rows("SELECT pg_advisory_lock_shared(%s, %s)", (CLASS_ID, MARK_ID))
        return {"pid": self.pid, "classid": CLASS_ID, "objid": MARK_ID}

    def end_all(self, pids: Sequence[int] = ()) -> None:
        """End every session that a child has opened, those that we know of and those that bear its name.

        Raises:
            UnavailableError: the connection is lost.
        """
        self.end(list({*pids, *[pid for (pid,) in self.rows(_LEFT_BEHIND, (CHILD_NAME,))]}))

    def _holder(self) -> str:
        for pid, application, user, client, since in self.rows(_HOLDER, (CLASS_ID, OBJECT_ID)):
            if user is None:
                return f"pid {pid}"
            return f"pid {pid} ({application or 'no name'}, {user} from {client or 'a local socket'}, since {since})"
        return ""

    def end(self, pids: Sequence[int], seconds: float = 5.0) -> None:
        """End sessions of a child that was killed: a server does not notice while it runs a statement.

        Raises:
            UnavailableError: the connection is lost.
        """
        if not pids:
            return
        self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS t (pid)", (list(pids),))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.rows("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (list(pids),)) == [(0,)]:
                return
            time.sleep(_FIRST_POLL)

    def close(self) -> None:
        """Close the connection, and release the lock with it."""
        self._connection.close()
