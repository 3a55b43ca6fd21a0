"""What each statement of a revision does to the tables that were there before: its locks, and what it writes anew.

Looked at on the connection that ran it, in its transaction: nobody else sees the new files of a table before the
commit, and its locks are gone afterwards. What runs ``CONCURRENTLY`` commits in between, so its locks are seen by our
parent, which lets it wait for a moment.
https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channel import Progress

CONCURRENTLY = re.compile(
    r"(?is)^\s*(create\s+(unique\s+)?index|drop\s+index|reindex|alter\s+table)\b.*\bconcurrently\b"
)

STRENGTH = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
"""The modes as pg_locks writes them, the weakest first."""

# Without a percent sign: some drivers read one as the place of a parameter.
_RELATIONS = """
SELECT CAST(c.oid AS text), quote_ident(nspname) || '.' || quote_ident(relname), CAST(relkind AS text),
       CAST(pg_relation_filenode(c.oid) AS text)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND relkind IN ('r', 'p', 'm', 'v', 'S', 'f')
"""
_LOCKS = """
SELECT CAST(relation AS text), mode FROM pg_locks
WHERE pid = pg_backend_pid() AND granted AND locktype = 'relation'
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Look:
    """The relations of a database, and the locks that a session holds on them, at one moment."""

    def __init__(self, connection: Any) -> None:
        cursor = connection.connection.cursor()  # another one than the statement's, whose result is still to be read
        try:
            cursor.execute(_RELATIONS)
            self.relations = {oid: (name, kind, node) for oid, name, kind, node in cursor.fetchall()}
            cursor.execute(_LOCKS)
            self.locks = {(oid, mode) for oid, mode in cursor.fetchall()}
        finally:
            cursor.close()

    def holds_more(self, oid: str, mode: str) -> bool:
        """Tell whether the session holds a stronger lock on a relation already."""
        return any(each == oid and STRENGTH.index(held) > STRENGTH.index(mode) for each, held in self.locks)


class Trace:
    """Listens to every statement, and tells of those that revisions send."""

    def __init__(self, script: Any, progress: Progress) -> None:
        self._script = script
        self._progress = progress
        self._first: Look | None = None
        self._running: dict[int, tuple[int, Look, float]] = {}

    def listen(self) -> None:
        """Listen to every engine of this process."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "handle_error", self._failed)

    def _before(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        line = self._line()
        if line is None:
            return
        look = Look(connection)
        self._first = self._first or look
        if CONCURRENTLY.search(statement):
            self._progress.channel.say("concurrently", pid=_pid(connection))
            self._progress.go.acquire()
        self._running[id(cursor)] = (line, look, time.monotonic())

    def _after(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        line, before, began = self._running.pop(id(cursor), (0, None, 0.0))
        if before is None or self._first is None:
            return
        seconds = time.monotonic() - began
        after, first = Look(connection), self._first
        names = {**after.relations, **before.relations}
        self._progress.channel.say(
            "statement",
            revision=self._progress.revision,
            line=line,
            statement=statement.strip(),
            seconds=round(seconds, 4),
            locks=[
                [names[oid][0], mode, oid not in first.relations]
                for oid, mode in sorted(after.locks - before.locks)
                if oid in names and not before.holds_more(oid, mode)
            ],
            new=[name for oid, (name, _kind, _node) in after.relations.items() if oid not in first.relations],
            rewritten=[
                name
                for oid, (name, _kind, node) in after.relations.items()
                if oid in before.relations and oid in first.relations and before.relations[oid][2] != node
            ],
        )

    def _failed(self, context: Any) -> None:
        """Say that a statement has ended for which our parent waits; what a revision makes of the error is its own."""
        if CONCURRENTLY.search(context.statement or ""):
            self._progress.channel.say("statement-failed")

    def _line(self) -> int | None:
        """Return the line of the running revision's file that sent a statement; None: it is Alembic's own."""
        if self._progress.stage != "revision":
            return None
        return line_in(self._script.get_revision(self._progress.revision).path)


def line_in(path: str | None) -> int | None:
    """Return the line of a file that is being run, as far inside as it goes; None where none of it is."""
    frame: Any = sys._getframe(1)  # noqa: SLF001  # what traceback and warnings look with
    while frame is not None and path is not None:
        if frame.f_code.co_filename == path:
            return int(frame.f_lineno)
        frame = frame.f_back
    return None


def _pid(connection: Any) -> int:
    cursor = connection.connection.cursor()
    try:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])
    finally:
        cursor.close()
