"""The history of an environment: a row for each run that changed something, or failed after it reached the server.

It is in our own schema of the environment's database, beside the ledger of revisions, and can be dropped at any time. A
run never fails, or waits for the disk, because of it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from provision.errors import ProvisionError
from provision.model import Action, Change, Endpoint, Outcome
from provision.model.sql import identifier, owned
from provision.observe.history import SCHEMA, TABLE, TABLE_IS_THERE
from provision.spec.model import Spec
from provision.system import machine
from provision.system.git import head
from provision.system.postgres import connect, refusal, rows
from provision.version import __version__

_RESTARTS = (Action.RESTART, Action.RECREATE)
_CREATE = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {TABLE} (began timestamptz NOT NULL, run jsonb NOT NULL);
COMMENT ON TABLE {TABLE} IS 'what provision has changed, and when; can be dropped at any time'
"""
_ADD = f"""
SET LOCAL synchronous_commit = off;
INSERT INTO {TABLE} SELECT clock_timestamp() - make_interval(secs => %s), %s RETURNING pg_current_xact_id()::text
"""
"""One message, so that it is one transaction."""


class History:
    """Notes one run; ``verb`` is the command. ``revisions`` are the tree, the id and the seconds of each that ran.

    ``tenants`` says of each tree that has some how many are done, which failed, and how many were not begun.
    """

    def __init__(self, verb: str) -> None:
        self.revisions: list[tuple[str, str, float]] = []
        self.tenants: list[dict[str, Any]] = []
        self.xid: int | None = None
        """The transaction of the row."""
        self._verb, self._began = verb, time.monotonic()

    def note(
        self, spec: Spec, at: Endpoint | None, outcomes: Sequence[Outcome], failure: ProvisionError | None = None
    ) -> str:
        """Add the run, where the server ``at`` is reached and something was changed, or failed.

        Returns why it has no row, in the server's words; nothing where it has one, or needs none.
        """
        if not spec.history or at is None or not (outcomes or failure):
            return ""
        import psycopg2
        from psycopg2.extensions import encodings

        seconds = time.monotonic() - self._began
        run = json.dumps(self._run(spec, seconds, outcomes, failure), ensure_ascii=False)
        try:
            with closing(connect(at, spec.server.database, read_only=False)) as connection:
                if rows(connection, TABLE_IS_THERE) != [(True,)]:
                    create = owned(_CREATE, SCHEMA, TABLE, spec.owner_in(spec.server.database))
                    if why := refusal(connection, create):
                        return why + _allowing(why, at, spec.owner_in(spec.server.database))
                known = encodings.get(connection.info.parameter_status("server_encoding") or "", "ascii")
                ((xid,),) = rows(connection, _ADD, (seconds, run.encode(known, "replace").decode(known)))
                self.xid = int(xid)
                return ""
        except ProvisionError:  # the database is not there, or the server is gone: the run itself says so
            return ""
        except psycopg2.Error as error:  # our role may not even ask for the table
            return str(error).partition("\n")[0]

    def _run(
        self, spec: Spec, seconds: float, outcomes: Sequence[Outcome], failure: ProvisionError | None
    ) -> dict[str, Any]:
        return {
            "verb": self._verb,
            "who": machine.who(),
            "commit": head(spec.directory),
            "version": __version__,
            "seconds": round(seconds, 3),
            "error": failure and failure.sentence,
            "restarts": sum(each.step.action in _RESTARTS and each.error is None for each in outcomes),
            "steps": [_step(each) for each in outcomes],
            "revisions": [
                {"tree": tree, "revision": name, "seconds": round(took, 3)} for tree, name, took in self.revisions
            ],
            "tenants": self.tenants,
        }


def _allowing(why: str, at: Endpoint, owner: str | None) -> str:
    """Return what an administrator can grant so that the next run can be noted; nothing where that is not clear."""
    if owner and re.search(r"must be (a )?member of role|must be able to SET ROLE", why):
        return f"; as an administrator: GRANT {identifier(owner)} TO {identifier(at.user)}"
    if "permission denied for database" in why:
        return f"; as an administrator: GRANT CREATE ON DATABASE {identifier(at.database)} TO {identifier(at.user)}"
    return ""


def _step(ended: Outcome) -> dict[str, Any]:
    return {
        "address": ended.step.address.key,
        "action": str(ended.step.action),
        "seconds": round(ended.seconds, 3),
        "error": ended.error,
        "why": [
            {"field": why.field, "before": why.shown[0], "after": why.shown[1]} if isinstance(why, Change) else why
            for why in ended.step.why
        ],
    }
