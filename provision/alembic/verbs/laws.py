"""Four laws that a tree of migrations keeps, tried on scratch databases.

It has one head. From an empty database it reaches that head. Every revision can be run, undone and run again: undone,
the schema is what it was before, and run again what it was after. And the database at the head is what the models say.
The second and the third need a database each, and are tried side by side; the fourth uses that of the second.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from provision.alembic.running.errors import NoModelsError
from provision.alembic.verbs import reversal, scratch
from provision.alembic.verbs.law import Law, failed
from provision.alembic.verbs.models import compare
from provision.alembic.verbs.writing import advice
from provision.errors import ProvisionError, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from provision.alembic.running.migrate import MigrationEvent
    from provision.alembic.verbs.tree import Tree
    from provision.model import Endpoint

HEADS, UPGRADE, MODELS = "one head", "empty → head", "models"


def check(tree: Tree, endpoint: Endpoint, tell: Callable[[Law], None]) -> tuple[Law, ...]:
    """Try the four laws on a server, and tell each when it is known.

    Raises:
        RefusedError: no scratch database can be made.
        UnavailableError: the server cannot be reached.
    """
    found: list[Law] = []

    def keep(law: Law) -> None:
        found.append(law)
        tell(law)

    keep(one_head(tree))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        # Left in the other order: when we are interrupted, what still runs loses its database, and ends.
        one, other = [stack.enter_context(scratch.empty(tree, endpoint)) for _ in range(2)]
        upward = pool.submit(_upward, tree, one)
        back = pool.submit(reversal.law, tree, endpoint, other)
        reaches, models = upward.result()
        keep(reaches)
        keep(back.result())
        keep(models)
    return tuple(found)


def one_head(tree: Tree) -> Law:
    """See that nothing branches off without being merged again; several heads may be wanted, and the target says so."""
    graph, heads = tree.graph, tree.graph.heads
    if len(heads) == 1:
        return Law(HEADS, "passed", graph.describe(heads[0]))
    if not heads:
        return Law(HEADS, "passed", "the tree has no revisions yet")
    lines = tuple([f"{graph[each]}  ({graph[each].path})" for each in heads])
    if tree.declared.target == "heads":
        return Law(HEADS, "passed", f"{len(heads)} heads, and `target: heads` wants all of them", evidence=lines)
    return Law(
        HEADS,
        "failed",
        f"{len(heads)} heads",
        evidence=lines,
        revision=heads[-1],
        path=str(graph[heads[-1]].path),
        next_step=command("migrate merge", "heads -m 'merge the heads'") + "; or write `target: heads`",
    )


def _upward(tree: Tree, endpoint: Endpoint) -> tuple[Law, Law]:
    """Try the second law, and with the database that it leaves behind the fourth."""
    began = time.monotonic()
    count = len(tree.graph)
    running: list[str] = []

    def tell(event: MigrationEvent) -> None:
        if event.what == "started":
            running.append(event.subject)

    try:
        scratch.upgrade(tree, endpoint, tree.graph.heads, tell)
    except ProvisionError as error:
        models = Law(MODELS, "not checked", "there is no database at the head to compare them with")
        return failed(UPGRADE, tree, error, began, running[-1] if running else None), models
    ran = "nothing to run" if not count else f"{count} revision{'s' if count > 1 else ''}"
    return Law(UPGRADE, "passed", ran, time.monotonic() - began), _models(tree, endpoint)


def _models(tree: Tree, endpoint: Endpoint) -> Law:
    """Try the fourth law, on a database that is at the head."""
    began = time.monotonic()
    try:
        found = compare(tree, endpoint)
    except NoModelsError:
        return Law(MODELS, "not checked", "env.py has no target_metadata")
    except ProvisionError as error:
        return failed(MODELS, tree, error, began, None)
    seconds = time.monotonic() - began
    lines = found.differences
    if not lines:
        return Law(MODELS, "passed", f"nothing differs in {found.tables} tables of the models", seconds)
    return Law(
        MODELS,
        "failed",
        f"{len(lines)} difference{'s' if len(lines) > 1 else ''} at the head",
        seconds,
        lines,
        next_step=advice(lines, command("migrate revision", "--autogenerate -m '…'")),
    )
