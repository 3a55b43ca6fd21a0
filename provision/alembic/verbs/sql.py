"""The SQL that revisions would run, from where the database is; nothing is run, and no database is connected to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.running.ask import ask_sql
from provision.alembic.running.process import NOWHERE
from provision.alembic.tree.targets import move_down, move_up, resolve
from provision.alembic.trees import Tree
from provision.alembic.verbs.scratch import asking, refuse_foreign
from provision.errors import RefusedError, command
from provision.kinds import migrations as kind
from provision.model.effects import Migrate
from provision.observe import endpoint_of, not_running, world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.alembic.running.ask import Rendered, Rendering
    from provision.model import Endpoint
    from provision.observe import Survey


@dataclass(frozen=True, slots=True)
class Script:
    """The SQL of one direction of one tree. ``unknown`` says why there is none."""

    tree: Tree
    upgrade: bool
    rows: tuple[str, ...]
    rendering: Rendering | None
    note: str = ""
    unknown: str = ""

    @property
    def missing(self) -> tuple[Rendered, ...]:
        """The revisions that could not be rendered."""
        return tuple([each for each in self.rendering.revisions if each.reason]) if self.rendering else ()


def between(tree: Tree, span: str) -> Script:
    """Render ``FROM:TO``, or from where the database is to ``TO``; an empty ``TO`` is the spec's target.

    Raises:
        UnavailableError: only the server knows where the database is, and it does not run.
        MigrationsError: an end is not one of this tree's.
    """
    if tree.declared.command:
        raise RefusedError(
            f"{tree.name} is migrated by its own program, {tree.declared.command[0]}: only that knows its SQL",
            next_step=command("migrate history"),
        )
    first, colon, last = span.rpartition(":")
    note, at = "", NOWHERE
    if colon:
        from provision.alembic.tree.targets import range_end

        rows = tree.graph.version_rows(range_end(tree.graph, first or "base"))
    else:
        rows, note, at = _live(tree)
    refuse_foreign(tree, rows)
    return _render(tree, rows, last or tree.declared.target, note, at)


def of_plan(found: Survey) -> tuple[Script, ...]:
    """Render what a plan would run; a step that is only foretold is rendered from base where nothing is there yet.

    Raises:
        StepFailedError: an interpreter or a tree cannot be loaded.
    """
    return tuple(_of_plan(found))


def _of_plan(found: Survey) -> Iterator[Script]:
    at = found.endpoint or NOWHERE
    for step in found.plan.steps:
        if step.address.kind != kind.KIND:
            continue
        declared = next(each for each in found.spec.migrations if each.name == step.address.name)
        graph, location = found.world.trees[declared.name], found.world.trees.location(declared.name)
        tree = Tree(found.spec, declared, graph, location)
        if declared.command:
            yield Script(tree, True, (), None, unknown=f"only its own program, {declared.command[0]}, knows its SQL")
            continue
        rows = step.before.rows if isinstance(step.before, kind.Revisions) else ()
        if not step.effects and not found.world.site.is_fresh:
            yield Script(tree, True, (), None, unknown="it is known once the server runs")
            continue
        if not step.effects:
            yield _render(tree, (), declared.target, "from base: there is no data yet", at)
        for effect in step.effects:
            if isinstance(effect, Migrate):
                names = tuple([name for name, _ in effect.revisions])
                upgrade = effect.direction == "upgrade"
                yield Script(tree, upgrade, rows, _rendering(tree, rows, names, at, upgrade=upgrade))
                rows = effect.target


def _render(tree: Tree, rows: tuple[str, ...], target: str, note: str, at: Endpoint) -> Script:
    """Render the way from rows to a target: up where it is ahead, down where it is behind."""
    move = move_up(tree.graph, rows, target)
    if move.names:
        return Script(tree, True, rows, _rendering(tree, rows, move.names, at, upgrade=True), note)
    if sorted(move.rows) == sorted(rows) and resolve(tree.graph, target, rows) == tuple(rows):
        return Script(tree, True, rows, None, note, unknown="nothing is to be done")
    names = move_down(tree.graph, rows, target).names
    if not names:
        return Script(tree, True, rows, None, note, unknown="nothing is to be done")
    return Script(tree, False, rows, _rendering(tree, rows, names, at, upgrade=False), note)


def _rendering(tree: Tree, rows: tuple[str, ...], names: tuple[str, ...], at: Endpoint, *, upgrade: bool) -> Rendering:
    files = (tree.declared, tree.graph, tree.location)
    return ask_sql(files, upgrade=upgrade, rows=rows, names=names, at=at)


def _live(tree: Tree) -> tuple[tuple[str, ...], str, Endpoint]:
    """Return where the database is, a remark on how that is known, and where the server is reached."""
    seen = world(tree.spec)
    if seen.site.endpoint(seen.inputs.password) is not None:
        endpoint = endpoint_of(seen)
        with asking(endpoint) as query:
            return kind.observed(tree.declared, tree.graph, query).rows, "", endpoint
    if seen.site.is_fresh:
        return (), "from base: there is no data yet", NOWHERE
    raise not_running(
        seen, "only its database knows where it is; FROM:TO says where to begin without it, like base:head"
    )
