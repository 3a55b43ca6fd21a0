"""Pending revisions on a scratch copy of the database: what each of their statements locks, and writes anew.

The copy is a clone where nobody is connected to the database and it is small; else the applied revisions are run on an
empty one. The declared database is only asked for the sizes of its tables.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from provision.alembic.running import gate as alembic_gate
from provision.alembic.tree.locks import Lock, Table, Traced
from provision.alembic.verbs import scratch
from provision.alembic.verbs.database import asking
from provision.errors import ProvisionError
from provision.system import scratch as databases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provision.alembic.running.process import Child, Event
    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint

_SIZES = """
SELECT format('%I.%I', nspname, relname), CASE WHEN reltuples >= 0 THEN reltuples::bigint END,
       pg_total_relation_size(pg_class.oid)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p', 'm') AND nspname !~ '^(pg_|information_schema$)'
"""


@dataclass(frozen=True, slots=True)
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
            scratch.trace(tree, copy, target, seen.hear)
        except ProvisionError as error:
            raise _on_the_copy(error) from error
    held = _with_held(seen.statements, by_revision=tree.declared.transaction_per_revision)
    return Trace(held, tables, why is None, why)


@contextmanager
def _copy(tree: Tree, endpoint: Endpoint, rows: Sequence[str], *, clone: bool) -> Iterator[Endpoint]:
    with databases.database(endpoint, tree.spec.name, copied=clone) as copy:
        if not clone and rows:
            try:
                scratch.upgrade(tree, copy, rows)
            except ProvisionError as error:
                error.evidence = (
                    *error.evidence,
                    "this was on an empty scratch database, to make a copy of the schema",
                )
                error.next_step = "try again when nobody is connected to the database: then it is cloned"
                raise
        yield copy


def _on_the_copy(error: ProvisionError) -> ProvisionError:
    error.evidence = (*error.evidence, "this was on a scratch copy; the database is as it was")
    return error


@dataclass(slots=True)
class _Seen:
    """Hears what the child tells of statements."""

    tree: Tree
    endpoint: Endpoint | None = None
    statements: list[Traced] = field(default_factory=list)
    _waited: set[tuple[str, str]] | None = None

    def hear(self, child: Child, event: Event) -> None:
        if event["event"] == "concurrently" and self.endpoint is not None:
            self._waited = alembic_gate.locks_of(self.endpoint, event["pid"], child)
        elif event["event"] == "statement-failed":
            self._waited = None
        elif event["event"] == "statement":
            self.statements.append(self._traced(event))
            self._waited = None

    def _traced(self, event: Event) -> Traced:
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
