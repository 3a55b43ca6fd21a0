"""Which tree is meant, and its files; nothing is asked of a runtime here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.trees import Trees
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.alembic.tree import Graph, Location
    from provision.spec.model import Migrations, Spec


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree of a spec, read."""

    spec: Spec
    declared: Migrations
    graph: Graph
    location: Location

    @property
    def name(self) -> str:
        """The name of the tree in the spec."""
        return self.declared.name

    @property
    def other_version_tables(self) -> tuple[tuple[str | None, str], ...]:
        """The version tables (schema or None, name) of the spec's other trees."""
        others = [each for each in self.spec.migrations if each.name != self.name]
        return tuple([(each.version_table_schema, each.version_table) for each in others])


def choose(spec: Spec, name: str | None = None) -> Tree:
    """Return the tree with a name, or the only one.

    Raises:
        UsageError: the spec has no such tree, or several and no name was given; the names are listed.
        MigrationsError: its files are not in order.
    """
    trees = {each.name: each for each in spec.migrations}
    if not trees:
        raise UsageError(
            f"the spec declares no migrations, so there is nothing for {spec.name!r} to migrate",
            next_step="add `migrations:` with the `script_location` or `config` of your tree to the spec",
        )
    if name is None and len(trees) > 1:
        raise UsageError(
            f"which tree? The spec declares {len(trees)}",
            evidence=tuple(trees),
            next_step=f"add --tree, for example --tree {next(iter(trees))}",
        )
    chosen = name if name is not None else next(iter(trees))
    if chosen not in trees:
        raise UsageError(
            f"the spec declares no migrations with the name {chosen!r}",
            evidence=tuple(trees),
            next_step=f"write one of these names: --tree {next(iter(trees))}",
        )
    found = Trees(spec)
    return Tree(spec, trees[chosen], found[chosen], found.location(chosen))
