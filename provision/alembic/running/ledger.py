"""Writes the ledger while a tree is migrated: the hash of each file, as soon as the version table says it is applied.

A ledger is never the reason why a migration fails, nor why one waits: what cannot be written is reported once, and then
the revision is not known. So it is after a ``kill -9`` between a revision's commit and its row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.lock import LockConnection
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.source import Revision, digest, stamp
from provision.alembic.tree.version_table import (
    LEDGER,
    LEDGER_IS_THERE,
    OTHER_TABLE,
    TABLE_KEY,
    create_ledger,
    ledger_key,
    read_rows,
    table_name,
)
from provision.errors import UnavailableError
from provision.spec.model import Migrations
from provision.version import __version__

_EVERY = 0.5

_FORGET = f"""
DELETE FROM {LEDGER}
WHERE version_table = {TABLE_KEY} AND revision <> ALL (%(applied)s::text[]) AND sha256 <> '{OTHER_TABLE}'
"""  # noqa: S608
_NOTE = f"""
WITH gone AS ({_FORGET})
INSERT INTO {LEDGER} (version_table, revision, sha256, applied_at, provision_version)
SELECT {TABLE_KEY}, revision, sha256, clock_timestamp() - make_interval(secs => ago), %(version)s
FROM unnest(%(revisions)s::text[], %(hashes)s::text[], %(ago)s::float8[]) AS t (revision, sha256, ago)
ON CONFLICT (version_table, revision) DO UPDATE
SET sha256 = excluded.sha256, applied_at = excluded.applied_at, provision_version = excluded.provision_version
"""  # noqa: S608

_NOTE_TABLES = f"""
DELETE FROM {LEDGER} WHERE version_table = {TABLE_KEY} AND sha256 = '{OTHER_TABLE}' AND %(all)s;
INSERT INTO {LEDGER} (version_table, revision, sha256, applied_at, provision_version)
SELECT {TABLE_KEY}, name, '{OTHER_TABLE}', clock_timestamp(), %(version)s
FROM unnest(%(tables)s::text[]) AS t (name)
ON CONFLICT DO NOTHING
"""  # noqa: S608


class Ledger:
    """The ledger of one tree in one run; ``lock`` is the connection that holds the lock.

    A stamp (``runs`` is false) makes nothing known: no file was applied.
    """

    def __init__(
        self,
        tree: Migrations,
        graph: Graph,
        lock: LockConnection,
        on_event: Callable[[MigrationEvent], None],
        *,
        runs: bool = True,
    ) -> None:
        self._runs = runs
        self._tree, self._graph, self._lock, self._on_event = tree, graph, lock, on_event
        self._is_open = False
        self._before: set[str] = set()
        self._noted: set[str] = set()
        self._ended: dict[str, float] = {}
        self._noted_at = time.monotonic()

    def open(self, rows: Sequence[str]) -> None:
        """Make the table where it is missing, and forget what is not applied: a run that was killed may have left it.

        Raises:
            UnavailableError: the connection is lost.
        """
        if not self._tree.ledger:
            return
        self._before = self._graph.ancestors([row for row in rows if row in self._graph])
        is_there = self._is_there()
        if not is_there and not self._runs:
            return
        if is_there:
            self._is_open = self._write(_FORGET, applied=list(self._before))
        else:
            self._is_open = self._make()

    def _is_there(self) -> bool:
        """Tell whether there is a ledger; only a superuser may name a table in any schema, which is cheaper."""
        question = f"to_regclass('{LEDGER}') IS NOT NULL" if self._lock.is_superuser else LEDGER_IS_THERE
        return self._lock.rows(f"SELECT {question}") == [(True,)]

    def _make(self) -> bool:
        """Make the table; other tenants of a database may do the same at this moment."""
        refusal = self._lock.write(create_ledger(self._tree.owner))
        if refusal is None or self._is_there():
            return True
        self._on_event(MigrationEvent("unrecorded", refusal))
        return False

    def done(self, revision: str) -> None:
        """Remember when a revision ended, and :meth:`note`; not for each of many quick ones, which takes as long."""
        self._ended[revision] = time.monotonic()
        if time.monotonic() - self._noted_at >= _EVERY:
            self.note()

    def note(self, found: Sequence[str] | None = None) -> None:
        """Bring the ledger to what the version table says now (``found``); without a connection nothing is written."""
        if not self._is_open:
            return
        self._noted_at = now = time.monotonic()
        with suppress(UnavailableError):
            rows = read_rows(self._tree, self._lock) or () if found is None else found
            applied = self._graph.ancestors([row for row in rows if row in self._graph])
            new = [self._graph[name] for name in sorted(applied - self._before - self._noted) if self._runs]
            if not new and self._before <= applied:
                return
            seen = [each for each in new if _is_as_read(each)]
            self._is_open = self._write(
                _NOTE,
                applied=list(applied),
                revisions=[each.id for each in seen],
                hashes=[each.sha256 for each in seen],
                ago=[now - self._ended.get(each.id, now) for each in seen],
                version=__version__,
            )
            self._noted |= {each.id for each in new}

    def note_tables(self, tables: Sequence[str], *, ended: bool) -> None:
        """Note the other version tables that ``env.py`` kept; a run that ``ended`` well has shown all of them."""
        if self._is_open:
            self._write(_NOTE_TABLES, tables=list(tables), all=ended, version=__version__)

    def _write(self, sql: str, **values: object) -> bool:
        key = ledger_key(self._tree, table_name(self._tree))
        refusal = self._lock.write(sql, {**key, **values} if values else ())
        if refusal is not None:
            self._on_event(MigrationEvent("unrecorded", refusal))
        return refusal is None


def _is_as_read(revision: Revision) -> bool:
    """Tell whether a file is still what was planned: of one that was edited meanwhile, it is not known what ran."""
    try:
        return _digest_of(revision.path, stamp(revision.path)) == revision.sha256
    except OSError:
        return False


@lru_cache(maxsize=4096)
def _digest_of(path: Path, _stamp: tuple[int, ...]) -> str:
    """Return the digest of a file, which is read once for all the databases that it migrates."""
    return digest(path.read_bytes())
