"""The lock of a migration, on the connection through which the server is asked meanwhile.

It is an advisory lock, polled for, on a connection of its own. Polled, because a waiter that blocks in
``pg_advisory_lock`` holds a snapshot, and the ``CREATE INDEX CONCURRENTLY`` of the lock's holder waits for that
snapshot: a deadlock. A session lock, because revisions commit; on a connection that Alembic never sees, because taking
it would begin a transaction there. It ends with our process. All questions go through the same connection, so that they
are answered while the migration hangs. https://www.postgresql.org/docs/current/functions-info.html
(``pg_blocking_pids``)
"""

from __future__ import annotations

import os
import socket
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

from provision.alembic.running.process import CHILD_NAME
from provision.alembic.sessions import search_path
from provision.alembic.tree.version_table import table_name
from provision.errors import LockedError, UnavailableError, command
from provision.model.value import dataclass, replace
from provision.system.driver_errors import is_lost
from provision.system.postgres import LoginError, connect, refusal, settled
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from provision.alembic.child.protocol import Lock
    from provision.model import Endpoint
    from provision.spec.model import Migrations


CLASS_ID, OBJECT_ID = 0x70726F76, 1  # "prov", and the purpose: migrations of this database
MARK_ID = 2
"""Another purpose: to be recognised."""
TENANT_ID = 0x74656E61
"""The first half of the key of a schema that is one of many ("tena"); the other is the checksum of its version table,
so that a second tree in that schema has a lock of its own."""
_IDLE = 140000
"""The first version of the server that ends idle sessions."""
_FIRST_POLL, _LONGEST_POLL = 0.05, 0.5
_ENDING = 5.0

_HOLDER = """
SELECT activity.pid, application_name, usename, client_addr::text, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ')
FROM pg_locks LEFT JOIN pg_stat_activity AS activity USING (pid)
WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

# Another role's session can have that name too; to end it is not ours, and asking for it would be an error. What the
# view pg_stat_activity selects from takes a new session half as long to plan, and so does no look at pg_database.
_LEFT_BEHIND = """
SELECT pid FROM pg_stat_get_activity(NULL)
WHERE datid = (SELECT datid FROM pg_stat_get_activity(pg_backend_pid())) AND application_name = %s
    AND pg_has_role(usesysid, 'USAGE')
"""


_EARLIER = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid() AND usename = session_user
"""


@dataclass(frozen=True)
class Scope:
    """What a lock is about: its ``key``, and what a child's sessions are called. ``schema`` None: all of a database."""

    key: tuple[int, int] = (CLASS_ID, OBJECT_ID)
    child_name: str = CHILD_NAME
    schema: str | None = None


_DATABASE = Scope()


def scope_of(tree: Migrations) -> Scope:
    """Return what the lock of a tree is about; schemas that are tenants of one database are migrated side by side."""
    if tree.tenant is None or tree.tenant != tree.version_table_schema:
        return _DATABASE
    checksum = zlib.crc32(table_name(tree).encode()) >> 1  # PostgreSQL's integers have a sign
    return Scope((TENANT_ID, checksum), f"{CHILD_NAME} {checksum:08x}", tree.tenant)


class LockConnection:
    """The connection that holds the lock of a ``scope``, and asks what has to be asked meanwhile."""

    def __init__(self, endpoint: Endpoint, scope: Scope = _DATABASE) -> None:
        self.scope = scope
        self._database = endpoint.database
        self._connection = connect(endpoint, read_only=False)
        try:
            self.pid = self._introduce()
        except BaseException:
            self._connection.close()
            raise

    def _introduce(self) -> int:
        is_alone = threading.current_thread() is threading.main_thread()
        tail = f":{os.getpid()}" if is_alone else f":{os.getpid()}.{threading.get_native_id()}"
        name = f"provision migrate {socket.gethostname()}"[: 63 - len(tail)] + tail
        # A lock held by a session that only waits must not be lost to a time-out for idle sessions.
        idle = ", set_config('idle_session_timeout', '0', false)" if self._connection.server_version >= _IDLE else ""
        return int(
            self.rows(f"SELECT pg_backend_pid(), set_config('application_name', %s, false){idle}", (name,))[0][0]
        )

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

    @property
    def is_superuser(self) -> bool:
        """Whether its login is a superuser, which sees all sessions, and reads what others own."""
        return self._connection.info.parameter_status("is_superuser") == "on"

    def is_alive(self) -> bool:
        """Tell whether the session is still there."""
        try:
            self.rows("SELECT 1")
        except UnavailableError:
            return False
        return True

    def is_standby(self) -> bool:
        """Tell whether the server can only be read.

        Raises:
            UnavailableError: the connection is lost.
        """
        return self.rows("SELECT pg_is_in_recovery()") == [(True,)]

    def end_earlier(self) -> None:
        """End the session that this process had before, where the server has not noticed that it is over.

        Raises:
            UnavailableError: the connection is lost.
        """
        self.rows(_EARLIER)

    def settled(self, at: Endpoint) -> Endpoint:
        """Return an endpoint with the host that this connection leads to, where a cluster has several."""
        return settled(self._connection, at)

    def follow(self, tree: Migrations) -> None:
        """Look for tables where the sessions of a tree do.

        Raises:
            UnavailableError: the connection is lost.
        """
        if tree.owner is not None:
            self.rows("SELECT set_config('search_path', %s, false)", (search_path(tree, self),))

    def write(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> str | None:
        """Run statements in one transaction that hardly waits; return the server's words when it refuses them."""
        return refusal(self._connection, f"SET LOCAL lock_timeout = '2s'; {sql}", parameters or None) or None

    def acquire(
        self, deadline: float, waiting: Callable[[str], None], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        """Take the lock; ``waiting`` is called once for every holder that is waited for.

        Raises:
            LockedError: another session held it until ``deadline``, or ``is_over`` said that the run is to end.
        """
        reported = ""
        for _ in attempts(deadline - time.monotonic(), _FIRST_POLL, longest=_LONGEST_POLL):
            if self.rows("SELECT pg_try_advisory_lock(%s, %s)", self.scope.key) == [(True,)]:
                # Nobody else can be migrating now: such a session was left behind by a run that was killed.
                self.end_all()
                return
            holder = self._holder()
            if holder and holder != reported:
                waiting(holder)
                reported = holder
            if is_over():
                break
        raise LockedError(
            f"another migration of {self._what} is running, and the time to wait is over",
            evidence=(f"the lock is held by {reported or 'a session that has just ended'}",),
            next_step="wait for it and run the same command again, or give it more time (`migrations.timeout`)",
        )

    @property
    def _what(self) -> str:
        database = f"database {self._database}"
        return database if self.scope.schema is None else f"schema {self.scope.schema} of {database}"

    def mark(self) -> Lock:
        """Take a lock that excludes no session, by which a connection to the same database can be recognised.

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
        self.end(list({*pids, *[pid for (pid,) in self.rows(_LEFT_BEHIND, (self.scope.child_name,))]}))

    def _holder(self) -> str:
        for pid, application, user, client, since in self.rows(_HOLDER, self.scope.key):
            if user is None:
                return f"pid {pid}"
            return f"pid {pid} ({application or 'no name'}, {user} from {client or 'a local socket'}, since {since})"
        return ""

    def end(self, pids: Sequence[int]) -> None:
        """End sessions of a child that was killed: a server does not notice while it runs a statement.

        Raises:
            UnavailableError: the connection is lost.
        """
        if not pids:
            return
        self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS t (pid)", (list(pids),))
        for _ in attempts(_ENDING, _FIRST_POLL):
            if self.rows("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (list(pids),)) == [(0,)]:
                return

    def close(self) -> None:
        """Close the connection, and release the lock with it."""
        self._connection.close()


def lock_connection(tree: Migrations, endpoint: Endpoint, session: Endpoint) -> LockConnection:
    """Open the connection for a tree, as the declared login, or as the tree's own where that one is no superuser.

    Raises:
        LoginError: it is refused.
    """
    own = replace(session, role=None)
    try:
        lock = LockConnection(endpoint, scope_of(tree))
    except LoginError:
        if own.user == endpoint.user:
            raise
        lock = LockConnection(own, scope_of(tree))
    try:
        if own.user != endpoint.user and not lock.is_superuser:
            lock.close()
            lock = LockConnection(own, lock.scope)
        lock.follow(tree)
    except BaseException:
        lock.close()
        raise
    return lock
