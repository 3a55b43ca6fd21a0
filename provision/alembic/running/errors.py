"""What a failed migration means for the person in front of it: which revision, where, what is applied, what next.

What is applied is what the database says afterwards, never what was announced: a revision can be rolled back with its
neighbours, or have committed half of what it does. The traceback of the user's code goes along as a note of the
exception, which only ``-v`` shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.alembic.child.channel import masked_forms
from provision.alembic.running.advice import (
    addresses,
    after_env,
    after_failure,
    after_prepare,
    after_writing,
    missing_import,
    too_old,
    url_way,
)
from provision.alembic.running.process import secrets_of
from provision.alembic.tree import check
from provision.errors import ProvisionError, StepFailedError
from provision.model import MASK
from provision.system.lost import is_lost, is_refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.alembic.running.watch import Leftover
    from provision.alembic.tree import Graph, Location
    from provision.model import Secret
    from provision.spec.model import Migrations

_STATEMENT = 300


class SharedChangeError(StepFailedError):
    """A revision was kept from changing what all databases of the server share."""


class RevisionFailedError(StepFailedError):
    """A revision failed by itself: its database is there, and nobody has ended its session."""


class NoModelsError(StepFailedError):
    """``env.py`` gives Alembic no ``target_metadata``."""


class EmptyModelsError(StepFailedError):
    """The ``target_metadata`` of ``env.py`` has no tables."""


_PRINTED = 5
_SHOWN = 5
_ENDED = frozenset({"57P01", "57P02", "57P03"})
"""Sessions are ended: https://www.postgresql.org/docs/current/errcodes-appendix.html"""


@dataclass(frozen=True, slots=True)
class Truth:
    """What is so on the server after a failure. ``rows`` is None where it cannot be read."""

    graph: Graph
    rows: Sequence[str] | None
    left: Sequence[Leftover] = ()
    waits: Sequence[str] = ()
    is_asked: bool = True
    """False where nothing was to be changed, so that it does not matter what is applied."""
    committed: Sequence[tuple[str, str]] = ()
    """Statements of revisions (the id first) that are not applied, committed in transactions of their own."""
    server: str = ""
    """The address of the declared server: ``host:port``."""
    is_scratch: bool = False
    """Whether it ran on a scratch database, of which nothing remains for the next run."""

    @property
    def lines(self) -> list[str]:
        """What it waited for, what is applied, what was left behind, and how that is removed."""
        if not self.is_asked:
            return []
        if self.rows is None:
            return [*self.waits, "what is applied now cannot be read: the server is gone"]
        applied = [f"applied now: {self.graph.describe(row)}" for row in self.rows] or ["applied now: nothing"]
        left = [f"left behind, outside a transaction: {each}" for each in self.left]
        clean_up = [f"clean up: {each.clean_up}" for each in self.left]
        return [*self.waits, *applied, *self._committed(), *left, *clean_up]

    def _committed(self) -> list[str]:
        lines = [f"committed by {name} all the same: {statement}" for name, statement in self.committed[:_SHOWN]]
        more = len(self.committed) - _SHOWN
        return [*lines, f"… and {more} more statements"] if more > 0 else lines

    @property
    def next_step(self) -> str:
        """What to do before the same command is run again."""
        if self.is_scratch or not self.is_asked:
            return "run the same command again"
        again = "run the same command again: it continues from what is applied"
        if self.left:
            return f"remove what was left behind, or a second run collides with it; then {again}"
        return f"undo what was committed, or a second run does it twice; then {again}" if self.committed else again


def failed(event: Mapping[str, Any], files: tuple[Migrations, Location], python: str, truth: Truth) -> ProvisionError:
    """Return the error for a child that reported one."""
    error = _gone(event, truth) or _before_env(event, files, python) or _in_env(event, files, python, truth)
    error.add_note(f"In the migration process ({python}):\n{event['traceback']}")
    return error


def _gone(event: Mapping[str, Any], truth: Truth) -> ProvisionError | None:
    """Return the error for a server that went away: neither the revision nor ``env.py`` is to blame for that.

    An address where nothing listens can also be one that ``env.py`` has made up; the server is gone if we miss it, too.
    """
    # What is raised in the end may only be that a transaction cannot be rolled back any more.
    said = [str(event["message"]), *[line for line in str(event["traceback"]).splitlines() if line[:1].isalpha()]]
    is_missed = truth.is_asked and truth.rows is None
    message = next((each for each in said if is_lost(event["sqlstate"], each)), None)
    message = message or next((each for each in said if is_missed and is_refused(each)), None)
    if message is None:
        return None
    revision = event["revision"]
    doing = f"revision {truth.graph.describe(revision)} ran" if revision else "env.py ran"
    return lost(f"the connection to the server was lost while {doing}", [message, *_statement(event)], truth)


def lost(sentence: str, said: Sequence[str], truth: Truth) -> StepFailedError:
    """Return the error for a connection that was lost, with what is applied."""
    error = StepFailedError(sentence, evidence=[*said, *truth.lines], next_step=truth.next_step)
    error.server_is_gone = True
    return error


def _before_env(event: Mapping[str, Any], files: tuple[Migrations, Location], python: str) -> ProvisionError | None:
    tree, _ = files
    first, more, what, place = _parts(event)
    if event["stage"] in ("import", "config") and (old := too_old(event, python)):
        return StepFailedError(old[0], next_step=old[1])
    match event["stage"]:
        case "import":
            return StepFailedError(
                f"{python} cannot load Alembic: {first}",
                next_step="set `migrations.python` to the interpreter that has the project's packages, "
                f"or install them there: {python} -m pip install alembic psycopg2-binary",
            )
        case "config" if event["type"] == "ModuleNotFoundError":
            return StepFailedError(
                f"{python} cannot connect: {first}",
                next_step="set `migrations.python` to the interpreter that has the project's packages, "
                f"or install one there: {python} -m pip install psycopg2-binary",
            )
        case "config":
            where = tree.config or tree.script_location
            return StepFailedError(f"Alembic cannot use {where}: {what}", evidence=more, next_step="correct it")
        case "prepare":
            who = f"`prepare: {tree.prepare}` failed" if tree.prepare else "the Flask application cannot be made"
            sentence = first if event["type"] == "NoAppError" else f"{who}: {what}"
            evidence = [*more, *_statement(event), *place, *_words(event), "nothing was migrated"]
            return StepFailedError(sentence, evidence=evidence, next_step=after_prepare(event, files, python))
        case "load":
            return StepFailedError(
                f"a revision file cannot be loaded: {what}",
                evidence=[*place, *more, "nothing was migrated"],
                next_step=_after_loading(event),
            )
        case "incomplete":
            return StepFailedError(
                f"{event['place']} has no function `{first}`",
                evidence=["nothing was migrated"],
                next_step="write it into the file, and run the same command again",
            )
        case _:
            return None


def _in_env(event: Mapping[str, Any], files: tuple[Migrations, Location], python: str, truth: Truth) -> ProvisionError:
    tree, location = files
    first, more, what, place = _parts(event)
    match event["stage"]:
        case "elsewhere":
            error = StepFailedError(
                f"the migrations would go to another database: {first}",
                evidence=["nothing was migrated, here or there"],
                next_step=url_way(tree, location),
            )
        case "table":
            error = StepFailedError(
                f"env.py keeps its revisions in the table {first}, and the spec says {tree.version_table}",
                evidence=["nothing was migrated"],
                next_step=f"write under `migrations`: {', '.join(more)}",
            )
        case "models":
            error = NoModelsError(
                "env.py names no models, so there is nothing to compare the database with",
                evidence=more,
                next_step=f"in {location.env}: give context.configure() `target_metadata=Base.metadata`",
            )
        case "no-tables":
            error = EmptyModelsError(
                "the models of env.py have no tables, so there is nothing to compare the database with",
                next_step=f"import the modules that have tables in {location.env}",
            )
        case "write":
            error = StepFailedError(f"the revision file cannot be written: {first}", evidence=more)
            error.next_step = "correct what it says, and run the same command again"
        case "written":
            error = StepFailedError(f"{event['place']} was written, and {first}", evidence=more)
            error.next_step = after_writing(first)
        case "shared":
            error = SharedChangeError(
                f"revision {truth.graph.describe(event['revision'])} changes what all databases of the server share",
                evidence=[f"{first} …", *place, "it was refused: only the scratch database may be changed"],
                next_step="see whether it runs on a server of its own: `provision apply` "
                "on a spec with `data: {ephemeral: true}`",
            )
        case "rolled-back":
            error = RevisionFailedError(
                f"revision {truth.graph.describe(event['revision'])} ends with a rollback of its own transaction",
                evidence=["nothing of it is in the database, so it is not applied", *truth.lines],
                next_step=f"take the rollback out of {truth.graph[event['revision']].path}, "
                "and run the same command again",
            )
        case "revision":
            is_lost = truth.rows is None or event["sqlstate"] in _ENDED
            error = (StepFailedError if is_lost else RevisionFailedError)(
                f"revision {truth.graph.describe(event['revision'])} failed",
                evidence=[what, *more, *_statement(event), *place, *truth.lines],
                next_step=after_failure(event, truth),
            )
        case _:
            evidence = [
                *more,
                *addresses(event, truth.server),
                *_statement(event),
                *place,
                *_words(event),
                *truth.lines,
            ]
            error = StepFailedError(
                f"env.py failed: {what}", evidence=evidence, next_step=after_env(event, files, python)
            )
    return error


def _after_loading(event: Mapping[str, Any]) -> str:
    if line := missing_import(event):
        return f"add `{line}` to the file, and run the same command again"
    return "correct the file, or set `migrations.python` to the interpreter that has what it imports"


def _parts(event: Mapping[str, Any]) -> tuple[str, list[str], str, list[str]]:
    """Return the first line of a message, the others, the first with the error's type, and the place."""
    first, *more = str(event["message"]).splitlines() or [event["type"]]
    what = first if event["sqlstate"] else f"{event['type']}: {first}"
    return first, more, what, [f"at {event['place']}"] if event["place"] else []


def died(status: int, printed: str, truth: Truth) -> ProvisionError:
    """Return the error for a child that ended without a word."""
    how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
    return StepFailedError(
        f"the migration process was ended {how}",
        evidence=[*printed.splitlines()[-5:], *truth.lines],
        next_step=truth.next_step,
    )


def out_of_time(tree: Migrations, running: str | None, truth: Truth) -> ProvisionError:
    """Return the error for a migration that took longer than the tree allows; it was cancelled on the server."""
    what = f"revision {running}" if running else "env.py"
    return StepFailedError(
        f"the migration took longer than {tree.timeout:g} s and was cancelled in {what}",
        evidence=truth.lines,
        next_step="end what it waited for, or give it more time (`migrations.timeout`)"
        if truth.waits
        else "give it more time (`migrations.timeout`) and run the same command again",
    )


def self_blocked(name: str, waiting: tuple[int, str], holding: tuple[int, str], truth: Truth) -> ProvisionError:
    """Return the error for a migration whose one session waits for another one: their pids, and their statements."""
    return StepFailedError(
        f"{name} was ended: it waits for a lock that it holds itself",
        evidence=[
            f"its session with pid {waiting[0]} waits: {waiting[1]}",
            f"its session with pid {holding[0]} holds the lock, and is idle after: {holding[1]}",
            *truth.lines,
        ],
        next_step="run both statements on one connection, op.get_bind(), or commit the first before the second begins",
    )


def elsewhere(  # it tells of all of them
    tree: Migrations,
    files: tuple[Graph, Location],
    table: str,
    expected: Sequence[str],
    found: Sequence[str] | None,
    configured: Sequence[str],
) -> ProvisionError:
    """Return the error for a migration that ended well and left our version table as it should not be."""
    who = tree.command[0] if tree.command else "env.py"
    graph, location = files
    places, way = check.elsewhere(graph.unread if graph.unknown(found or ()) else ())
    return StepFailedError(
        f"{who} ended without an error, but {table} does not hold what it should",
        evidence=(
            f"expected: {', '.join(expected) or 'no rows'}",
            "found: " + ("no such table" if found is None else ", ".join(found) or "no rows"),
            *(f"env.py connected to {each}" for each in configured),
            *(() if configured or tree.command else ("env.py made no connection that migrations ran on",)),
            *places,
        ),
        next_step=way
        or _target_way(tree)
        or f"{url_way(tree, location)}; if it names its own version table, write `version_table` into the spec",
    )


def _target_way(tree: Migrations) -> str | None:
    """Say how a program gets the target, where the spec has one of its own and the program is not told it."""
    if not tree.command or tree.target in {"head", "heads"} or any("{target}" in each for each in tree.command):
        return None
    return "write `{target}` as the argument of the program that says how far to go"


def _words(event: Mapping[str, Any]) -> list[str]:
    """Return what an ``env.py`` that ended the process has printed: that is where it says why."""
    return str(event.get("printed", "")).splitlines()[-_PRINTED:] if event["type"] == "SystemExit" else []


def masked(text: str, password: Secret, tree: Migrations) -> str:
    """Return the text without the password and what the tree is given in secret, also as they look inside a URL."""
    for form in masked_forms([password.reveal(), *secrets_of(tree)]):
        text = text.replace(form, MASK)
    return text


def _statement(event: Mapping[str, Any]) -> list[str]:
    text = " ".join((event["statement"] or "").split())
    if not text:
        return []
    return [f"statement: {text if len(text) <= _STATEMENT else text[:_STATEMENT] + ' …'}"]
