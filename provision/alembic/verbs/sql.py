"""The SQL of revisions, from where the database is to a target, or of a plan; none of them is run for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from provision.alembic.running.ask import Rendered, Rendering, ask_sql
from provision.alembic.running.process import NOWHERE
from provision.alembic.sessions import located, session
from provision.alembic.state import KIND, Revisions
from provision.alembic.tree.targets import move_down, move_up, resolve, resolve_typed
from provision.alembic.trees import Tree, Trees
from provision.alembic.verbs.database import look, refuse_rows, refuse_several
from provision.errors import RefusedError, command
from provision.model import Endpoint, Plan, Step
from provision.model.effects import Migrate, MigrateTenants
from provision.model.value import dataclass
from provision.model.words import some_of
from provision.spec.model import Spec

_FRESH = "from base: there is no data yet"


@dataclass(frozen=True)
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


def between(
    tree: Tree, span: str, server: Callable[[], Endpoint | None], known: tuple[str, ...] | None = None
) -> Script:
    """Render ``FROM:TO``, or from where the database is to ``TO``; an empty ``TO`` is the spec's target.

    ``server`` returns where the server is reached, None where there is no data yet, and is asked only if need be.
    ``known`` are rows to begin with in place of the database's.

    Raises:
        UnavailableError: only the server knows where the database is, and it does not run.
        MigrationsError: an end is not one of this tree's.
    """
    if tree.declared.command:
        raise RefusedError(
            f"{tree.name} is migrated by its own program, {tree.declared.command[0]}: only that knows its SQL",
            next_step=command("migrate history"),
        )
    refuse_several(tree)
    first, colon, last = span.rpartition(":")
    note, at = "", NOWHERE
    rows: tuple[str, ...] = ()
    if known is not None:
        rows = known
    elif colon:
        rows = tree.graph.version_rows(resolve_typed(tree.graph, first or "base"))
    elif (endpoint := server()) is None:
        note = _FRESH
    else:
        at = located(tree.declared, endpoint)
        rows = look(tree, endpoint).rows
    refuse_rows(tree, rows)
    return _render(tree, rows, last or tree.declared.target, note, at)


def of_plan(spec: Spec, trees: Trees, plan: Plan, endpoint: Endpoint | None, *, is_fresh: bool) -> tuple[Script, ...]:
    """Render what a plan would run. Where there is no data yet, all is rendered from base.

    Raises:
        StepFailedError: an interpreter or a tree cannot be loaded.
    """
    found: list[Script] = []
    for step in plan.steps:
        if step.address.kind == KIND:
            declared = next(each for each in spec.migrations if each.name == step.address.name)
            tree = Tree(spec, declared, trees[declared.name], trees.location(declared.name))
            if declared.tenants is not None and step.effects:
                found += _of_tenants(tree, step, endpoint or NOWHERE)
                continue
            rows = step.before.rows if isinstance(step.before, Revisions) else ()
            effects = [each for each in step.effects if isinstance(each, Migrate)]
            found += _of_step(tree, rows, effects, located(declared, endpoint or NOWHERE), is_fresh=is_fresh)
    return tuple(found)


def _of_tenants(tree: Tree, step: Step, at: Endpoint) -> Iterator[Script]:
    """Render once what runs in several tenants, as it runs in the first of them."""
    moves: dict[str, list[Migrate]] = {}
    for effect in step.effects:
        for name, move in effect.behind if isinstance(effect, MigrateTenants) else ():
            moves.setdefault(name, []).append(move)
    states: Mapping[str, Revisions] = getattr(step.before, "states", {})
    groups: dict[object, list[str]] = {}
    for name, each in moves.items():
        rows = states[name].rows if name in states else ()
        groups.setdefault((rows, tuple(each)), []).append(name)
    for names in groups.values():
        declared = tree.declared.for_tenant(names[0])
        rows = states[names[0]].rows if names[0] in states else ()
        note = f"for {some_of(names)}"
        for move in moves[names[0]]:
            ids = tuple([name for name, _ in move.revisions])
            here = Tree(tree.spec, declared, tree.graph, tree.location)
            yield _script(here, rows, ids, note, located(declared, at), upgrade=move.direction == "upgrade")
            rows = move.target


def _of_step(
    tree: Tree, rows: tuple[str, ...], effects: list[Migrate], at: Endpoint, *, is_fresh: bool
) -> Iterator[Script]:
    if tree.declared.command:
        program = tree.declared.command[0]
        yield Script(tree, True, (), None, unknown=f"only its own program, {program}, knows its SQL")
    elif not effects and is_fresh:
        yield _render(tree, (), tree.declared.target, _FRESH, at)
    elif not effects:
        yield Script(tree, True, (), None, unknown="it is known once the server runs")
    else:
        for effect in effects:
            names = tuple([name for name, _ in effect.revisions])
            yield _script(tree, rows, names, "", at, upgrade=effect.direction == "upgrade")
            rows = effect.target


def _render(tree: Tree, rows: tuple[str, ...], target: str, note: str, at: Endpoint) -> Script:
    """Render the way from rows to a target: up where it is ahead, down where it is behind."""
    move = move_up(tree.graph, rows, target)
    if move.names:
        return _script(tree, rows, move.names, note, at, upgrade=True)
    is_there = sorted(move.rows) == sorted(rows) and resolve(tree.graph, target, rows) == tuple(rows)
    names = () if is_there else move_down(tree.graph, rows, target).names
    if names:
        return _script(tree, rows, names, note, at, upgrade=False)
    return Script(tree, True, rows, None, note, unknown="nothing is to be done")


def _script(
    tree: Tree, rows: tuple[str, ...], names: tuple[str, ...], note: str, at: Endpoint, *, upgrade: bool
) -> Script:
    files, at = (tree.declared, tree.graph, tree.location), session(tree.spec, tree.declared, at)
    return Script(tree, upgrade, rows, ask_sql(files, upgrade=upgrade, rows=rows, names=names, at=at), note)


@dataclass(frozen=True)
class Statement:
    """One statement of a revision, without its semicolon; ``line`` is that of the operation, where it is known."""

    text: str
    line: int | None = None


BEGIN, COMMIT = Statement("BEGIN"), Statement("COMMIT")


def statements(pieces: Sequence[tuple[str, int | None]]) -> tuple[Statement, ...]:
    """Return the statements of a revision; what Alembic writes by itself is left out, but for its transactions."""
    found = [Statement(text.strip().rstrip(";"), line) for text, line in pieces]
    return tuple([each for each in found if each.text and (each.line is not None or each in (BEGIN, COMMIT))])
