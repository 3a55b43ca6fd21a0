"""What is done on the connection that ``env.py`` made, before the first revision and while they run.

It is asked whether it sees the lock that our parent holds: only a connection to the same database of the same server
can, so nothing else is ever migrated by mistake. And its statements may wait for a lock no longer than the spec says,
so that nobody queues behind a migration that waits. ``CONCURRENTLY`` is exempt: while it waits nobody is blocked, and
giving up would leave an INVALID index.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .channel import ElsewhereError, RolledBackError

if TYPE_CHECKING:
    from .channel import Progress

SEES_OUR_LOCK = """
SELECT pg_backend_pid(), current_database(), EXISTS (
    SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND pg_locks.pid = {pid}
      AND classid = {classid} AND objid = {objid} AND datname = current_database()),
    (SELECT setting = reset_val FROM pg_settings WHERE name = 'lock_timeout')
"""

COMMITS = re.compile(r"(?is)(^|;)\s*(commit|end|rollback|abort|prepare\s+transaction)\b\s*(;|$|work|transaction|and)")
_CONCURRENTLY = re.compile(r"(?i)\bconcurrently\b")
ROLLBACK = re.compile(r"(?is)(^|;)\s*(rollback|abort)\b\s*(work|transaction)?\s*(and\s+(no\s+)?chain)?\s*;?\s*$")
_MARK = "provision: lock_timeout"
_MIGRATES = "provision: migrates"
_WAITS = "provision: its commits wait for the disk"


# As the ledger names a version table, with casts that every driver understands.
_PLACE = """
SELECT pg_backend_pid(), current_database(), coalesce(
    (SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class
     JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE pg_class.oid = to_regclass(coalesce(quote_ident(CAST(:schema AS text)) || '.', '') || quote_ident(:name))),
    quote_ident(coalesce(CAST(:schema AS text), CAST(current_schema() AS text))) || '.' || quote_ident(:name)),
    current_setting('synchronous_commit') = 'on' AND current_setting('fsync') = 'on'
"""


def place_of(connection: Any, schema: str | None, name: str) -> tuple[int, str, str]:
    """Return the backend of a connection, its database, and the version table with its schema, as SQL writes it.

    It is noted whether its commits wait for the disk: see :func:`around_function`.
    """
    from sqlalchemy import text

    began = connection.in_transaction()
    pid, database, table, waits = connection.execute(text(_PLACE), {"schema": schema, "name": name}).fetchone()
    connection.info[_WAITS] = waits
    if not began and connection.in_transaction():
        connection.commit()
    return pid, database, table


def prove_place(connection: Any, lock: dict[str, int], lock_timeout: float) -> None:
    """Make sure that a connection of ``env.py`` leads to the database whose lock our parent holds, and bound its waits.

    A limit that ``env.py`` has set in its session is kept.
    """
    from sqlalchemy import text

    if connection is None:
        message = "env.py runs in offline mode"
        raise ElsewhereError(message)
    url = connection.engine.url
    place = f"{url.host or 'the local socket'}:{url.port or 5432}, database {url.database}"
    if connection.dialect.name != "postgresql":
        message = f"env.py connected to {connection.dialect.name} ({url.database})"
        raise ElsewhereError(message)
    began = connection.in_transaction()
    _pid, _database, same, is_default = connection.execute(text(SEES_OUR_LOCK.format(**lock))).fetchone()
    if same and is_default:
        connection.execute(text(f"SET lock_timeout = {round(lock_timeout * 1000)}"))
        connection.info[_MARK] = round(lock_timeout * 1000)
    if not began and connection.in_transaction():
        connection.commit()  # leave no transaction behind that env.py did not begin
    if not same:
        message = f"env.py connected to {place}"
        raise ElsewhereError(message)
    connection.info[_MIGRATES] = True


def tell_sessions(progress: Progress) -> None:
    """Tell the backend of each connection that any engine of this process opens."""
    from sqlalchemy import event
    from sqlalchemy.pool import Pool

    def connected(connection: Any, _record: Any) -> None:
        pid = _pid(connection)
        if pid is not None:
            progress.channel.say("session", pid=pid)

    event.listen(Pool, "connect", connected)


def _pid(connection: Any) -> int | None:
    """Return the backend of a driver's connection, where it tells without a question to the server."""
    driver = getattr(connection, "driver_connection", connection)  # SQLAlchemy wraps asynchronous ones
    if hasattr(driver, "info"):  # psycopg, and psycopg2
        return int(driver.info.backend_pid)
    return int(driver.get_server_pid()) if hasattr(driver, "get_server_pid") else None  # asyncpg


def watch(progress: Progress) -> None:
    """Count what is committed by any engine of this process, and lift the limit where waiting blocks nobody."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def committed(_connection: Any) -> None:
        progress.commits += 1

    def rolled_back(connection: Any) -> None:
        progress.is_undone = progress.is_undone or _MIGRATES in connection.info

    def before(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _MIGRATES in connection.info:
            progress.is_undone = ROLLBACK.search(statement) is not None
        if COMMITS.search(statement):
            progress.commits += 1
        if _CONCURRENTLY.search(statement) and _MARK in connection.info:
            cursor.execute("SET lock_timeout = 0")

    def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _CONCURRENTLY.search(statement) and _MARK in connection.info:
            cursor.execute(f"SET lock_timeout = {connection.info[_MARK]}")

    event.listen(Engine, "commit", committed)
    event.listen(Engine, "rollback", rolled_back)
    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)


def around_function(step: Any, progress: Progress, connection: Any, *, is_last: bool) -> None:
    """Have a step fail that ends with a rollback of its own: Alembic would write down that it was applied.

    Meanwhile ``progress`` knows that the revision's own function runs. Only the commit of the last revision waits for
    the disk, and with it for what was committed before: a version table never says more than the schema has.
    https://www.postgresql.org/docs/current/wal-async-commit.html
    """
    run = step.migration_fn

    def run_and_check(**options: Any) -> None:
        if connection.info.get(_WAITS):  # for this transaction only: behind a pooler, a session is shared
            connection.exec_driver_sql(f"SET LOCAL synchronous_commit = {'on' if is_last else 'off'}")
        progress.in_function = True
        try:
            run(**options)
        finally:
            progress.in_function = False
        if progress.is_undone:
            raise RolledBackError

    step.migration_fn = run_and_check
