"""Scratch databases for trying revisions, on the environment's own server; nothing else there is written to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provision.alembic.running import migrate as alembic_migrate
from provision.alembic.running.run import Rehearsal
from provision.alembic.tree import version_table
from provision.alembic.verbs.database import running
from provision.errors import RefusedError
from provision.model.effects import Migrate
from provision.system import scratch
from provision.system.login_errors import diagnosed
from provision.system.postgres import LoginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from provision.alembic.running.migrate import MigrationEvent
    from provision.alembic.running.process import Child, Event
    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint

    Hear = Callable[[Child, Event], None]

ROUNDS = 3  # up, down and up again: each may take what the spec allows


def server(tree: Tree) -> Endpoint:
    """Return where the environment's server is reached.

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
    _, endpoint = running(tree)
    try:
        scratch.source(endpoint)
    except LoginError as error:
        raise diagnosed(error, endpoint) from error
    return endpoint


def empty(tree: Tree, endpoint: Endpoint) -> AbstractContextManager[Endpoint]:
    """Have an empty scratch database."""
    return scratch.database(endpoint, tree.spec.name)


def renew(server: Endpoint, endpoint: Endpoint) -> None:
    """Make a scratch database empty again."""
    scratch.renew(server, endpoint)


def upgrade(
    tree: Tree, endpoint: Endpoint, target: Sequence[str], tell: Callable[[MigrationEvent], None] = lambda _: None
) -> None:
    """Bring a scratch database to a target, and keep the process in it.

    Raises:
        ProvisionError: a revision fails, or would have gone elsewhere.
    """
    _run(tree, endpoint, target, {}, None, tell)


def trace(tree: Tree, endpoint: Endpoint, target: Sequence[str], hear: Hear) -> None:
    """Bring a scratch database to a target, and hear of each statement.

    Raises:
        ProvisionError: a revision fails, or would have gone elsewhere.
    """
    _run(tree, endpoint, target, {"trace": True}, hear)


def walk(
    tree: Tree,
    endpoint: Endpoint,
    steps: Sequence[tuple[str, bool]],
    hear: Hear,
    tell: Callable[[MigrationEvent], None],
) -> None:
    """Run each revision up, and where it ``goes back`` down and up again, and hear of what differs then.

    Raises:
        ProvisionError: a revision fails, or would have gone elsewhere.
    """
    asks = {
        "walk": [list(each) for each in steps],
        "quoted_table": version_table.table_name(tree.declared),
        "transaction_per_revision": True,
    }
    declared = replace(tree.declared, timeout=tree.declared.timeout * ROUNDS)
    _run(replace(tree, declared=declared), endpoint, tree.graph.heads, asks, hear, tell)


def _run(  # what is asked for, and who hears of it
    tree: Tree,
    endpoint: Endpoint,
    target: Sequence[str],
    asks: Mapping[str, Any],
    hear: Hear | None,
    tell: Callable[[MigrationEvent], None] = lambda _: None,
) -> None:
    given = {"scratch": True, **asks}
    rehearsal = Rehearsal(given, hear) if hear is not None else Rehearsal(given)
    effect = Migrate(tree.name, tree.graph.version_rows(target))
    declared = replace(tree.declared, ledger=False)  # what is applied here is nothing to remember
    alembic_migrate.migrate(declared, (tree.graph, tree.location), endpoint, effect, tell, rehearsal=rehearsal)


def steps(tree: Tree, irreversible: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield every revision in the order of an upgrade, and whether it goes back."""
    for name in tree.graph.pending((), tree.graph.heads):
        yield name, name not in irreversible
