"""What an id must be so that the version table can hold it.

Alembic makes the column as ``varchar(32)`` and writes longer ids all the same: the revision then fails at its last
statement. https://alembic.sqlalchemy.org/en/latest/api/runtime.html#alembic.runtime.migration.MigrationContext
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provision.alembic.tree.source import Revision

WIDTH = 32
"""Characters in ``version_num`` where Alembic makes the table."""
_WIDENS = re.compile(rb"version_num|version_table_impl")
_STATED = re.compile(rb"^revision\b[^=\n]*=[ \t]*([\"'])([^\"'\n]*)\1[ \t]*(?:#.*)?$", re.MULTILINE)
_SHOWN = 5


def widens(source: bytes) -> bool:
    """Tell whether an ``env.py`` or a revision deals with the column itself, so that it may become wider."""
    return _WIDENS.search(source) is not None


def stated(source: bytes) -> tuple[str, int] | None:
    """Return the id that a revision file states as a plain text, and its line; None where it computes it."""
    found = _STATED.search(source)
    if found is None:
        return None
    return found[2].decode("utf-8", "replace"), source.count(b"\n", 0, found.start()) + 1


def fault(name: str, width: int = WIDTH) -> str | None:
    """Return what is wrong with an id, in words; None: nothing."""
    if not name:
        return "the revision id is empty"
    if len(name) > width:
        return f"the revision id {name} has {len(name)} characters, and the version table holds {width}"
    return None


def refuse_long(revisions: Iterable[Revision], width: int | None, *, widened: bool) -> str:
    """Refuse revisions whose ids do not fit; ``width`` is that of the table, None where there is no table yet.

    Returns:
        A warning where ``widened`` says that the tree deals with the column itself, else an empty text.

    Raises:
        MigrationsError: an id does not fit, and nothing in the tree makes the column wider.
    """
    most = WIDTH if width is None else width
    long = [each for each in revisions if len(each.id) > most]
    if not long:
        return ""
    first = fault(long[0].id, most) or ""
    if widened:
        return f"{first}, unless this migration makes it wider"
    more = len(long) - _SHOWN
    raise MigrationsError(
        first,
        evidence=[*[each.place for each in long[:_SHOWN]], *([f"and {more} more"] if more > 0 else [])],
        next_step=f"give it an id of at most {most} characters, also in the `down_revision` of what follows it; "
        "or widen the column first: ALTER TABLE alembic_version ALTER version_num TYPE varchar(255)",
    )
