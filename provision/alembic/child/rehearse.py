"""Revisions on a scratch database: what they change, what they lock, and what they may not.

Nothing but that database may be hurt. So every connection that any engine of this process hands out is asked where it
leads, the application's own engines too; and a statement that changes what all databases of a server share (roles,
databases, tablespaces, the server's settings) is refused.

Locks are looked at on the connection that ran the statement, in its transaction: no other session sees the new files
of a table before the commit, and its locks are gone afterwards. What runs ``CONCURRENTLY`` commits in between, so our
parent looks at its locks, and lets it wait for a moment. https://www.postgresql.org/docs/current/explicit-locking.html
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Literal

from . import catalogue
from .channel import Progress, ReportedError, line_in
from .connection import SEES_LOCK, around_function

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .protocol import Lock, Rehearsal

_NEVER_LAST = 1, 2
"""The place of a step whose commit need not wait for the disk: a scratch database goes away."""
_SHARED = re.compile(
    r"(?i)\b(create|alter|drop)\s+(role|user(?!\s+mapping\b)|group|database|tablespace|subscription)\b"
    r"|\bcomment\s+on\s+(role|database|tablespace)\b|\balter\s+system\b|\b(reassign|drop)\s+owned\b"
    r"|(^|;)\s*(grant|revoke)\s((?![^;]*\bon\b)|[^;]*\bon\s+(database|tablespace|parameter)\b)",
    re.DOTALL,
)


def shared(statement: str) -> str | None:
    """Return the words of a statement that change what all databases of the server share; None where there are none."""
    found = _SHARED.search(statement)
    return " ".join(found.group().strip("; \n").split()).upper() if found else None


def fence(lock: Lock) -> None:
    """Keep this process in the database whose lock our parent holds."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("provision: proven") is connection:
            return
        if not _leads_here(connection, SEES_LOCK.format(**lock)):
            driver = type(connection).__module__
            raise ReportedError("elsewhere", f"a connection was opened to another place ({driver})")
        record.info["provision: proven"] = connection

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if words := shared(statement):
            raise ReportedError("shared", words)

    event.listen(Pool, "checkout", checked_out)
    event.listen(Engine, "before_cursor_execute", before)


def _leads_here(connection: Any, question: str) -> bool:
    cursor = connection.cursor()
    try:
        cursor.execute(question)
        return bool(cursor.fetchone()[0])
    except Exception:  # noqa: BLE001  # another kind of database does not know the question
        return False
    finally:
        cursor.close()
        connection.rollback()


def walk(script: Any, request: Rehearsal, progress: Progress, context: Any) -> Iterator[Any]:
    """Yield Alembic's steps up, down and up again of each revision, and report what differs in the schema then."""
    from alembic.runtime.migration import MigrationStep

    def read() -> catalogue.Catalogue:
        return catalogue.read(context.connection, request["quoted_table"])

    def step(name: str, make: Any) -> Iterator[Any]:
        made = make(script.revision_map, script.get_revision(name))
        progress.start(made)
        around_function(made, progress, context.connection, _NEVER_LAST)
        yield made
        progress.done(made)

    before = read()
    for name, goes_back in request["walk"]:
        yield from step(name, MigrationStep.upgrade_from_script)
        after = read()
        if goes_back and not hasattr(script.get_revision(name).module, "downgrade"):
            progress.channel.say({"event": "no-downgrade", "revision": name})
        elif goes_back:
            yield from step(name, MigrationStep.downgrade_from_script)
            _report(progress, name, "down", before, read())
            yield from step(name, MigrationStep.upgrade_from_script)
            _report(progress, name, "again", after, again := read())
            after = again
        before = after


def _report(progress: Progress, revision: str, phase: Literal["down", "again"], *seen: catalogue.Catalogue) -> None:
    for kind, name, wanted, found in catalogue.differences(*seen):
        progress.channel.say(
            {
                "event": "difference",
                "revision": revision,
                "phase": phase,
                "kind": kind,
                "name": name,
                "wanted": wanted,
                "found": found,
            }
        )


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
SELECT CAST(c.oid AS text), quote_ident(nspname) || '.' || quote_ident(relname),
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
        self.pid = _rows(connection, "SELECT pg_backend_pid()")[0][0]
        self.relations = {oid: (name, node) for oid, name, node in _rows(connection, _RELATIONS)}
        self.locks = set(_rows(connection, _LOCKS))

    def holds_more(self, oid: str, mode: str) -> bool:
        """Tell whether the session holds a stronger lock on a relation already."""
        return any(each == oid and STRENGTH.index(held) > STRENGTH.index(mode) for each, held in self.locks)


def _rows(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor = connection.connection.cursor()  # another one than the statement's, whose result is still to be read
    try:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()


class Trace:
    """Reports every statement that revisions send."""

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
        if self._progress.stage != "revision":
            return
        line = line_in(self._script.get_revision(self._progress.revision).path)
        if line is None:  # the statement is Alembic's own
            return
        look = Look(connection)
        self._first = self._first or look
        if CONCURRENTLY.search(statement):
            self._progress.channel.say({"event": "concurrently", "pid": look.pid})
            self._progress.go.acquire()
        self._running[id(cursor)] = (line, look, time.monotonic())

    def _after(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        line, before, began = self._running.pop(id(cursor), (0, None, 0.0))
        if before is None or self._first is None:
            return
        seconds = time.monotonic() - began
        after, old = Look(connection), self._first.relations
        names = {oid: name for oid, (name, _) in {**after.relations, **before.relations}.items()}
        known = [each for each in after.relations if each in before.relations and each in old]
        self._progress.channel.say(
            {
                "event": "statement",
                "revision": str(self._progress.revision),
                "line": line,
                "statement": statement.strip(),
                "seconds": round(seconds, 4),
                "locks": [
                    (names[oid], mode, oid not in old)
                    for oid, mode in sorted(after.locks - before.locks)
                    if oid in names and not before.holds_more(oid, mode)
                ],
                "new": [name for oid, (name, _) in after.relations.items() if oid not in old],
                "rewritten": [names[oid] for oid in known if before.relations[oid][1] != after.relations[oid][1]],
            }
        )

    def _failed(self, context: Any) -> None:
        """Report that a statement has ended for which our parent waits; what follows is the revision's affair."""
        if CONCURRENTLY.search(context.statement or ""):
            self._progress.channel.say({"event": "statement-failed"})
