"""What a statement does to those who work with its tables meanwhile, in plain words.

https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from provision.alembic.child.trace import STRENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_WHO: Final = {
    "ShareUpdateExclusiveLock": "nobody waits but VACUUM and other schema changes",
    "ShareLock": "writers wait",
    "ShareRowExclusiveLock": "writers wait",
    "ExclusiveLock": "writers wait",
    "AccessExclusiveLock": "readers and writers wait",
}
_KILO, _MEGA = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the declared database: how many rows the statistics say (None: unknown), and its size in bytes."""

    rows: int | None
    size: int

    def __str__(self) -> str:
        if self.size >= _MEGA << 10:
            size = f"{self.size / (_MEGA << 10):.1f} GB"
        else:
            size = f"{self.size / _MEGA:.1f} MB" if self.size >= _MEGA else f"{self.size // _KILO} kB"
        return size if self.rows is None else f"about {self.rows:,} row{'' if self.rows == 1 else 's'}, {size}"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that a statement took. ``is_new``: on a table that these revisions have made themselves."""

    table: str
    mode: str
    is_new: bool

    @property
    def name(self) -> str:
        """The mode as PostgreSQL's manual writes it: ``ACCESS EXCLUSIVE``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.mode.removesuffix("Lock")).upper()

    @property
    def blocks(self) -> bool:
        """Whether somebody who reads or writes rows has to wait."""
        return STRENGTH.index(self.mode) >= STRENGTH.index("ShareLock")


@dataclass(frozen=True, slots=True)
class Traced:
    """One statement that a revision sent: how long it took, in seconds, its new locks, and the tables it wrote anew.

    ``line`` is that of the operation in ``path``. ``held`` is how long its locks were held: until the revision was
    committed. ``concurrently``: it commits in between, and holds its locks only while it runs.
    """

    revision: str
    path: Path
    line: int
    statement: str
    seconds: float
    locks: tuple[Lock, ...]
    rewritten: tuple[str, ...]
    held: float = 0.0
    concurrently: bool = False


def strongest(locks: tuple[Lock, ...]) -> tuple[Lock, ...]:
    """Return the strongest lock on each table, by the tables' names."""
    found: dict[str, Lock] = {}
    for each in locks:
        known = found.get(each.table)
        if known is None or STRENGTH.index(each.mode) > STRENGTH.index(known.mode):
            found[each.table] = each
    return tuple([found[name] for name in sorted(found)])


def consequences(traced: Traced, tables: Mapping[str, Table]) -> Iterator[str]:
    """Yield what others notice of a statement, a sentence each; nothing when they notice nothing."""
    for lock in strongest(traced.locks):
        if lock.is_new or lock.mode not in _WHO:
            continue
        size = f" ({tables[lock.table]})" if lock.table in tables else ""
        until = "while it runs" if traced.concurrently else "until the commit"
        yield f"{lock.name} on {lock.table}{size}: {_WHO[lock.mode]} {until}" + _took(traced, lock)
    emptied = re.match(r"(?i)\s*truncate\b", traced.statement) is not None
    for name in traced.rewritten:
        size = f": {tables[name]} are copied" if name in tables else ""
        yield f"{name} is emptied" if emptied else f"{name} is written anew, with its indexes{size}"


def _took(traced: Traced, lock: Lock) -> str:
    return f" ({traced.held:.2f} s here)" if lock.blocks else ""
