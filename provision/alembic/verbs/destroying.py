"""Which revisions destroy data, as far as the text of their SQL says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from provision.alembic.verbs.sql import Script, statements

_DESTROYS = (
    r"DROP\s+(?:TABLE|SCHEMA|TYPE|DOMAIN|EXTENSION|SEQUENCE|OWNED|DATABASE)\b|TRUNCATE\b|DELETE\s+FROM\b"
    r"|(?:WITH\b.*?\s)?UPDATE\b|ALTER\s+TABLE\b.*?\b(?:DROP\s+COLUMN|DROP\s+EXPRESSION|DETACH\s+PARTITION"
    r"|ALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE)\b|ALTER\s+TABLE\b.*?\bDROP\s+(?!CONSTRAINT|NOT|DEFAULT|IDENTITY)"
)
"""Of one statement, from its beginning; case does not count. A comment may come before it."""
_COMMENTS = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"


class Destroying(NamedTuple):
    """A revision that destroys data, the ``tree`` that it is of, and why: a statement, or that it is not known."""

    tree: str
    database: str
    revision: str
    why: str


def destroying(scripts: Iterable[Script]) -> Iterator[Destroying]:
    """Yield the revisions of rendered migrations that destroy data, in their order."""
    for script in scripts:
        tree, database = script.tree.name, script.tree.spec.database_of(script.tree.declared)
        if script.rendering is None:
            if script.tree.declared.command:
                yield Destroying(tree, database, script.tree.declared.target, script.unknown)
            continue
        for each in script.rendering.revisions:
            why = each.reason or next((one.text for one in statements(each.pieces) if destroys(one.text)), None)
            if why is not None or not script.upgrade:
                yield Destroying(tree, database, each.revision, why or "it is undone")


def destroys(statement: str) -> bool:
    r"""Whether a statement destroys data.

    >>> [destroys(each) for each in ("ALTER TABLE a DROP COLUMN b", "drop table a", "-- old\n DELETE FROM a")]
    [True, True, True]
    >>> [destroys(each) for each in ("ALTER TABLE a ALTER b TYPE text", "ALTER TABLE a DROP b")]
    [True, True]
    >>> [destroys(each) for each in ("ALTER TABLE a DROP CONSTRAINT b", "CREATE TABLE a (b text)", "DROP INDEX a")]
    [False, False, False]
    """
    return re.match(f"{_COMMENTS}(?:{_DESTROYS})", statement, re.IGNORECASE | re.DOTALL) is not None
