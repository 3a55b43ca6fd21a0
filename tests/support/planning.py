"""One kind planned alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from provision.alembic import address
from provision.kinds import Scene, migrations
from provision.model import Wishes

if TYPE_CHECKING:
    from provision.alembic import Graph
    from provision.model import State, Step, Unknown
    from provision.spec.model import Migrations


def target(tree: Migrations, graph: Graph) -> migrations.Revisions:
    """Return the rows that a tree's target means."""
    spec: Any = SimpleNamespace(migrations=(tree,), databases={})
    inputs: Any = SimpleNamespace(graphs={tree.name: graph})
    state = migrations.wanted(spec, inputs, {})[address(tree)]
    assert isinstance(state, migrations.Revisions)
    return state


def migration(tree: Migrations, graph: Graph, before: State | Unknown | None) -> tuple[Step, ...]:
    """Return the steps that lead to a tree's target."""
    spec: Any = SimpleNamespace(migrations=(tree,), databases={})
    inputs: Any = SimpleNamespace(graphs={tree.name: graph})
    ground: Any = None
    scene = Scene(spec, inputs, ground, Wishes())
    return migrations.steps(address(tree), before, target(tree, graph), scene).steps
