"""Statements of several steps in one transaction: all of them happen, or none.

What two sessions change at once is an error in PostgreSQL, not a wait: "tuple concurrently updated", or a duplicate key
in a catalog, also with IF NOT EXISTS. Then everything is rolled back, and the run looks again.
https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import secrets
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from provision.errors import LockedError, RacedError, StepFailedError, command
from provision.kinds.scram import verifier
from provision.model.effects import VERIFIER, RunInTransaction, WriteFile
from provision.system import driver_errors, postgres
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg2.extensions

    from provision.model import Endpoint, Stage, Step

CLASS_ID, OBJECT_ID = 0x70726F76, 3  # "prov", and the purpose: what all databases of a cluster share
_LOCK_TIMEOUT = "5s"
_PATIENCE, _POLL, _LONGEST_POLL = 60.0, 0.02, 0.5
_SELF_GRANT, _SELF_GRANT_SINCE = "SET LOCAL createrole_self_grant = 'set, inherit'", 160000
"""A role that CREATEROLE makes can then own what its creator makes: see the page of this parameter."""
_BUSY = "55P03"
_RACED = ("23505", "3F000", "40001", "40P01", "42704", "42710", "42883", "42P01", "42P04", "42P06", "42P07")
"""Unique index of a catalog, serialization, deadlock; undefined, or duplicate: object, database, schema, table."""
_UPDATED = "tuple concurrently"
_QUIET = "; ".join([f"SET LOCAL {name} = '{value}'" for name, value in postgres.QUIET.items()])
"""The extension keeps the texts of statements like these, for its readers; without it, it is only a name."""
_NOT_QUIET = "; ".join([f"RESET {name}" for name in postgres.QUIET])


def groups(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """Yield the steps that have effects, those that share a transaction together. One that reveals ends a group."""
    group: list[Step] = []
    for step in steps:
        if not step.effects:
            continue
        if group and (group[-1].reveals or not _shared(step) or _shared(step) != _shared(group[-1])):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def parts(step: Step) -> tuple[RunInTransaction, ...]:
    """Return the effects of a step that can share a transaction with others; none where it has another effect too.

    Files that the step writes are no such effect: they are written before the transaction begins.
    """
    found = tuple([each for each in step.effects if isinstance(each, RunInTransaction)])
    return found if len(found) + len(written(step)) == len(step.effects) else ()


def written(step: Step) -> tuple[WriteFile, ...]:
    """Return what a step writes into files."""
    return tuple([each for each in step.effects if isinstance(each, WriteFile)])


def _shared(step: Step) -> set[tuple[str, bool, Stage]]:
    """Return what tells a transaction; empty where a step needs more than one, or none."""
    found = {(each.database, each.shared, step.stage) for each in parts(step)}
    return found if len(found) == 1 else set()


@contextmanager
def transaction(
    endpoint: Endpoint, effect: RunInTransaction, waiting: Callable[[str], None]
) -> Iterator[Callable[[RunInTransaction], None]]:
    """Open the transaction that ``effect`` is the first of, and commit it at the end; what is yielded runs effects.

    Raises:
        RacedError: another session came between.
        StepFailedError: the server refused a statement, with its words.
        LockedError: another run changes what the databases share, for longer than 60 s.
    """
    import psycopg2

    with closing(postgres.connect(endpoint, effect.database, read_only=False)) as connection:
        with connection.cursor() as cursor:
            is_superuser = connection.info.parameter_status("is_superuser") == "on"
            if effect.shared:
                _lock(cursor, waiting)
                if is_superuser:  # what is in a sampled transaction is logged, whatever is set within
                    cursor.execute("SET log_transaction_sample_rate = 0")
            connection.autocommit = False
            cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            if not is_superuser and connection.server_version >= _SELF_GRANT_SINCE:
                cursor.execute(_SELF_GRANT)
            yield lambda each: _run(cursor, each, is_superuser=is_superuser)
        try:
            connection.commit()
        except psycopg2.Error as error:
            raise _failure(error, "COMMIT") from error


def _lock(cursor: psycopg2.extensions.cursor, waiting: Callable[[str], None]) -> None:
    """Take the lock of the cluster, which ends with the connection; waited for without a transaction."""
    said = False
    for _ in attempts(_PATIENCE, _POLL, longest=_LONGEST_POLL):
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (CLASS_ID, OBJECT_ID))
        if cursor.fetchone() == (True,):
            return
        if not said:
            waiting("waiting for another run that changes roles or databases of this server")
            said = True
    raise LockedError(
        "another run changes roles or databases of this server, and the time to wait is over",
        evidence=[
            f"it holds the advisory lock ({CLASS_ID}, {OBJECT_ID}) in the database {cursor.connection.info.dbname}"
        ],
        next_step="wait for it, then: " + command("apply"),
    )


def _run(cursor: psycopg2.extensions.cursor, effect: RunInTransaction, *, is_superuser: bool) -> None:
    import psycopg2

    for statement in effect.statements:
        text, is_quiet = statement, False
        if effect.password is not None and VERIFIER in statement:
            text = statement.replace(VERIFIER, verifier(effect.password, secrets.token_bytes(16)))
            is_quiet = is_superuser
        try:
            # Each in a message of its own: the server logs a message before it runs what is in it.
            for each in (_QUIET, text, _NOT_QUIET) if is_quiet else (text,):
                cursor.execute(each)
        except psycopg2.Error as error:
            raise _failure(error, statement) from error


def _failure(error: psycopg2.Error, statement: str) -> StepFailedError:
    """Return our error for a statement that failed; the statement is as it was planned, without a verifier."""
    if driver_errors.is_lost(error.pgcode, str(error)):
        return driver_errors.gone(error, f"the server ran: {statement}")
    is_raced = error.pgcode in (_BUSY, *_RACED) or (error.pgcode == "XX000" and _UPDATED in str(error))
    kind = RacedError if is_raced else StepFailedError
    failure = kind("the server refused a statement", evidence=[statement, *_words(error)])
    if isinstance(failure, RacedError):
        failure.is_busy = error.pgcode == _BUSY
    return failure


def _words(error: psycopg2.Error) -> list[str]:
    """Return what the server said, without the text of the statement, in which a verifier may be."""
    found = error.diag
    return [each for each in (found.message_primary, found.message_detail, found.message_hint) if each] or [
        str(error).partition("\n")[0]
    ]
