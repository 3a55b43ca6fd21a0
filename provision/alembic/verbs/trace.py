"""Pending revisions on a scratch copy of the database: what each of their statements locks and rewrites.

The copy is a clone where the database is small and has no other sessions; else the applied revisions are run on an
empty database. The declared database is only asked for the sizes of its tables.
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES
"""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from provision.alembic.child.rehearse import STRENGTH
from provision.alembic.verbs.database import asking, likeness, run_scratch
from provision.errors import ProvisionError, UnavailableError, command, translated
from provision.model.value import dataclass, field, replace
from provision.system import scratch as databases
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import psycopg2.extensions

    from provision.alembic.child.protocol import Event, Statement
    from provision.alembic.running.process import Child
    from provision.alembic.trees import Tree
    from provision.model import Endpoint


_SIZES = """
SELECT format('%I.%I', nspname, relname), CASE WHEN reltuples >= 0 THEN reltuples::bigint END,
       pg_total_relation_size(pg_class.oid)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^(pg_|information_schema$)'
"""


@dataclass(frozen=True)
class Trace:
    """What was seen: the statements in their order, and the declared database's tables.

    ``is_clone``: the copy had the rows of the declared database; else ``why`` says why it had none.
    """

    statements: tuple[Traced, ...]
    tables: Mapping[str, Table]
    is_clone: bool
    why: str | None


def trace(tree: Tree, endpoint: Endpoint, rows: Sequence[str], target: Sequence[str]) -> Trace:
    """Run what is pending between ``rows``, where the database is, and a target, on a scratch copy.

    Raises:
        ProvisionError: a revision fails there, or would have gone elsewhere; the declared database is as it was.
        UnavailableError: the server cannot be reached.
    """
    with asking(endpoint) as query:
        tables = {str(name): Table(count, size) for name, count, size in query.rows(_SIZES)}
    why = databases.source(endpoint).obstacle
    seen = _Seen(tree)
    with _copy(tree, endpoint, rows, clone=why is None) as copy:
        seen.endpoint = copy
        try:
            run_scratch(tree, copy, target, hear=seen.hear, trace=True)
        except ProvisionError as error:
            error.evidence = (*error.evidence, "this was on a scratch copy; the database is as it was")
            raise
    held = _with_held(seen.statements, by_revision=tree.declared.transaction_per_revision)
    return Trace(held, tables, why is None, why)


@contextmanager
def _copy(tree: Tree, endpoint: Endpoint, rows: Sequence[str], *, clone: bool) -> Iterator[Endpoint]:
    with databases.database(endpoint, tree.spec.name, copied=clone, like=likeness(tree)) as copy:
        if not clone and rows:
            try:
                run_scratch(tree, copy, rows)
            except ProvisionError as error:
                why = "this was on an empty scratch database, to make a copy of the schema"
                error.evidence = (*error.evidence, why)
                error.next_step = "try again when no other session is in the database: then it is cloned"
                raise
        yield copy


@dataclass
class _Seen:
    """Hears what the child tells of statements."""

    tree: Tree
    endpoint: Endpoint | None = None
    statements: list[Traced] = field(default_factory=list)
    _waited: set[tuple[str, str]] | None = None

    def hear(self, child: Child, event: Event) -> None:
        if event["event"] == "concurrently" and self.endpoint is not None:
            self._waited = locks_of(self.endpoint, event["pid"], child)
        elif event["event"] == "statement-failed":
            self._waited = None
        elif event["event"] == "statement":
            self.statements.append(self._traced(event))
            self._waited = None

    def _traced(self, event: Statement) -> Traced:
        locks = [Lock(table, mode, is_new) for table, mode, is_new in event["locks"]]
        locks += [Lock(table, mode, table in event["new"]) for table, mode in sorted(self._waited or ())]
        return Traced(
            event["revision"],
            self.tree.graph[event["revision"]].path,
            event["line"],
            event["statement"],
            event["seconds"],
            tuple(locks),
            tuple(event["rewritten"]),
            event["seconds"],
            self._waited is not None,
        )


def _with_held(statements: Sequence[Traced], *, by_revision: bool) -> tuple[Traced, ...]:
    """Add up how long locks were held: through the later statements of the same transaction too."""
    found: list[Traced] = []
    for each in reversed(statements):
        later = found[-1] if found and (found[-1].revision == each.revision or not by_revision) else None
        through = 0.0 if later is None or each.concurrently or later.concurrently else later.held
        found.append(replace(each, held=each.seconds + through))
    return tuple(found[::-1])


_WHO: Final = {
    "ShareUpdateExclusiveLock": "only VACUUM and other schema changes wait",
    "ShareLock": "writers wait",
    "ShareRowExclusiveLock": "writers wait",
    "ExclusiveLock": "writers wait",
    "AccessExclusiveLock": "readers and writers wait",
}
_KILO, _MEGA = 1 << 10, 1 << 20


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
        """Whether sessions that read or write rows have to wait."""
        return STRENGTH.index(self.mode) >= STRENGTH.index("ShareLock")


@dataclass(frozen=True)
class Traced:
    """One statement that a revision sent: how long it took, in seconds, its new locks, and the tables it rewrote.

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
        took = f" ({traced.held:.2f} s here)" if lock.blocks else ""
        yield f"{lock.name} on {lock.table}{size}: {_WHO[lock.mode]} {until}{took}"
    emptied = re.match(r"(?i)\s*truncate\b", traced.statement) is not None
    for name in traced.rewritten:
        size = f": {tables[name]} are copied" if name in tables else ""
        yield f"{name} is emptied" if emptied else f"{name} is rewritten, with its indexes{size}"


_PATIENCE = 30.0
_POLL = 0.005
_SHORT = "2s"

_TABLES = """
SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname !~ '^(pg_|information_schema$)'
  AND has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')
"""
_SEEN = """
SELECT format('%%I.%%I', nspname, relname), mode FROM pg_locks
JOIN pg_class ON pg_class.oid = relation JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pid = %(pid)s AND granted AND locktype = 'relation' AND relkind IN ('r', 'p', 'm')
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND nspname !~ '^(pg_|information_schema$)'
"""
_WAITS = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE pid = %(pid)s AND NOT granted)"


def locks_of(endpoint: Endpoint, pid: int, child: Child) -> set[tuple[str, str]]:
    """Let a child go on that is about to run such a statement; return the tables that it locks, and the modes.

    ``pid`` is the child's session on the server. The child speaks as soon as the statement has ended.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    import psycopg2

    gone = UnavailableError("the server went away while a statement ran", next_step=command("status"))
    with (
        translated(psycopg2.Error, into=gone),
        closing(connect(endpoint, read_only=False)) as gate,
        closing(connect(endpoint, read_only=True)) as eyes,
        eyes.cursor() as look,
    ):
        _shut(gate)
        child.go_on()
        return _watched(look, pid, child)


def _shut(gate: psycopg2.extensions.connection) -> None:
    """Read all tables that we may read; where another session locks one, the statement finds the gate open.

    It may be locked by the migration itself, in another session, and then neither would ever continue.
    """
    from psycopg2.errors import InsufficientPrivilege, LockNotAvailable

    gate.set_session(isolation_level="REPEATABLE READ", autocommit=False)
    with gate.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = ", ".join(name for (name,) in cursor.fetchall())
        if tables:
            cursor.execute(f"SET LOCAL lock_timeout = '{_SHORT}'")
            try:
                cursor.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
            except (LockNotAvailable, InsufficientPrivilege):
                gate.rollback()


def _watched(look: psycopg2.extensions.cursor, pid: int, child: Child) -> set[tuple[str, str]]:
    """Return what a session locks until it waits, or has ended its statement."""
    seen: set[tuple[str, str]] = set()
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        look.execute(_WAITS, {"pid": pid})
        (is_waiting,) = look.fetchone() or (False,)
        look.execute(_SEEN, {"pid": pid})  # after it, so that nothing is missed when it waits
        seen |= {(str(name), str(mode)) for name, mode in look.fetchall()}
        if is_waiting or child.has_spoken(within=_POLL):
            break
    return seen
