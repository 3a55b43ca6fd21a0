"""What a failed migration means for the person in front of it: which revision, where, what is applied, what next.

What is applied is what the database says afterwards, never what was announced: a revision can be rolled back with its
neighbours, or have committed half of what it does. The traceback of the user's code goes along as a note of the
exception, which only ``-v`` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.alembic.running import advice
from provision.errors import ProvisionError, StepFailedError
from provision.system.driver_errors import is_lost, is_refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.alembic.child.protocol import Failure
    from provision.alembic.running.events import Truth
    from provision.alembic.tree.location import Location
    from provision.spec.model import Migrations

_ENDED = frozenset({"57P01", "57P02", "57P03"})
"""Sessions are ended: https://www.postgresql.org/docs/current/errcodes-appendix.html"""
_NOTHING = "nothing was migrated"


class SharedChangeError(StepFailedError):
    """A revision was kept from changing what all databases of the server share."""


class RevisionFailedError(StepFailedError):
    """A revision failed by itself: its database is there, and its session was not ended."""


class NoModelsError(StepFailedError):
    """``env.py`` gives Alembic no ``target_metadata``."""


class EmptyModelsError(StepFailedError):
    """The ``target_metadata`` of ``env.py`` has no tables."""


def failed(
    event: Failure, printed: str, files: tuple[Migrations, Location], python: str, truth: Truth
) -> ProvisionError:
    """Return the error for a child that reported one; ``printed`` is what the user's code has printed."""
    report = advice.Report(event, *files, python, truth, printed)
    error = _gone(report) or _before_env(report) or _about_models(report) or _in_revision(report) or _in_env(report)
    error.add_note(f"In the migration process ({python}):\n{event['traceback']}")
    return error


def _gone(report: advice.Report) -> ProvisionError | None:
    """Return the error for a server that went away: neither the revision nor ``env.py`` is to blame for that.

    An address where nothing listens can also be one that ``env.py`` has made up; the server is gone if we miss it, too.
    """
    event, truth = report.event, report.truth
    # What is raised in the end may only be that a transaction cannot be rolled back any more.
    words = [event["message"], *[line for line in event["traceback"].splitlines() if line[:1].isalpha()]]
    is_missed = truth.is_asked and truth.rows is None
    message = next((each for each in words if is_lost(event["sqlstate"], each)), None)
    message = message or next((each for each in words if is_missed and is_refused(each)), None)
    if message is None:
        return None
    doing = f"revision {truth.graph.describe(event['revision'])} ran" if event["revision"] else "env.py ran"
    return lost(f"the connection to the server was lost while {doing}", [message, *report.statement], truth)


def lost(sentence: str, evidence: Sequence[str], truth: Truth) -> StepFailedError:
    """Return the error for a connection that was lost, with what is applied."""
    error = StepFailedError(sentence, evidence=[*evidence, *truth.lines], next_step=truth.next_step)
    error.server_is_gone = True
    return error


def _before_env(report: advice.Report) -> ProvisionError | None:
    stage, tree, python = report.event["stage"], report.tree, report.python
    if stage in ("import", "config") and (old := advice.too_old(report.event, python)):
        return StepFailedError(old[0], next_step=old[1])
    interpreter = "set `migrations.python` to the interpreter that has the project's packages, or install"
    match stage:
        case "import":
            return StepFailedError(
                f"{python} cannot load Alembic: {report.first}",
                next_step=f"{interpreter} them there: {python} -m pip install alembic psycopg2-binary",
            )
        case "config" if report.kind == "ModuleNotFoundError":
            return StepFailedError(
                f"{python} cannot connect: {report.first}",
                next_step=f"{interpreter} one there: {python} -m pip install psycopg2-binary",
            )
        case "config":
            sentence = f"Alembic cannot use {tree.config or tree.script_location}: {report.what}"
            return StepFailedError(sentence, evidence=report.more, next_step="correct it")
        case "prepare":
            who = f"`prepare: {tree.prepare}` failed" if tree.prepare else "the Flask application cannot be made"
            sentence = report.first if report.kind == "NoAppError" else f"{who}: {report.what}"
            evidence = [*report.more, *report.statement, *report.place, *report.last_words, _NOTHING]
            return StepFailedError(sentence, evidence=evidence, next_step=advice.after_prepare(report))
        case "load":
            sentence = f"a revision file cannot be loaded: {report.what}"
            evidence = [*report.place, *report.more, _NOTHING]
            return StepFailedError(sentence, evidence=evidence, next_step=advice.after_loading(report))
    return None


def _about_models(report: advice.Report) -> ProvisionError | None:
    env, first = report.location.env, report.first
    match report.event["stage"]:
        case "models":
            return NoModelsError(
                "env.py names no models, so there is nothing to compare the database with",
                next_step=f"in {env}: give context.configure() `target_metadata=Base.metadata`",
            )
        case "no-tables":
            return EmptyModelsError(
                "the models of env.py have no tables, so there is nothing to compare the database with",
                next_step=f"import the modules that have tables in {env}",
            )
        case "write":
            sentence = f"the revision file cannot be written: {first}"
            step = "correct what it says, and run the same command again"
            return StepFailedError(sentence, evidence=report.more, next_step=step)
        case "written":
            sentence = f"{report.event['place']} was written, and {first}"
            return StepFailedError(sentence, evidence=report.more, next_step=advice.after_writing(first))
    return None


def _in_revision(report: advice.Report) -> ProvisionError | None:
    event, truth = report.event, report.truth
    name = event["revision"] or ""
    revision = f"revision {truth.graph.describe(name)}"
    match event["stage"]:
        case "incomplete":
            return StepFailedError(
                f"{event['place']} has no function `{report.first}`",
                evidence=[_NOTHING],
                next_step="write it into the file, and run the same command again",
            )
        case "shared":
            return SharedChangeError(
                f"{revision} changes what all databases of the server share",
                evidence=[
                    f"{report.first} …",
                    *report.place,
                    "it was refused: only the scratch database may be changed",
                ],
                next_step="see whether it runs on a server of its own: `provision apply` "
                "on a spec with `data: {ephemeral: true}`",
            )
        case "rolled-back":
            return RevisionFailedError(
                f"{revision} ends with a rollback of its own transaction",
                evidence=["nothing of it is in the database, so it is not applied", *truth.lines],
                next_step=f"take the rollback out of {truth.graph[name].path}, and run the same command again",
            )
        case "revision":
            is_ended = truth.rows is None or event["sqlstate"] in _ENDED
            return (StepFailedError if is_ended else RevisionFailedError)(
                f"{revision} failed",
                evidence=[report.what, *report.more, *report.statement, *report.place, *truth.lines],
                next_step=advice.after_failure(report),
            )
    return None


def _in_env(report: advice.Report) -> ProvisionError:
    tree, truth = report.tree, report.truth
    match report.event["stage"]:
        case "elsewhere":
            return StepFailedError(
                f"the migrations would go to another database: {report.first}",
                evidence=["nothing was migrated, here or there"],
                next_step=advice.url_way(tree, report.location),
            )
        case "table":
            return StepFailedError(
                f"env.py keeps its revisions in the table {report.first}, and the spec says {tree.version_table}",
                evidence=[_NOTHING],
                next_step=f"write under `migrations`: {', '.join(report.more)}",
            )
    evidence = [
        *report.more,
        *advice.addresses(report.event, truth.server),
        *report.statement,
        *report.place,
        *report.last_words,
        *truth.lines,
    ]
    return StepFailedError(f"env.py failed: {report.what}", evidence=evidence, next_step=advice.after_env(report))


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
