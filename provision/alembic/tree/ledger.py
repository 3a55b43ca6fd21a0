"""The ledger: what was in the file of a revision when it was applied, noted beside the version table.

Alembic knows a revision by its id alone, so nobody sees that a file was edited after it ran: databases that were made
before and after the edit differ for ever. The ledger holds the SHA-256 of each file that we applied. What was applied
otherwise, or before there was a ledger, has no row: it is not known, and nothing is claimed about it.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.tree.repository import is_in_repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.source import Revision
    from provision.spec.model import Migrations

SCHEMA = "provision"
NAME = "applied_revisions"
TABLE = f"{SCHEMA}.{NAME}"
COLUMNS = ("version_table", "revision", "sha256", "applied_at", "provision_version")
_SHOWN = 10

CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE {TABLE} (
    version_table text, revision text, sha256 text NOT NULL, applied_at timestamptz NOT NULL,
    provision_version text NOT NULL, PRIMARY KEY (version_table, revision)
);
COMMENT ON TABLE {TABLE} IS 'what was in each revision file when provision applied it; can be dropped at any time'
"""
_FOUND = f"""
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
WHERE nspname = '{SCHEMA}' AND relname = '{NAME}'
"""
IS_THERE = f"EXISTS (SELECT {_FOUND})"
IS_READABLE = f"""
EXISTS (SELECT {_FOUND} AND has_schema_privilege(space.oid, 'USAGE') AND has_table_privilege(pg_class.oid, 'SELECT')
        AND {len(COLUMNS)} = (SELECT count(*) FROM pg_catalog.pg_attribute
                              WHERE attrelid = pg_class.oid AND attname IN {COLUMNS}))
"""  # noqa: S608  # nothing in it comes from elsewhere
KEY = """
coalesce((SELECT format('%%I.%%I', nspname, relname)
          FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
          WHERE pg_class.oid = to_regclass(%(table)s)),
         format('%%I.%%I', coalesce(%(schema)s, current_schema()), %(name)s::text))
"""
"""The version table, by its schema and name, whether it is there or not: trees in one database share ids."""


OTHER_TABLE = "version table"
"""In place of a hash: the row names, as its revision, another version table that ``env.py`` kept in the same run."""


def key(tree: Migrations, table: str) -> dict[str, object]:
    """Return the parameters of :data:`KEY`; ``table`` is the version table as an identifier of SQL."""
    return {"table": table, "schema": tree.version_table_schema, "name": tree.version_table}


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger knows of one revision. ``applied_at`` is in UTC, to the second."""

    sha256: str
    applied_at: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A revision whose file is not what it was when it was applied."""

    revision: Revision
    entry: Entry

    def __str__(self) -> str:
        when = f"{self.entry.applied_at} UTC"
        return f"revision {self.revision} was edited after it was applied ({when}): {self.revision.path}"

    @property
    def difference(self) -> str:
        """The command that shows an edit that was not committed; with ``checkout`` for ``diff`` it is taken back."""
        return self._git("diff", "HEAD")

    @property
    def history(self) -> str:
        """The command that shows how the file was changed by commits."""
        return self._git("log", "-p")

    @property
    def is_in_repository(self) -> bool:
        """Whether Git can know the file."""
        return is_in_repository(self.revision.path)

    def _git(self, *words: str) -> str:
        path = self.revision.path
        return shlex.join(("git", "-C", str(path.parent), *words, "--", path.name))


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says about the revisions that are applied: of how many it knows, and which were edited."""

    applied: int
    recorded: int
    edits: tuple[Edit, ...] = ()


def compare(graph: Graph, rows: Iterable[str], entries: Mapping[str, Entry]) -> Known:
    """Compare the files of what is applied with what they were; what this tree does not have cannot be compared."""
    applied = graph.ancestors([row for row in rows if row in graph])
    known = {name: entry for name, entry in entries.items() if name in applied}
    edits = [Edit(graph[name], entry) for name, entry in known.items() if entry.sha256 != graph[name].sha256]
    return Known(len(applied), len(known), tuple(sorted(edits, key=lambda each: str(each.revision.path))))


def remarks(edits: tuple[Edit, ...]) -> Iterator[str]:
    """Yield each edit in a sentence, and once what that means and what to do."""
    yield from (str(each) for each in edits[:_SHOWN])
    if len(edits) > _SHOWN:
        yield f"… and {len(edits) - _SHOWN} more edited revisions"
    if edits:
        first = edits[0]
        if not first.is_in_repository:
            yield "no edit reaches a database that has the revision: take it back, or write a new revision"
            return
        yield (
            f"no edit reaches a database that has the revision: `{first.difference}` shows it (`checkout` for `diff` "
            f"takes it back), or, once it is committed, `{first.history}`; or write a new revision"
        )
