"""Databases whose text was sorted by another version of the operating system's collations than the server has now.

That happens when the image under a tag moves to another distribution. Indexes on text may then miss rows or hold
duplicates, and only rebuilding them helps, which takes its time and is for people to decide: so it is a note.
https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.model import Address, State
from provision.model.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.model import Observed, Session

KIND = "collation"
_FIRST_MAJOR_WITH_VERSIONS = 15
_QUERY = """
SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datallowconn AND NOT datistemplate AND datcollversion <> pg_database_collation_actual_version(oid) ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Collation(State):
    """The version of the collations that a database was sorted by, and the one that its server has."""

    recorded: str
    actual: str


def observe(query: Session, *, major: int, database: str) -> dict[Address, State]:
    """Return the databases where the two differ; before an upgrade the server is older than the declared ``major``."""
    running = re.match(r"\d+", query.reported("server_version", database=database))
    if running is None or min(major, int(running[0])) < _FIRST_MAJOR_WITH_VERSIONS:
        return {}
    return {
        Address(KIND, name): Collation(recorded, actual)
        for name, recorded, actual in query.rows(_QUERY, database=database)
    }


def notes(observed: Observed) -> Iterator[str]:
    """Yield what differs, with the statements that mend it."""
    for address, state in sorted(observed.items(), key=lambda each: each[0]):
        if isinstance(state, Collation):
            name = identifier(address.name)
            yield (
                f"database/{address.name}: its text was sorted by collation version {state.recorded}, and the server"
                f" has {state.actual}, so indexes on text may be wrong; mend it in that database with:"
                f" REINDEX DATABASE {name}; ALTER DATABASE {name} REFRESH COLLATION VERSION;"
            )
