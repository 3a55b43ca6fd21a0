"""What a failed migration means for the person in front of it: which revision, where, what is applied, what next.

What is applied is what the database says afterwards, never what was announced: a revision can be rolled back with its
neighbours, or have committed half of what it does. The traceback of the user's code goes along as a note of the
exception, which only ``-v`` shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from provision.errors import ProvisionError, StepFailedError
from provision.model import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.model import Secret
    from provision.revisions import Graph
    from provision.spec.model import Migrations

_STATEMENT = 300
_URL_WAY = (
    "let env.py connect with the URL of its configuration: "
    'url = config.get_main_option("sqlalchemy.url") or os.environ["DATABASE_URL"]'
)


def failed(
    event: Mapping[str, Any], tree: Migrations, graph: Graph, python: str, applied: Sequence[str] | None
) -> ProvisionError:
    """Return the error for a child that reported one; ``applied`` are the rows now, None if they cannot be read."""
    place = [f"at {event['place']}"] if event["place"] else []
    first, *more = str(event["message"]).splitlines() or [event["type"]]
    what = first if event["sqlstate"] else f"{event['type']}: {first}"
    state = _state(graph, applied)
    match event["stage"]:
        case "import":
            error = StepFailedError(
                f"{python} cannot load Alembic: {first}",
                next_step="set `migrations.python` to the interpreter that has the project's packages, "
                f"or install them there: {python} -m pip install alembic psycopg2-binary",
            )
        case "config":
            where = tree.config or tree.script_location
            error = StepFailedError(f"Alembic cannot use {where}: {what}", evidence=more, next_step="correct it")
        case "load":
            error = StepFailedError(
                f"a revision file cannot be loaded: {what}",
                evidence=[*place, *more, "nothing was migrated"],
                next_step="correct the file, or set `migrations.python` to the interpreter that has what it imports",
            )
        case "elsewhere":
            error = StepFailedError(
                f"the migrations would go to another database: {first}",
                evidence=["nothing was migrated, here or there"],
                next_step=_URL_WAY,
            )
        case "revision":
            error = StepFailedError(
                f"revision {graph.describe(event['revision'])} failed",
                evidence=[what, *more, *_statement(event), *place, *state],
                next_step="correct the revision and run the same command again: it goes on from what is applied",
            )
        case _:
            error = StepFailedError(f"env.py failed: {what}", evidence=[*more, *_statement(event), *place, *state])
            error.next_step = "correct env.py or what it needs, and run the same command again"
    error.add_note(f"In the migration process ({python}):\n{event['traceback']}")
    return error


def died(status: int, printed: str, graph: Graph, applied: Sequence[str] | None) -> ProvisionError:
    """Return the error for a child that ended without a word."""
    how = f"by signal {-status}" if status < 0 else f"with exit code {status}"
    return StepFailedError(
        f"the migration process was ended {how}",
        evidence=[*printed.splitlines()[-5:], *_state(graph, applied)],
        next_step="run the same command again: it goes on from what is applied",
    )


def out_of_time(tree: Migrations, running: str | None, graph: Graph, applied: Sequence[str] | None) -> ProvisionError:
    """Return the error for a migration that took longer than the tree allows; it was cancelled on the server."""
    what = f"revision {running}" if running else "env.py"
    return StepFailedError(
        f"the migration took longer than {tree.timeout:g} s and was cancelled in {what}",
        evidence=_state(graph, applied),
        next_step="give it more time (`migrations.timeout`) and run the same command again",
    )


def elsewhere(
    table: str, expected: Sequence[str], found: Sequence[str] | None, configured: Sequence[str]
) -> ProvisionError:
    """Return the error for an ``env.py`` that ended well and left our version table as it should not be."""
    return StepFailedError(
        f"env.py ended without an error, but {table} does not hold what it should",
        evidence=(
            f"expected: {', '.join(expected) or 'no rows'}",
            "found: " + ("no such table" if found is None else ", ".join(found) or "no rows"),
            *(f"env.py connected to {each}" for each in configured),
            *(() if configured else ("env.py made no connection that migrations ran on",)),
        ),
        next_step=f"{_URL_WAY}; if it names its own version table, write `version_table` into the spec",
    )


def masked(text: str, password: Secret) -> str:
    """Return the text without the password, also the way it looks inside a URL."""
    clear = password.reveal()
    quoted = {quote(clear, safe=safe) for safe in ("/", "", " +")} | {quote_plus(clear)}  # " +" is SQLAlchemy's
    forms = {clear, repr(clear)[1:-1], *quoted, *(each.replace("%", "%%") for each in quoted)}
    for form in sorted(forms - {""}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _statement(event: Mapping[str, Any]) -> list[str]:
    text = " ".join((event["statement"] or "").split())
    if not text:
        return []
    return [f"statement: {text if len(text) <= _STATEMENT else text[:_STATEMENT] + ' …'}"]


def _state(graph: Graph, applied: Sequence[str] | None) -> list[str]:
    if applied is None:
        return ["what is applied now cannot be read: the server is gone"]
    if not applied:
        return ["applied now: nothing"]
    return [f"applied now: {graph.describe(row)}" for row in applied]
