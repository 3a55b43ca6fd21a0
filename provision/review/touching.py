"""What statements do to tables that are there, as far as their text says: what they lock, rewrite, drop or create.

This is read from the text of each statement, and of an ``ALTER TABLE`` from each of its actions; nothing is run. What a
lock is, and which statement takes which: https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES .
Whether a new type rewrites a table depends on the types
(https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES), so that only a trace knows. So it is
with what names no table: a function, ``DO``, ``DROP INDEX``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from provision.alembic import Trace, strongest

Key = tuple[str, str]

REWRITES, EMPTIES, DROPS, LOSES, MAY_REWRITE, LOCKS, BLOCKS, WRITES, CREATES = (
    "rewritten",
    "emptied",
    "dropped",
    "loses a column",
    "may be rewritten",
    "locked",
    "locked for writers",
    "rows changed",
    "created",
)
"""What happens to a table, the worst first: LOCKS: readers and writers wait; BLOCKS: writers do."""
ORDER: Final = (DROPS, EMPTIES, LOSES, REWRITES, MAY_REWRITE, LOCKS, BLOCKS, WRITES, CREATES)
_PART = r'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\U0010ffff][\w$]*)'
_NAME = rf"(?P<name>{_PART}(?:\s*\.\s*{_PART})?)"
_COMMENTS = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
_ALTER = rf"ALTER\s+TABLE\s+(?:IF\s+EXISTS\s+)?(?:ONLY\s+)?{_NAME}(?P<rest>.*)"
_INDEX = rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?P<quiet>CONCURRENTLY\s)?.*?\sON\s+(?:ONLY\s+)?{_NAME}"
_LOCK = rf"LOCK\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}"
_WEAK = r"(?:ACCESS\s+SHARE|ROW\s+SHARE|ROW\s+EXCLUSIVE|SHARE\s+UPDATE\s+EXCLUSIVE)"
_STRONG = r"(?:SHARE|SHARE\s+ROW\s+EXCLUSIVE|EXCLUSIVE)"
_CHANGES = r"(?:UPDATE|DELETE\s+FROM|INSERT\s+INTO|MERGE\s+INTO)"
_OTHERS: Final = (
    (rf"CREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_NAME}", CREATES),
    (rf"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?{_NAME}", DROPS),
    (rf"TRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?{_NAME}", EMPTIES),
    (rf"{_LOCK}(?=.*\sIN\s+{_WEAK}\s+MODE)", None),
    (rf"{_LOCK}(?=.*\sIN\s+{_STRONG}\s+MODE)", BLOCKS),
    (_LOCK, LOCKS),
    (rf"(?:VACUUM\s*(?:\(\s*FULL\b.*?\)|FULL\b)|CLUSTER(?:\s+VERBOSE)?)(?:\s+VERBOSE|\s+ANALYZE)*\s+{_NAME}", REWRITES),
    (rf"REINDEX\s+(?:\([^)]*\)\s*)?TABLE\s+(?!CONCURRENTLY\s){_NAME}", BLOCKS),
    (rf"(?:WITH\s.*?\)\s*)?{_CHANGES}\s+(?:ONLY\s+)?{_NAME}", WRITES),
    (rf"COPY\s+{_NAME}(?=.*\sFROM\s)", WRITES),
    (rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\s.*?\sON\s+{_NAME}", BLOCKS),
    (rf"(?:(?:CREATE|ALTER|DROP)\s+POLICY|(?:ALTER|DROP)\s+TRIGGER|DROP\s+RULE)\s.*?\sON\s+{_NAME}", LOCKS),
    (rf"CREATE\s+(?:OR\s+REPLACE\s+)?RULE\s.*?\sTO\s+{_NAME}", LOCKS),
)
"""What else a statement can begin with, and what that does; None: no session notices."""
_ALTERS = rf"ALTER\s+(?:COLUMN\s+)?{_PART}\s+"
_GENERATED = r"\b(?:(?:BIG|SMALL)?SERIAL|GENERATED\s+(?:ALWAYS|BY\s+DEFAULT)\s+AS)\b"
_ACTIONS: Final = (
    (rf"VALIDATE\s+CONSTRAINT\b|{_ALTERS}SET\s+(?:STATISTICS\b|\()|RESET\s*\(|CLUSTER\s+ON\b", None),
    (r"SET\s+(?:WITHOUT\s+CLUSTER\b|\()|ATTACH\s+PARTITION\b|DETACH\s+PARTITION\s.*\sCONCURRENTLY\b", None),
    (r"DROP\s+(?!CONSTRAINT\b)", LOSES),
    (rf"{_ALTERS}(?:SET\s+DATA\s+)?TYPE\b|ADD\s.*?{_GENERATED}", MAY_REWRITE),
    (r"ADD\s+(?:CONSTRAINT\s+\S+\s+)?FOREIGN\s+KEY\b|(?:ENABLE|DISABLE)\s+(?:\w+\s+)?TRIGGER\b", BLOCKS),
    ("", LOCKS),
)
"""What each action of an ALTER TABLE does, by what it begins with: https://www.postgresql.org/docs/current/sql-altertable.html"""
_REFERS = rf"\bREFERENCES\s+{_NAME}|\bATTACH\s+PARTITION\s+(?P<part>{_PART}(?:\s*\.\s*{_PART})?)"
_TEXT = r'(?P<name>"(?:[^"]|"")*")|' + r"'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
_PIECE = r'"(?:[^"]|"")*"|[(),]|[^"(),]+'


class Touch(NamedTuple):
    """That something happens to a table (schema, name). ``mode`` and ``seconds`` of its lock are those of a trace."""

    table: Key
    what: str
    mode: str = ""
    seconds: float | None = None


def of_statement(text: str, tables: Collection[Key]) -> Iterator[Touch]:
    """Yield what a statement does to tables; ``tables`` are those that there are, for names without a schema."""
    flags = re.IGNORECASE | re.DOTALL
    start = re.match(_COMMENTS, text, re.DOTALL)
    rest = re.sub(_TEXT, lambda each: each["name"] or "''", text[start.end() :] if start else text, flags=re.DOTALL)
    for other in re.finditer(_REFERS, rest if re.match(r"CREATE\s|ALTER\s", rest, flags) else "", flags):
        yield Touch(_key(other["name"] or other["part"], tables), BLOCKS if other["name"] else LOCKS)
    if found := re.match(_ALTER, rest, flags):
        done = [what for each in _actions(found["rest"]) if (what := _first(_ACTIONS, each)) is not None]
        if done:
            yield Touch(_key(found["name"], tables), min(done, key=ORDER.index))
    elif found := re.match(_INDEX, rest, flags):
        if not found["quiet"]:
            yield Touch(_key(found["name"], tables), BLOCKS)
    else:
        for pattern, what in _OTHERS:
            if found := re.match(pattern, rest, flags):
                for name in _listed(found["name"], rest[found.end() :]):
                    if what is not None:
                        yield Touch(_key(name, tables), what)
                return


def _actions(rest: str) -> Iterator[str]:
    """Yield the actions of an ALTER TABLE: what is between its commas, but for those in brackets and names."""
    depth, action = 0, ""
    for piece in re.findall(_PIECE, rest):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and depth == 0:
            yield action.strip()
            action = ""
        else:
            action += piece
    yield action.strip()


def _first(table: Sequence[tuple[str, str | None]], text: str) -> str | None:
    """Return what the first pattern that fits says."""
    return next(what for pattern, what in table if re.match(pattern, text, re.IGNORECASE | re.DOTALL))


def _listed(first: str, rest: str) -> Iterator[str]:
    """Yield a name, and those that follow it after commas, as in ``DROP TABLE a, b``."""
    yield first
    while found := re.match(rf"\s*,\s*(?:ONLY\s+)?{_NAME}", rest, re.IGNORECASE):
        yield found["name"]
        rest = rest[found.end() :]


def of_trace(trace: Trace, revision: str) -> Iterator[Touch]:
    """Yield what a revision did to tables where it was tried, but for those that it has made itself."""
    for each in trace.statements:
        if each.revision != revision:
            continue
        emptied = re.match(r"(?i)\s*truncate\b", each.statement) is not None
        for name in each.rewritten:
            yield Touch(_split(name), EMPTIES if emptied else REWRITES, "", each.held)
        for lock in strongest(each.locks):
            if lock.blocks and not lock.is_new:
                what = LOCKS if lock.mode == "AccessExclusiveLock" else BLOCKS
                yield Touch(_split(lock.table), what, lock.name, each.held)


def worst(touches: Sequence[Touch]) -> tuple[Touch, ...]:
    """Return the worst that happens to each table, the worst table first; of two that are alike, the longer one."""
    found: dict[Key, Touch] = {}
    for each in sorted(touches, key=lambda each: (ORDER.index(each.what), -(each.seconds or 0))):
        found.setdefault(each.table, each)
    return tuple(found.values())


def _key(text: str, tables: Collection[Key]) -> Key:
    """Return the schema and name of a table as SQL names it; without a schema it is the one of that name that is."""
    schema, name = _split(text)
    if schema or ("public", name) in tables:
        return schema or "public", name
    there = [each for each in tables if each[1] == name]
    return there[0] if len(there) == 1 else ("public", name)


def _split(text: str) -> Key:
    r"""Return the schema, empty where none is written, and the name.

    >>> _split('public."Or""ders"'), _split("Orders")
    (('public', 'Or"ders'), ('', 'orders'))
    """
    parts = [
        each[1:-1].replace('""', '"') if each.startswith('"') else each.lower() for each in re.findall(_PART, text)
    ]
    return (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
