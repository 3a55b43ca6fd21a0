"""Questions to the child that change no table: the SQL of revisions, models against database, a new revision file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.model import Endpoint, Secret
from provision.system.alembic import errors as alembic_errors
from provision.system.alembic.lock import LockConnection
from provision.system.alembic.process import ASKING_NAME, Child, OutOfTimeError, secrets_of
from provision.system.alembic.run import common

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.revisions import Graph, Location
    from provision.spec.model import Migrations

    Others = Sequence[tuple[str | None, str]]

NOWHERE = Endpoint("localhost", 5432, "nobody", Secret("unused"), "nowhere")
"""What ``env.py`` is told where no server is needed."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One revision as SQL; ``reason`` says why there is none, and ``place`` where that was found out.

    ``pieces`` are the same SQL as it was written: a statement each, and the line of its operation in the revision file;
    None where it is none of the revision's.
    """

    revision: str
    sql: str
    reason: str | None = None
    place: str | None = None
    pieces: tuple[tuple[str, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Rendering:
    """Revisions as SQL, in their order. ``without_env`` says why ``env.py`` could not be part of it."""

    prologue: str
    revisions: tuple[Rendered, ...]
    epilogue: str
    without_env: str | None = None


def render(
    files: tuple[Migrations, Graph, Location],
    *,
    upgrade: bool,
    rows: tuple[str, ...],
    names: tuple[str, ...],
    at: Endpoint = NOWHERE,
) -> Rendering:
    """Return the statements of revisions; no database is connected to, and no password leaves this process.

    Raises:
        StepFailedError: the interpreter or the tree cannot be loaded.
    """
    tree, graph, location = files
    place = Endpoint(at.host, at.port, at.user, NOWHERE.password, at.database)
    asked = {
        **common(tree, location, place),
        "secrets": secrets_of(tree),
        "kind": "render",
        "direction": "upgrade" if upgrade else "downgrade",
        "words": ["upgrade" if upgrade else "downgrade", (names or ("base",))[-1], "--sql"],
        "rows": list(rows),
        "revisions": list(names),
        "attributes": {},
    }
    events = _ask(tree, graph, location, asked)
    texts = {each["event"]: each["sql"] for each in events if each["event"] in {"prologue", "epilogue"}}
    known = {
        each["revision"]: Rendered(each["revision"], each["sql"], each["reason"], each.get("place"), _pieces(each))
        for each in events
        if each["event"] == "section"
    }
    why = next((each["reason"] for each in events if each["event"] == "without-env"), None)
    missing = [Rendered(name, "", "it was not reached") for name in names if name not in known]
    return Rendering(texts.get("prologue", ""), (*known.values(), *missing), texts.get("epilogue", ""), why)


def _pieces(event: Mapping[str, Any]) -> tuple[tuple[str, int | None], ...]:
    return tuple([(text, line) for text, line in event.get("pieces", ())])


def compare(
    tree: Migrations, graph: Graph, location: Location, endpoint: Endpoint, others: Others = ()
) -> tuple[str, ...]:
    """Return the differences between the models and the database, a line each.

    ``others`` are the version tables of other trees (schema or None, name), which are no model's.

    Raises:
        StepFailedError: env.py failed, names no models, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    with closing(LockConnection(endpoint)) as lock:
        asked = {
            **common(tree, location, endpoint),
            "kind": "compare",
            "words": ["revision", "--autogenerate"],
            "lock": lock.mark(),
            "others": others,
        }
        events = _ask(tree, graph, location, asked)
    return tuple([each["text"] for each in events if each["event"] == "operation"])


@dataclass(frozen=True, slots=True)
class Written:
    """Revision files that were written (id, path), and the operations in them, a line each."""

    files: tuple[tuple[str, str], ...]
    operations: tuple[str, ...]


def write(
    tree: Migrations,
    graph: Graph,
    location: Location,
    revision: Mapping[str, Any],
    *,
    allow_empty: bool,
    endpoint: Endpoint | None,
    others: Others = (),
) -> Written | None:
    """Write a revision file; None when that needs the database, and no ``endpoint`` was given.

    Raises:
        StepFailedError: env.py failed, or the file cannot be written.
        UnavailableError: the server cannot be reached.
    """
    asked = {
        **common(tree, location, endpoint or NOWHERE),
        "kind": "write",
        "words": ["revision", *(["--autogenerate"] if revision["autogenerate"] else [])],
        "revision": dict(revision),
        "allow_empty": allow_empty,
        "others": others,
        "lock": None,
    }
    if endpoint is None:
        events = _ask(tree, graph, location, asked)
    else:
        with closing(LockConnection(endpoint)) as lock:
            events = _ask(tree, graph, location, {**asked, "lock": lock.mark()})
    if any(each["event"] == "needs-server" for each in events):
        return None
    return Written(
        tuple([(each["revision"], each["path"]) for each in events if each["event"] == "written"]),
        tuple([each["text"] for each in events if each["event"] == "operation"]),
    )


def _ask(tree: Migrations, graph: Graph, location: Location, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Have the child answer one request, and return all that it said."""
    truth = alembic_errors.Truth(graph, (), is_asked=False)
    found: list[dict[str, Any]] = []
    with Child.start(tree, location.cwd, ASKING_NAME) as child:
        try:
            for event in child.events(time.monotonic() + tree.timeout):
                if event["event"] == "ready":
                    child.ask(asked)
                elif event["event"] == "error":
                    event["printed"] = alembic_errors.masked(child.printed(), Secret(str(asked["password"])), tree)
                    raise alembic_errors.failed(event, (tree, location), child.python, truth)
                else:
                    found.append(event)
        except OutOfTimeError:
            raise alembic_errors.out_of_time(tree, None, truth) from None
        if not any(event["event"] == "finished" for event in found):
            printed = alembic_errors.masked(child.printed(), Secret(str(asked["password"])), tree)
            raise alembic_errors.died(child.close(now=False), printed, truth)
    return found
