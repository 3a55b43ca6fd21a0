"""Revisions on a database that is there only for trying them: what they change, what they lock, and what they may not.

Nothing but that database may be hurt. So every connection that any engine of this process hands out is asked where it
leads, the application's own engines too; and a statement that changes what all databases of a server share (roles,
databases, tablespaces, the server's settings) is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import catalogue, guard
from .channel import ElsewhereError, SharedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .channel import Progress
    from .config import Request

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


def fence(lock: dict[str, int]) -> None:
    """Keep this process in the database whose lock our parent holds."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    question = guard.SEES_OUR_LOCK.format(**lock)

    def checked_out(connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get("provision: proven") is connection:
            return
        if not _leads_here(connection, question):
            message = f"a connection was opened to another place ({type(connection).__module__})"
            raise ElsewhereError(message)
        record.info["provision: proven"] = connection

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = shared(statement)
        if words:
            raise SharedError(words)

    event.listen(Pool, "checkout", checked_out)
    event.listen(Engine, "before_cursor_execute", before)


def _leads_here(connection: Any, question: str) -> bool:
    cursor = connection.cursor()
    try:
        cursor.execute(question)
        _pid, _database, same, _default = cursor.fetchone()
    except Exception:  # noqa: BLE001  # another kind of database does not know the question
        return False
    finally:
        cursor.close()
        connection.rollback()
    return bool(same)


def walk(script: Any, request: Request, progress: Progress, context: Any) -> Iterator[Any]:
    """Yield Alembic's steps up, down and up again of each revision, and tell in what the schema differs then."""
    from alembic.runtime.migration import MigrationStep

    def read() -> catalogue.Catalogue:
        return catalogue.read(context.connection, request["quoted_table"])

    def step(name: str, make: Any) -> Iterator[Any]:
        made = make(script.revision_map, script.get_revision(name))
        progress.start(made)
        guard.around_function(made, progress, context.connection, is_last=False)
        yield made
        progress.done(made)

    before = read()
    for name, goes_back in request["walk"]:
        yield from step(name, MigrationStep.upgrade_from_script)
        after = read()
        if goes_back and not hasattr(script.get_revision(name).module, "downgrade"):
            progress.channel.say("no-downgrade", revision=name)
        elif goes_back:
            yield from step(name, MigrationStep.downgrade_from_script)
            _tell(progress, name, "down", before, read())
            yield from step(name, MigrationStep.upgrade_from_script)
            again = read()
            _tell(progress, name, "again", after, again)
            after = again
        progress.channel.say("walked", revision=name)
        before = after


def _tell(progress: Progress, name: str, phase: str, wanted: catalogue.Catalogue, found: catalogue.Catalogue) -> None:
    for kind, what, before, after in catalogue.differences(wanted, found):
        progress.channel.say("difference", revision=name, phase=phase, kind=kind, name=what, wanted=before, found=after)
