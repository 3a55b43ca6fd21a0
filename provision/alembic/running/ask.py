"""Questions to the child that change no table: SQL, models against database, new files, and what only running tells."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provision.alembic.running import errors as alembic_errors
from provision.alembic.running.events import Truth
from provision.alembic.running.lock import lock_connection
from provision.alembic.running.process import ASKING_NAME, NOWHERE, Child, OutOfTimeError, common, masked
from provision.alembic.tree.version_table import table_key
from provision.errors import MigrationsError
from provision.model import Endpoint, Secret
from provision.model.value import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.alembic.child import protocol
    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.location import Location
    from provision.alembic.tree.source import Fields, NotStaticError
    from provision.spec.model import Migrations

    Files = tuple[Migrations, Graph, Location]
    Others = Sequence[tuple[str | None, str]]
    """Version tables of other trees (schema or None, name), which belong to no model."""

# Autogenerate would drop them: partitions belong to their parent, and an extension's tables to the extension.
_UNMODELLED = """
SELECT nspname, relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'f') AND (relispartition OR EXISTS (
    SELECT FROM pg_depend WHERE deptype = 'e' AND (classid = 'pg_class'::regclass AND objid = c.oid
                                                   OR classid = 'pg_namespace'::regclass AND objid = n.oid)))
"""
_NO_DATABASE: protocol.Database = {"lock": None, "declared_table": "", "others": []}
_SECONDS = 120.0
"""How long an interpreter may take to say where a package is."""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Rendering:
    """Revisions as SQL, in their order. ``without_env`` says why ``env.py`` could not be part of it."""

    prologue: str = ""
    revisions: tuple[Rendered, ...] = ()
    epilogue: str = ""
    without_env: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The models against the database: the differences, a line each, and how much was compared.

    ``tables`` is the number of tables that the models have. The others are what ``env.py`` gave to
    ``context.configure``: https://alembic.sqlalchemy.org/en/latest/autogenerate.html
    """

    differences: tuple[str, ...]
    tables: int = 0
    compare_type: bool = True
    compare_server_default: bool = False
    include_schemas: bool = False


@dataclass(frozen=True)
class Written:
    """Revision files that were written (id, path), and the operations in them, a line each."""

    files: tuple[tuple[str, str], ...]
    operations: tuple[str, ...]


def ask_sql(
    files: Files, *, upgrade: bool, rows: tuple[str, ...], names: tuple[str, ...], at: Endpoint = NOWHERE
) -> Rendering:
    """Return the statements of revisions; no database is connected to, and no password leaves this process.

    Raises:
        StepFailedError: the interpreter or the tree cannot be loaded.
    """
    direction = "upgrade" if upgrade else "downgrade"
    words = [direction, (names or ("base",))[-1], "--sql"]
    asked: protocol.Render = {
        **_common("render", words, files, replace(at, password=NOWHERE.password)),
        "attributes": {},
        "direction": "upgrade" if upgrade else "downgrade",
        "rows": list(rows),
        "revisions": list(names),
    }
    found, sections = Rendering(), {name: Rendered(name, "", "it was not reached") for name in names}
    for event in _ask(files, asked):
        if event["event"] == "prologue":
            found = replace(found, prologue=event["sql"])
        elif event["event"] == "epilogue":
            found = replace(found, epilogue=event["sql"])
        elif event["event"] == "without-env":
            found = replace(found, without_env=event["reason"])
        elif event["event"] == "section":
            pieces = tuple([(text, line) for text, line in event["pieces"]])
            name = event["revision"]
            sections[name] = Rendered(name, event["sql"], event["reason"], event["place"], pieces)
    return replace(found, revisions=tuple(sections.values()))


def ask_comparison(
    tree: Migrations,
    graph: Graph,
    location: Location,
    endpoint: Endpoint,
    others: Others = (),
    *,
    no_tables: bool = False,
    session: Endpoint | None = None,
) -> Comparison:
    """Compare the models of ``env.py`` with the database. ``no_tables``: models without a table are no error.

    ``session`` is how ``env.py`` logs in, where that is not as ``endpoint`` says.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: the models of env.py have no tables.
        StepFailedError: env.py failed, or went to another database.
        UnavailableError: the server cannot be reached.
    """
    files = (tree, graph, location)
    asked: protocol.Compare = {
        **_common("compare", ["revision", "--autogenerate"], files, session or endpoint),
        **_NO_DATABASE,
        "no_tables": no_tables,
    }
    events = _ask_on_database(files, asked, (endpoint, session), others)
    found = Comparison(tuple([each["text"] for each in events if each["event"] == "operation"]))
    for event in events:
        if event["event"] == "models":
            options = event["compare_type"], event["compare_server_default"], event["include_schemas"]
            found = Comparison(found.differences, event["tables"], *options)
    return found


def ask_revision(
    files: Files,
    revision: protocol.NewRevision,
    *,
    allow_empty: bool,
    endpoint: Endpoint | None,
    session: Endpoint | None = None,
    others: Others = (),
    no_tables: bool = False,
) -> Written | None:
    """Write a revision file; None when that needs the database, and no ``endpoint`` was given.

    ``session`` is as in :func:`ask_comparison`.

    Raises:
        NoModelsError: env.py names no models.
        EmptyModelsError: the models of env.py have no tables, and ``no_tables`` does not say that this is expected.
        StepFailedError: env.py failed, or the file cannot be written.
        UnavailableError: the server cannot be reached.
    """
    words = ["revision", *(["--autogenerate"] if revision["autogenerate"] else [])]
    asked: protocol.Write = {
        **_common("write", words, files, session or endpoint or NOWHERE),
        **_NO_DATABASE,
        "no_tables": no_tables,
        "revision": revision,
        "allow_empty": allow_empty,
    }
    events = _ask_on_database(files, asked, (endpoint, session), others) if endpoint else _ask(files, asked)
    if any(each["event"] == "needs-server" for each in events):
        return None
    return Written(
        tuple([(each["revision"], each["path"]) for each in events if each["event"] == "written"]),
        tuple([each["text"] for each in events if each["event"] == "operation"]),
    )


def _common(
    kind: Literal["render", "compare", "write"], words: list[str], files: Files, at: Endpoint
) -> protocol.Request:
    tree, _, location = files
    return common(kind, words, tree, at, (location.script, location.env, location.cwd))


def _ask_on_database(
    files: Files, asked: protocol.Compare | protocol.Write, at: tuple[Endpoint, Endpoint | None], others: Others
) -> list[protocol.Event]:
    """Have the child answer a request for which ``env.py`` connects to the database."""
    endpoint, session = at
    with closing(lock_connection(files[0], endpoint, session or endpoint)) as lock:
        there = lock.settled(session or endpoint)
        asked["host"], asked["port"] = there.host, there.port
        asked["lock"] = lock.mark()
        asked["declared_table"] = table_key(files[0], lock)
        asked["others"] = [*others, *lock.rows(_UNMODELLED)]
        return _ask(files, asked)


def _ask(files: Files, asked: protocol.Request) -> list[protocol.Event]:
    """Have the child answer one request, and return all that it said."""
    tree, graph, location = files
    truth = Truth(graph, (), is_asked=False)
    found: list[protocol.Event] = []
    with Child.start(tree, location.cwd, ASKING_NAME) as child:
        try:
            for event in child.events(time.monotonic() + tree.timeout):
                if event["event"] == "ready":
                    child.ask(asked)
                elif event["event"] == "error":
                    printed = masked(child.printed(), Secret(asked["password"]), tree)
                    raise alembic_errors.failed(event, printed, (tree, location), child.python, truth)
                else:
                    found.append(event)
        except OutOfTimeError:
            raise alembic_errors.out_of_time(tree, None, truth) from None
        if not any(event["event"] == "finished" for event in found):
            printed = masked(child.printed(), Secret(asked["password"]), tree)
            raise alembic_errors.died(child.close(now=False), printed, truth)
    return found


def place_of_package(tree: Migrations, cwd: Path, place: str) -> protocol.Place:
    """Return where the interpreter of a tree finds ``package:dir``.

    Raises:
        MigrationsError: it has no such package, or there is no such directory in it.
    """
    events = _ask_interpreter(tree, (tree.script_location, None, cwd), place)
    for event in events:
        if event["event"] == "location":
            return event
    raise MigrationsError(
        f"{tree.python or 'the interpreter'} does not find {place}",
        evidence=[each["message"] for each in events if each["event"] == "error"],
        next_step="correct the place, or `migrations.python`: the interpreter that has the package",
    )


def computed_revisions(tree: Migrations, location: Location, why: NotStaticError) -> Mapping[Path, Fields]:
    """Return what the revision files of a tree state, by running them; ``why`` is the reason to.

    Raises:
        MigrationsError: they cannot be run.
    """
    script = location.script if tree.package is not None else tree.script_location
    found: dict[Path, Fields] = {}
    for event in _ask_interpreter(tree, (script, location.env, location.cwd), None):
        if event["event"] == "error":
            place = f"at {event['place']}" if event["place"] else ""
            why.evidence = (*why.evidence, f"running it fails: {event['type']}: {event['message']}", place)
            raise why
        if event["event"] == "revision":
            names = (event["revision"], event["down"], event["depends_on"], event["labels"], event["message"])
            found[Path(event["path"])] = [*names, [], 1, 1]
    return found


def _ask_interpreter(
    tree: Migrations, places: tuple[Path | None, Path | None, Path], package: str | None
) -> list[protocol.Event]:
    asked: protocol.Resolve = {
        **common("resolve", ["heads"], tree, NOWHERE, places),
        "attributes": {},
        "prepare": None if package else tree.prepare,
        "url_driver": tree.url_driver or "postgresql",
        "package": package,
    }
    found: list[protocol.Event] = []
    with Child.start(tree, places[2], ASKING_NAME) as child, suppress(OutOfTimeError):
        for event in child.events(time.monotonic() + _SECONDS):
            if event["event"] == "ready":
                child.ask(asked)
            else:
                found.append(event)
    return found
