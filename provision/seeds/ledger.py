"""The ledger of seeds, in each database that has some: what was in each when it ran last."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from provision.model import Query
from provision.model.sql import identifier, literal
from provision.version import __version__

TABLE = "provision.seeds"
_THERE = """
SELECT pg_catalog.pg_get_userbyid(relowner)::text, pg_catalog.has_schema_privilege(space.oid, 'USAGE')
    AND pg_catalog.has_table_privilege(pg_class.oid, 'SELECT')
FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
WHERE nspname = 'provision' AND relname = 'seeds'
"""
_ROWS = f"SELECT name, sha256, to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM {TABLE}"  # noqa: S608
_MISSING = """
SELECT pg_catalog.to_regnamespace('provision') IS NULL,
    NOT EXISTS (SELECT FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS space ON space.oid = relnamespace
                WHERE nspname = 'provision' AND relname = 'seeds')
"""
_LACKS = f"""
SELECT NOT (pg_catalog.has_schema_privilege(%(role)s, 'provision', 'USAGE')
    AND pg_catalog.has_table_privilege(%(role)s, '{TABLE}', 'SELECT')
    AND pg_catalog.has_table_privilege(%(role)s, '{TABLE}', 'INSERT')
    AND pg_catalog.has_table_privilege(%(role)s, '{TABLE}', 'UPDATE'))
"""
_CREATE = f"""
CREATE TABLE {TABLE} (name text PRIMARY KEY, sha256 text NOT NULL, run_at timestamptz NOT NULL,
    provision_version text NOT NULL);
COMMENT ON TABLE {TABLE} IS 'what was in each seed when provision ran it last; without a row, it runs again'
"""


class Entry(NamedTuple):
    """What the ledger knows of one seed. ``run_at`` is in UTC, to the second."""

    sha256: str
    run_at: str


class Unreadable(NamedTuple):
    """The ledger belongs to ``owner``, and our role may not read it."""

    owner: str


def read(query: Query, database: str | None = None) -> dict[str, Entry] | Unreadable:
    """Return what ran in a database by its name; nothing where there is no ledger yet.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    there = query.rows(_THERE, database=database)
    if not there:
        return {}
    ((owner, is_readable),) = there
    if not is_readable:
        return Unreadable(str(owner))
    return {str(name): Entry(str(sha256), str(at)) for name, sha256, at in query.rows(_ROWS, database=database)}


def prepare(query: Query, write: Callable[[str], str | None], owner: str | None, writer: str) -> str | None:
    """Make the ledger where it is missing, and let ``writer`` write it; return the server's words where it refuses.

    ``owner`` is the role that owns what the migrations make, None: our login owns the ledger.

    Raises:
        provision.errors.UnavailableError: the server cannot be reached.
    """
    ((lacks_schema, lacks_table),) = query.rows(_MISSING)
    statements = []
    if lacks_schema:
        statements.append("CREATE SCHEMA provision" + (f" AUTHORIZATION {identifier(owner)}" if owner else ""))
    if lacks_table:
        statements.append(_CREATE.strip())
        statements += [f"ALTER TABLE {TABLE} OWNER TO {identifier(owner)}"] if owner else []
    if statements and (refusal := write("; ".join(statements))) is not None:
        return refusal
    if query.rows(_LACKS, {"role": writer}) == [(False,)]:
        return None
    role = identifier(writer)
    return write(f"GRANT USAGE ON SCHEMA provision TO {role}; GRANT SELECT, INSERT, UPDATE ON {TABLE} TO {role}")


def note(name: str, sha256: str) -> str:
    """Return the statement that notes that a seed ran."""
    values = ", ".join([literal(name), literal(sha256), "pg_catalog.clock_timestamp()", literal(__version__)])
    return (
        f"INSERT INTO {TABLE} (name, sha256, run_at, provision_version) VALUES ({values}) "  # noqa: S608  # quoted
        "ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, run_at = excluded.run_at, "
        "provision_version = excluded.provision_version"
    )


def known(name: str, sha256: str) -> str:
    """Return the statement by which people say that what a seed makes is there already."""
    return f"INSERT INTO {TABLE} VALUES ({literal(name)}, {literal(sha256)}, now(), 'by hand')"  # noqa: S608  # quoted
