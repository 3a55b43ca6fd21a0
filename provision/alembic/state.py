"""Where a database is in its tree: what the version table, the ledger and the tables show, and what they forbid.

An empty version table, a missing one and ``target: base`` are all the same: nothing is applied. What must not be
guessed is refused here, before anything is touched: a database that another checkout has migrated, and one whose
version table is gone although its tables are there, or where the sessions of the tree do not find it.
"""

from __future__ import annotations

from provision.alembic.sessions import within
from provision.alembic.tree import version_table
from provision.alembic.tree.graph import Graph, unread_places
from provision.alembic.tree.source import refuse_long_ids
from provision.alembic.tree.targets import resolve
from provision.errors import RefusedError, UnknownRevisionError, command
from provision.model import Address, Query, State
from provision.model.sql import identifier
from provision.model.value import dataclass, field, replace
from provision.model.words import some
from provision.spec.model import Migrations, Spec

KIND = "migrations"
_SHOWN = 10
_UNNAMED = "alembic"  # what the only tree of a spec is called


@dataclass(frozen=True)
class Revisions(State):
    """The rows of the version table, sorted.

    ``stranded`` are tables that the tree would create and that exist although no row says so. ``known`` is what the
    ledger says about the files of what is applied; None: there is none. ``width`` is how many characters the version
    table holds, asked only for a tree with long ids. ``others`` are the rows of the other version tables that
    ``env.py`` kept when it ran last. ``holder`` owns the version table, where the tree's role may not write it;
    ``hidden`` is the refusal where there is one that the tree's sessions do not find. None of these five makes a state
    another one: a database is what it is, whatever became of the files.
    """

    rows: tuple[str, ...]
    stranded: tuple[str, ...] = ()
    width: int | None = field(default=None, compare=False)
    known: version_table.Known | None = field(default=None, compare=False)
    others: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), compare=False)
    holder: str | None = field(default=None, compare=False)
    hidden: RefusedError | None = field(default=None, compare=False, repr=False)


def address(tree: Migrations) -> Address:
    """Return the address of a tree."""
    return Address(KIND, tree.name)


def observed(
    tree: Migrations, graph: Graph, query: Query, database: str | None = None, *, spec: Spec | None = None
) -> Revisions:
    """Read the version table of one tree, and look for tables that the tree would collide with.

    ``database`` is where it is, where the questions do not go there by themselves; ``spec`` as in :func:`within`.

    Raises:
        UnavailableError: the server cannot be reached.
    """
    query = within(tree, query, database, spec)
    seen = _applied(tree, graph, query)
    if tree.owner is not None:
        seen = replace(seen, holder=version_table.owner_of_unwritable(tree, query))
    if seen.rows or not len(graph):
        return seen
    from provision.alembic.hidden import hidden

    seen = replace(seen, hidden=hidden(tree, graph, query, by_path=True))
    collisions = version_table.existing_tables(graph.creates, query)
    if not collisions:
        return seen
    # Another run may have begun between the two questions: then the tables are its, and it has written down so.
    again = _applied(tree, graph, query)
    return again if again.rows else replace(again, stranded=collisions, hidden=seen.hidden)


def _applied(tree: Migrations, graph: Graph, query: Query) -> Revisions:
    width = version_table.version_num_width(tree, query) if graph.long else None
    if not tree.ledger:
        return Revisions(version_table.read_rows(tree, query) or (), width=width)
    found, entries, tables = version_table.read_with_ledger(tree, query)
    others = tuple(version_table.rows_of_tables(tables, query).items()) if tables else ()
    return Revisions(
        found or (), width=width, known=version_table.compare_files(graph, found or (), entries), others=others
    )


def partial(tree: Migrations, graph: Graph, seen: Revisions) -> tuple[str, ...]:
    """Say what was not looked at, where ``env.py`` may keep more version tables than are known."""
    others = seen.others
    if tree.command or not (others or graph.runs_in_a_loop):
        return ()
    tables = ", ".join([version_table.table_name(tree).replace('"', ""), *[table for table, _ in others]])
    known = f"the version tables that it kept last are as declared ({tables})" if others else f"only {tables} is known"
    sentence = f"{address(tree)}: env.py migrates several schemas or version tables, and {known}; "
    return (sentence + "one that it has not made yet shows only when it runs: provision migrate upgrade",)


def unread_directories(tree: Migrations, graph: Graph) -> tuple[str, ...]:
    """Say that ``env.py`` adds directories of revisions, which no plan knows."""
    if tree.command or graph.added is None:
        return ()
    line, texts = graph.added
    names = f" ({', '.join(texts)})" if texts else ""
    sentence = f"{address(tree)}: env.py adds directories of revisions in line {line}{names}, which no plan knows; "
    return (sentence + "name all directories under `migrations`: options: {version_locations: …}",)


def refuse_long(graph: Graph, names: tuple[str, ...], before: Revisions) -> str:
    """Refuse revisions whose ids the version table cannot hold; return a warning where the tree may make it wider.

    Raises:
        MigrationsError: an id is too long.
    """
    return refuse_long_ids([graph[name] for name in names], before.width, widened=graph.widens_version_table)


def refuse_foreign(tree: Migrations, graph: Graph, rows: tuple[str, ...]) -> None:
    """Refuse a database whose rows are not of this tree, or contradict each other.

    Raises:
        RefusedError: they are, or do.
    """
    unknown = graph.unknown(rows)
    table = version_table.table_name(tree)
    if unknown:
        places, way = unread_places(graph.unread)
        ends = ", ".join(graph.heads) or "nothing"
        evidence = (f"{table} holds {', '.join(rows)}", f"this tree ends at {ends}", *places)
        raise UnknownRevisionError(tree.name, unknown, evidence=evidence, way=way)
    if graph.version_rows(rows) != rows:
        raise RefusedError(
            f"the rows of {table} contradict each other: one revision includes the other",
            evidence=[str(graph[row]) for row in rows],
            next_step="write down what is really applied: "
            + command("migrate stamp", f"{_named(tree)}--purge {' '.join(graph.version_rows(rows))}"),
        )


def stranded(tree: Migrations, graph: Graph, tables: tuple[str, ...]) -> RefusedError:
    """Return the error for tables that are there although no revision is applied."""
    table = version_table.table_name(tree)
    target = " ".join(resolve(graph, tree.target))
    return RefusedError(
        f"{table} is missing or empty, but tables that these migrations create are there already",
        evidence=some([f"table {each}" for each in tables], _SHOWN),
        next_step="if they are what the migrations made, say so: "
        + command("migrate stamp", f"{_named(tree)}{target}")
        + " (or the revision that they are really at); if not, rename or drop them",
    )


def not_its_own(tree: Migrations, holder: str, *, taken: bool = True) -> RefusedError:
    """Return the error for a version table that the role of a tree may not write; ``holder`` owns it.

    ``taken``: an apply can give it to that role, with what else was made by earlier migrations.
    """
    table = version_table.table_name(tree)
    statement = f"ALTER TABLE {table} OWNER TO {identifier(tree.owner or '')}"
    return RefusedError(
        f"the migrations run as {tree.owner!r}, and their version table belongs to {holder!r}",
        evidence=[
            f"{tree.owner!r} may not write {table}: earlier migrations ran as {holder!r}",
            "nothing was migrated",
        ],
        next_step=command("apply --take-ownership") + f"   ({tree.owner!r} then owns what they made)"
        if taken
        else f"other migrations of this database run as another role, so as {holder!r}: {statement}, "
        "and the same for the tables of this tree",
    )


def _named(tree: Migrations) -> str:
    """Return the option that says which tree is meant, where it has a name of its own."""
    return "" if tree.name == _UNNAMED else f"--tree {tree.name} "
