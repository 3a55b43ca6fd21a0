"""The history of an environment, as its database has it; ``provision.apply.history`` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from provision.errors import RefusedError
from provision.model.value import dataclass
from provision.observe import outside
from provision.spec.model import Spec
from provision.system.read_only import ReadOnlyQuery

SCHEMA = "provision"
TABLE = f"{SCHEMA}.runs"
TABLE_IS_THERE = f"SELECT to_regclass('{TABLE}') IS NOT NULL"
_RUNS = f"""
SELECT to_char(began AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), run FROM {TABLE} ORDER BY began DESC LIMIT %s
"""  # noqa: S608  # nothing in it comes from elsewhere


@dataclass(frozen=True)
class PastRun:
    """One run: when it ``began``, in UTC to the second, and what it did: see ``docs/schema/history.json``."""

    began: str
    details: Mapping[str, Any]


def read(spec: Spec, most: int) -> tuple[PastRun, ...]:
    """Return the last runs, the newest first, and not more than ``most``.

    Raises:
        UnavailableError: no server runs.
        RefusedError: our role may not read them.
    """
    seen = outside.world(spec)
    with closing(ReadOnlyQuery(seen.endpoint())) as query:
        name = spec.server.database
        if query.rows(TABLE_IS_THERE, database=name) != [(True,)]:
            return ()
        try:
            return tuple([PastRun(*row) for row in query.rows(_RUNS, (most,), database=name)])
        except RefusedError as error:
            error.evidence = (*error.evidence, f"the history is in the table {TABLE} of the database {name}")
            raise
