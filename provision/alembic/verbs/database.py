"""The databases that verbs use: the declared one, which is only read, and scratch ones for trying revisions."""

from __future__ import annotations

import shlex
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from provision.alembic.running.migrate import Manner, migrate
from provision.alembic.running.run import Rehearsal
from provision.alembic.sessions import entered, located, session, within
from provision.alembic.state import Revisions, observed, refuse_foreign
from provision.alembic.tree.version_table import read_rows, read_with_ledger, table_name
from provision.errors import RefusedError, UnavailableError, UnknownRevisionError, UsageError
from provision.model.effects import Migrate
from provision.model.value import replace
from provision.system import scratch
from provision.system.login_errors import diagnosed
from provision.system.postgres import LoginError
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from provision.alembic.child.protocol import Event
    from provision.alembic.running.events import MigrationEvent
    from provision.alembic.running.process import Child
    from provision.alembic.trees import Tree
    from provision.model import Endpoint, Query

    Answer = TypeVar("Answer")

_ROUNDS = 3  # up, down and up again: each may take what the spec allows


@contextmanager
def asking(endpoint: Endpoint) -> Iterator[ReadOnlyQuery]:
    """Ask the database, in read-only transactions.

    Raises:
        UnavailableError: the login fails; the error says why.
    """
    try:
        with closing(ReadOnlyQuery(endpoint)) as query:
            yield query
    except LoginError as error:
        raise diagnosed(error, endpoint) from error


def ask(tree: Tree, at: Endpoint, question: Callable[[Query], Answer]) -> Answer:
    """Ask the database of a tree something; ``at`` is the server's declared login, where that may know the answer.

    One that is no superuser may lack the privilege, or not be let in; then the tree's own login asks.

    Raises:
        UnavailableError: the login fails; the error says why.
        RefusedError: it lacks a privilege.
        UsageError: the tree is of a tenant that the query of the tenants does not return.
    """
    refuse_several(tree)
    if tree.refuse_stranger is not None:
        tree.refuse_stranger(at)
    at = located(tree.declared, at)
    own = session(tree.spec, tree.declared, at)
    try:
        with asking(at) as query:
            return question(query)
    except (RefusedError, UnavailableError):
        if own.user == at.user or at.is_ours:
            raise
    with asking(entered(tree.spec, tree.declared, at)) as query:
        return question(query)


def refuse_several(tree: Tree) -> None:
    """Refuse a tree with tenants where one database is meant.

    Raises:
        UsageError: it has some.
    """
    if tree.declared.tenants is not None:
        example = next(iter(tree.declared.tenants.names), "NAME")
        raise UsageError(
            f"which tenant? The migrations {tree.name!r} are for many {tree.declared.tenants.kind}",
            evidence=["apply, plan, verify, status and migrate current are about all of them"],
            next_step=f"add --tenant, for example --tenant {shlex.quote(example)}",
        )


def applied_rows(tree: Tree, endpoint: Endpoint) -> tuple[str, ...]:
    """Return the rows of a tree's version table; none where there is no such table.

    Raises:
        UnavailableError: the server refuses the login.
    """
    return ask(tree, endpoint, lambda query: read_rows(tree.declared, within(tree.declared, query))) or ()


def applied_with_times(tree: Tree, endpoint: Endpoint) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the rows as :func:`applied_rows` does, and when each revision was applied of which the ledger knows that.

    Times are in UTC, to the second.

    Raises:
        UnavailableError: the server refuses the login.
    """
    found = ask(tree, endpoint, lambda query: read_with_ledger(tree.declared, within(tree.declared, query)))
    return found.rows or (), {name: each.applied_at for name, each in found.entries.items()}


def look(tree: Tree, endpoint: Endpoint) -> Revisions:
    """Return where the database is in a tree.

    Raises:
        UnavailableError: the login fails; the error says why.
        RefusedError: it lacks a privilege.
    """
    return ask(tree, endpoint, lambda query: observed(tree.declared, tree.graph, query))


def refuse_rows(tree: Tree, rows: tuple[str, ...]) -> None:
    """Refuse a database that this tree leads nowhere from; Git is asked where an unknown revision comes from.

    Raises:
        RefusedError: it is at a revision that the tree does not have, or its rows contradict each other.
    """
    try:
        refuse_foreign(tree.declared, tree.graph, rows)
    except UnknownRevisionError as error:
        from provision.alembic.origin import explain

        explain(error, tree.graph, tree.location)
        raise


def scratch_server(tree: Tree, server: Callable[[], Endpoint]) -> Endpoint:
    """Return where the environment's server is reached, on which a tree is to be tried.

    Raises:
        RefusedError: the tree's own program migrates it, and only Alembic can be led to another database.
        UnavailableError: the server does not run, or refuses the login.
    """
    if tree.declared.command:
        raise RefusedError(
            f"the migrations {tree.name!r} have a program of their own, and nothing keeps that in a scratch database",
            evidence=[f"command: {' '.join(tree.declared.command)}"],
            next_step="write `script_location` or `config` without `command` into the spec, if Alembic can run them",
        )
    refuse_several(tree)
    endpoint = located(tree.declared, server())
    with asking(endpoint):
        scratch.source(endpoint)
    return endpoint


def likeness(tree: Tree) -> scratch.Likeness | None:
    """Return what a scratch database has in common with the declared one; None: nothing, as the superuser owns both."""
    declared = tree.spec.databases.get(tree.spec.database_of(tree.declared))
    if declared is None:
        return scratch.Likeness(("public",)) if tree.declared.owner else None
    schemas = ["public", *[each.name for each in declared.schemas.values() if not each.is_absent]]
    extensions = [each.name for each in declared.extensions if not each.is_absent]
    return scratch.Likeness(tuple(schemas), tuple(extensions))


def run_scratch(
    tree: Tree,
    endpoint: Endpoint,
    target: Sequence[str],
    report: Callable[[MigrationEvent], None] = lambda _event: None,
    *,
    hear: Callable[[Child, Event], None] = lambda _child, _event: None,
    trace: bool = False,
    walk: Sequence[tuple[str, bool]] = (),
) -> None:
    """Bring a scratch database to a target, keep the process in it, and ``hear`` what the child reports beside.

    With ``trace`` that is each statement. ``walk`` are revisions to run up, and those marked so down and up again.

    Raises:
        ProvisionError: a revision fails, or would have gone elsewhere.
    """
    # What is applied here is nothing to remember; advice is about the declared database.
    declared = replace(tree.declared, ledger=False, database=tree.spec.database_of(tree.declared))
    if walk:
        declared = replace(declared, timeout=declared.timeout * _ROUNDS, transaction_per_revision=True)
    table = table_name(declared)
    rehearsal = Rehearsal({"trace": trace, "walk": list(walk), "quoted_table": table}, hear)
    effect = Migrate(tree.name, tree.graph.version_rows(target))
    manner = Manner(rehearsal=rehearsal, session=entered(tree.spec, declared, endpoint))
    migrate(declared, (tree.graph, tree.location), endpoint, effect, report, manner)
