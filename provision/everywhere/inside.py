"""What a server says of itself to a login that takes no program of anybody's: version, revisions, size."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError
from provision.everywhere.found import Found
from provision.model import Endpoint
from provision.model.value import replace
from provision.system.postgres import connect, rows
from provision.system.register import Tree

_SIZE = "SELECT current_setting('server_version'), sum(pg_database_size(oid)) FROM pg_database"
_PLACES = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname = coalesce(%s, n.nspname)
"""


def seen(found: Found) -> Found:
    """Return what was found with what the server says; whatever keeps us out, it stays as it was."""
    import psycopg2

    row = found.listed
    if row.data is not None:
        row = replace(row, size=_size_of(row.data))
    if found.login is not None:
        with suppress(ProvisionError, psycopg2.Error):
            with closing(connect(found.login, "postgres", read_only=True)) as connection:
                version, size = rows(connection, _SIZE)[0]
            row = replace(row, version=version.partition(" ")[0], size=int(size) if row.size is None else row.size)
            if found.trees is not None:
                row = replace(row, revisions={each.name: _rows(found.login, each) for each in found.trees})
    return found._replace(listed=row)


def _rows(login: Endpoint, tree: Tree) -> tuple[str, ...]:
    from psycopg2 import sql

    with closing(connect(login, tree.database, read_only=True)) as connection:
        places = rows(connection, _PLACES, (tree.table, tree.schema))
        found: list[Any] = []
        for (schema,) in places:
            table = sql.Identifier(schema, tree.table).as_string(connection)
            found += rows(connection, f"SELECT version_num FROM {table}")  # noqa: S608  # quoted
        return tuple(sorted(str(each) for (each,) in found))


def _size_of(data: Path) -> int:
    """Return how many bytes the files below a directory have."""
    total = 0
    for place, _, names in os.walk(data):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  # thousands of files
    return total
