"""Questions to the child that change no table: the SQL of revisions, models against database, a new revision file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from provision.alembic.running import errors as alembic_errors
from provision.alembic.running.lock import LockConnection
from provision.alembic.running.process import ASKING_NAME, Child, OutOfTimeError, secrets_of
from provision.alembic.running.run import common
from provision.alembic.tree import version_table
from provision.model import Endpoint, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.alembic.tree import Graph, Location
    from provision.spec.model import Migrations

    Others = Sequence[tuple[str | None, str]]

# Autogenerate would drop them: partitions belong to their parent, and an extension's tables to the extension.
_UNMODELLED = """
SELECT nspname, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'f') AND (relispartition OR EXISTS (
    SELECT FROM pg_depend WHERE deptype = 'e' AND (classid = 'pg_class'::regclass AND objid = c.oid
                                                   OR classid = 'pg_namespace'::regclass AND objid = n.oid)))
"""
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """The models against the database: the differences, a line each, and how much was compared.

    ``tables`` is the number of tables that the models have. The others are what ``env.py`` gave to
    ``context.configure``: https://alembic.sqlalchemy.org/en/latest/autogenerate.html
    """

    differences: tuple[str, ...]
    tables: int
    compare_type: bool = True
    compare_server_default: bool = False
    include_schemas: bool = False


def compare(
    tree: Migrations,
    graph: Graph,
    location: Location,
    endpoint: Endpoint,
    others: Others = (),
    *,
    no_tables: bool = False,
) -> Comparison:
    """Compare the models of ``env.py`` with the database.

    ``others`` are the version tables of other trees (schema or None, name), which are no model's. ``no_tables``: models
    without a table are no error.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: the models of env.py have no tables.
        StepFailedError: env.py failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    with closing(LockConnection(endpoint)) as lock:
        asked = {
            **common(tree, location, endpoint),
            "kind": "compare",
            "words": ["revision", "--autogenerate"],
            "declared_table": version_table.key_of(tree, lock),
            "lock": lock.mark(),
            "others": [*others, *lock.rows(_UNMODELLED)],
            "no_tables": no_tables,
        }
        events = _ask(tree, graph, location, asked)
    models = next(each for each in events if each["event"] == "models")
    return Comparison(
        tuple([each["text"] for each in events if each["event"] == "operation"]),
        **{each.name: models[each.name] for each in fields(Comparison) if each.name in models},
    )


@dataclass(frozen=True, slots=True)
class Written:
    """Revision files that were written (id, path), and the operations in them, a line each."""

    files: tuple[tuple[str, str], ...]
    operations: tuple[str, ...]


def write(
    files: tuple[Migrations, Graph, Location],
    revision: Mapping[str, Any],
    *,
    allow_empty: bool,
    endpoint: Endpoint | None,
    others: Others = (),
    no_tables: bool = False,
) -> Written | None:
    """Write a revision file; None when that needs the database, and no ``endpoint`` was given.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: the models of env.py have no tables, and ``no_tables`` does not say that this is expected.
        StepFailedError: env.py failed, or the file cannot be written.
        UnavailableError: the server cannot be reached.
    """
    tree, graph, location = files
    asked = {
        **common(tree, location, endpoint or NOWHERE),
        "kind": "write",
        "words": ["revision", *(["--autogenerate"] if revision["autogenerate"] else [])],
        "revision": dict(revision),
        "allow_empty": allow_empty,
        "others": others,
        "no_tables": no_tables,
        "lock": None,
    }
    if endpoint is None:
        events = _ask(tree, graph, location, asked)
    else:
        with closing(LockConnection(endpoint)) as lock:
            unmodelled = [*others, *lock.rows(_UNMODELLED)]
            events = _ask(
                tree,
                graph,
                location,
                {
                    **asked,
                    "others": unmodelled,
                    "declared_table": version_table.key_of(tree, lock),
                    "lock": lock.mark(),
                },
            )
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
