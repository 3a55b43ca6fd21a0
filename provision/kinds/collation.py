"""Databases whose text was sorted by another version of the operating system's collations than the server has now.

That happens when the image under a tag moves to another distribution. Indexes on text may then miss rows or hold
duplicates, and only rebuilding them helps, which takes its time and is for people to decide: so it is a note.
https://www.postgresql.org/docs/current/sql-altercollation.html#SQL-ALTERCOLLATION-NOTES
"""

from __future__ import annotations

import re

from provision.kinds import Before, Files, Inputs, Look, Scene
from provision.model import OWN_DATABASES, Address, Plan, State
from provision.model.sql import identifier
from provision.model.value import dataclass
from provision.spec.model import Spec

KIND = "collation"
_FIRST_MAJOR_WITH_VERSIONS = 15
_QUERY = f"""
SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datallowconn AND NOT datistemplate AND datcollversion <> pg_database_collation_actual_version(oid)
    AND datname !~ '^{OWN_DATABASES}' ORDER BY 1
"""  # noqa: S608  # from constants only


@dataclass(frozen=True)
class Collation(State):
    """The version of the collations that a database was sorted by, and the one that its server has."""

    recorded: str
    actual: str


def wanted(_spec: Spec, _inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return nothing: what the server has is right until an update of its system shows otherwise."""
    return {}


def seen(look: Look) -> dict[Address, State]:
    """Return the databases where the two differ; before an upgrade the server is older than the declared version."""
    running = re.match(r"\d+", look.reported("server_version"))
    if running is None or min(look.spec.server.major, int(running[0])) < _FIRST_MAJOR_WITH_VERSIONS:
        return {}
    return {Address(KIND, name): Collation(recorded, actual) for name, recorded, actual in look.rows(_QUERY)}


def steps(address: Address, before: Before, _after: State | None, _scene: Scene) -> Plan:
    """Say what differs, with the statements that mend it."""
    if not isinstance(before, Collation):
        return Plan()
    name = identifier(address.name)
    note = (
        f"database/{address.name}: its text was sorted by collation version {before.recorded}, and the server"
        f" has {before.actual}, so indexes on text may be wrong; mend it in that database with:"
        f" REINDEX DATABASE {name}; ALTER DATABASE {name} REFRESH COLLATION VERSION;"
    )
    return Plan(notes=(note,))
