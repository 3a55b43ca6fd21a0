"""What a revision commits while it still runs: in a session of its own, or by committing the migration's.

Alembic writes a revision's row and commits it with the revision's statements. What was committed before that stays
when the revision fails, and when all revisions share a transaction that is rolled back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .guard import COMMITS, ROLLBACK

if TYPE_CHECKING:
    from .channel import Progress

_READS = re.compile(r"(?is)\s*(?:select|set|show|savepoint|release|begin|explain|lock|fetch|declare|close|values)\b")
_LONGEST = 200


class Committed:
    """Tells each statement that was committed, as soon as it is."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._pending: dict[int, list[str]] = {}

    def listen(self) -> None:
        """Listen to every engine of this process."""
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "after_cursor_execute", self._after)
        event.listen(Engine, "commit", self._commit)
        event.listen(Engine, "rollback", self._forget)

    def _after(self, connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not self._progress.in_function:
            return
        if COMMITS.search(statement):
            (self._forget if ROLLBACK.search(statement) else self._commit)(connection)
        elif not _READS.match(statement):
            text = " ".join(statement.split())
            line = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
            self._pending.setdefault(_of(connection), []).append(line)
            if _is_autocommit(connection):
                self._commit(connection)

    def _commit(self, connection: Any) -> None:
        for statement in self._pending.pop(_of(connection), ()):
            if self._progress.in_function:
                self._progress.channel.say("committed", revision=self._progress.revision, statement=statement)

    def _forget(self, connection: Any) -> None:
        self._pending.pop(_of(connection), None)


def _of(connection: Any) -> int:
    return id(connection.connection.dbapi_connection)


def _is_autocommit(connection: Any) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "autocommit", False))
