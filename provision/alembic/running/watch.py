"""What the server knows about a migration: who it waits for, and what one that died has left behind.

All of it is asked on the connection that holds our lock, so that it can be asked while the migration hangs.
https://www.postgresql.org/docs/current/functions-info.html (``pg_blocking_pids``)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.running.process import CHILD_NAME
from provision.alembic.tree import version_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.model import Query
    from provision.spec.model import Migrations

_SHORT = 80

_WAITS = """
WITH ours AS (SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND (pid = ANY(%s::int[]) OR application_name = %s))
SELECT waiter.pid, other.pid, other.application_name, other.usename, other.client_addr::text, other.state,
       to_char(coalesce(other.xact_start, other.state_change, other.backend_start), 'HH24:MI:SS'), other.query,
       other.pid IN (SELECT pid FROM ours), waiter.query, other.state LIKE 'idle%%', other.state_change::text
FROM pg_stat_activity AS waiter
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiter.pid)) AS blocking (pid)
JOIN pg_stat_activity AS other ON other.pid = blocking.pid
WHERE waiter.pid IN (SELECT pid FROM ours) AND waiter.wait_event_type = 'Lock'
ORDER BY 1, 2
"""

_RELATIONS = """
SELECT coalesce(array_agg(pg_class.oid::bigint), '{}'), pg_current_xact_id()::xid::text
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname !~ '^(pg_|information_schema$)'
"""

# An object is as old as the row that its creation wrote and nothing else usually writes: a table's is the one of its
# row type. Version rows are as old as the last revision that was applied: what is younger is of the one that failed.
_LEFT = """
SELECT relkind::text, format('%%I.%%I', nspname, relname), coalesce(indisvalid, true)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN pg_index ON indexrelid = pg_class.oid
LEFT JOIN pg_type ON pg_type.oid = reltype
CROSS JOIN LATERAL (SELECT age(coalesce(pg_index.xmin, pg_type.xmin, pg_class.xmin)) AS age) AS own
WHERE relkind IN ('r', 'p', 'v', 'm', 'i') AND relpersistence <> 't' AND nspname !~ '^(pg_|information_schema$)'
  AND pg_class.oid <> ALL (%(before)s::oid[]) AND (indrelid IS NULL OR indrelid = ANY (%(before)s::oid[])
       OR NOT indisvalid OR (SELECT age(row.xmin) FROM pg_class AS t JOIN pg_type AS row ON row.oid = t.reltype
                             WHERE t.oid = indrelid) >= {since})
  AND pg_class.oid IS DISTINCT FROM to_regclass(%(table)s) AND own.age < {since}
ORDER BY relkind = 'i' DESC, 2
"""

_INVALID = """
SELECT format('%I.%I', nspname, relname) FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE NOT indisvalid AND relkind = 'i'
  AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index WHERE index_relid = indexrelid)
ORDER BY 1
"""

_WORDS = {"r": "TABLE", "p": "TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "i": "INDEX"}


@dataclass(frozen=True, slots=True)
class Wait:
    """One session of the migration that waits for another one. ``is_own``: for another one of the same migration.

    ``statement`` is what waits, ``last`` what the other session sent last, ``changed`` when that began or ended.
    """

    waiter: int
    blocker: int
    who: str
    is_own: bool
    statement: str
    last: str
    is_idle: bool
    changed: str


def waits(query: Query, pids: Sequence[int]) -> tuple[Wait, ...]:
    """Return what the sessions of a migration wait for.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    found = []
    for waiter, pid, name, user, client, state, since, text, is_own, statement, idle, changed in query.rows(
        _WAITS, (list(pids), CHILD_NAME)
    ):
        who = f"pid {pid} ({name or 'no name'}, {user} from {client or 'a local socket'}, {state} since {since})"
        last = short(text)
        found.append(Wait(waiter, pid, f"{who}: {last}", is_own, short(statement), last, bool(idle), str(changed)))
    return tuple(found)


def short(text: str) -> str:
    """Return a statement in one short line."""
    line = " ".join((text or "").split())
    return line if len(line) <= _SHORT else line[: _SHORT - 2] + " …"


@dataclass(frozen=True, slots=True)
class Before:
    """The relations that were there before a migration began, and the transaction in which that was seen."""

    relations: tuple[int, ...]
    transaction: str


def before(query: Query) -> Before:
    """Return what is there now.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    ((relations, transaction),) = query.rows(_RELATIONS)
    return Before(tuple(relations), transaction)


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that a revision made and committed before it failed, and that a second run of it collides with."""

    kind: str
    name: str
    is_valid: bool

    def __str__(self) -> str:
        what = f"{self.kind.lower()} {self.name}"
        return what if self.is_valid else f"{what}, which is INVALID"

    @property
    def clean_up(self) -> str:
        """The statement that removes it."""
        return f"DROP {self.kind} {'CONCURRENTLY ' if self.kind == 'INDEX' else ''}{self.name};"


def leftovers(query: Query, tree: Migrations, then: Before) -> tuple[Leftover, ...]:
    """Return what is there since the last revision that the version table holds.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    table = version_table.table_name(tree)
    since = "age(%(transaction)s::xid)"
    if version_table.read_rows(tree, query):
        since = f"least({since}, (SELECT min(age(xmin)) FROM {table}))"  # noqa: S608  # quoted
    asked = {"before": list(then.relations), "transaction": then.transaction, "table": table}
    found = query.rows(_LEFT.format(since=since), asked)
    return tuple([Leftover(_WORDS[kind], name, is_valid) for kind, name, is_valid in found])


def invalid_indexes(query: Query) -> tuple[str, ...]:
    """Return the indexes that no query uses because they were not built to the end.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    return tuple([str(name) for (name,) in query.rows(_INVALID)])
