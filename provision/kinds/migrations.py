"""The revision of a database: which rows Alembic's version table shall hold, and what leads there.

Desired and observed are the rows of that table. An empty table, a missing one and ``target: base`` are all the same:
nothing is applied, and there are no rows. What must not be guessed is refused here, before anything is touched: a
database that another checkout has migrated, one that is ahead of its target, and one whose version table is gone
although its tables are there.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from provision import alembic
from provision.alembic import Graph, Revisions
from provision.errors import MigrationsError, NotRunError, ProvisionError, RefusedError, UnavailableError, command
from provision.kinds import Before, Files, Inputs, Look, Scene, UnseenError
from provision.model import UNKNOWN, Action, Address, Plan, State, Step, Unknown
from provision.model.effects import Migrate
from provision.model.value import replace
from provision.model.words import some
from provision.spec.model import Migrations, Spec

KIND = "migrations"
_SHOWN = 10


def wanted(spec: Spec, inputs: Inputs, _files: Files) -> dict[Address, State]:
    """Return the rows that each target means, in the spec's order: one tree can need what another makes.

    Raises:
        MigrationsError: a target is not one of its tree's.
    """
    return {alembic.address(tree): _target(tree, inputs) for tree in spec.migrations}


def _target(tree: Migrations, inputs: Inputs) -> State:
    rows = _target_rows(tree, inputs)
    if tree.tenants is None:
        return Revisions(rows)
    from provision.kinds import tenants  # few specs have them

    return tenants.wanted(tree, rows)


def _target_rows(tree: Migrations, inputs: Inputs) -> tuple[str, ...]:
    try:
        graph = inputs.graphs[tree.name]
    except NotRunError:  # only a program could tell which revisions there are
        return ()
    try:
        return graph.version_rows(alembic.resolve(graph, tree.target))
    except MigrationsError as error:
        if tree.target_place:
            error.evidence = (f"{tree.target_place}: target: {tree.target}", *error.evidence)
        raise


def seen(look: Look) -> dict[Address, State | Unknown]:
    """Read the version tables; where one is missing or empty, look for tables that its tree would collide with."""
    if look.session is None:
        raise UnseenError
    return {alembic.address(tree): look.once(applied, tree.name) for tree in look.spec.migrations}


def applied(look: Look, name: str) -> State | Unknown:
    """Ask what of a tree is applied; kinds share the answer by ``look.once(migrations.applied, NAME)``."""
    tree = next(each for each in look.spec.migrations if each.name == name)
    graph, database = look.inputs.graphs[name], look.spec.database_of(tree)
    there = is_there(look, database)
    if tree.tenants is not None:
        from provision.kinds import tenants

        return tenants.seen(look, tree, is_there=there, is_pending=lambda: _is_pending(look, tree))
    if not there:
        return Revisions(()) if there is not None else UNKNOWN
    elsewhere = database if database != look.spec.server.database else None
    try:
        return alembic.observed(tree, graph, look, elsewhere, spec=look.spec)
    except (RefusedError, UnavailableError):
        if tree.login is None or look.own is None or look.reported("is_superuser") == "on":
            raise
    with suppress(ProvisionError):  # a role that is not there yet, or whose password is not known
        return alembic.observed(tree, graph, look.own(tree), spec=look.spec)
    return UNKNOWN


def _is_pending(look: Look, tree: Migrations) -> bool:
    """Tell whether migrations are pending that come before those of a tree, and may make what its query asks."""
    earlier = takewhile(lambda each: each.name != tree.name, look.spec.migrations)
    return any(look.wanted.get(alembic.address(each)) != look.once(applied, each.name) for each in earlier)


def is_there(look: Look, database: str) -> bool | None:
    """Tell whether the server has a database; None where that lets nothing in."""
    if not (look.spec.roles or look.spec.databases):
        return None if look.is_closed else bool(look.has_database)
    from provision.kinds import catalog  # most specs have only one

    return catalog.enters(look, database)


def steps(address: Address, before: Before, after: State | None, scene: Scene) -> Plan:
    """Return the migration from one set of rows to the other, what was edited, and what was compared only in part.

    Raises:
        RefusedError: the database is somewhere that no upgrade of this tree leads from.
    """
    tree = next(each for each in scene.spec.migrations if each.name == address.name)
    try:
        graph = scene.inputs.graphs[tree.name]
    except NotRunError:
        why = ("to ?: which revisions it has is not known",)
        return Plan((Step(address, Action.MIGRATE, UNKNOWN, None, (), why=why),))
    if tree.tenants is not None:
        from provision.kinds import tenants

        return tenants.steps(tree, graph, before, after, scene, _step)
    notes = alembic.unread_directories(tree, graph)
    if before is UNKNOWN:
        return Plan(_later(tree, graph, after), remarks=notes)
    seen = before if isinstance(before, Revisions) else Revisions(())
    if seen.hidden is not None and isinstance(after, Revisions) and after.rows:
        raise seen.hidden
    step = _step(tree, graph, seen, after if isinstance(after, Revisions) else Revisions(()))
    if step and seen.holder:
        taken = scene.spec.owner_in(scene.spec.database_of(tree)) is not None
        if not (taken and scene.wishes.take_ownership):
            raise alembic.not_its_own(tree, seen.holder, taken=taken)
    if scene.spec.databases or any(each.tenants for each in scene.spec.migrations):
        # Privileges on what it makes, and tenants that a table of it names, can be planned only then.
        step = tuple([replace(each, reveals=True) for each in step])
    remarks = tuple(alembic.edit_remarks(seen.known.edits)) if seen.known else ()
    return Plan(step, remarks=(*remarks, *notes), partial=() if step else alembic.partial(tree, graph, seen))


def _step(tree: Migrations, graph: Graph, before: Revisions, after: Revisions) -> tuple[Step, ...]:
    rows, target = before.rows, after.rows
    if rows == target:
        return _everywhere(tree, graph, before, after)
    alembic.refuse_foreign(tree, graph, rows)
    about = alembic.scope(graph, tree.target)
    undo, run = graph.downgrades(rows, target), graph.pending(rows, target)
    if about is not None:
        undo = tuple([name for name in undo if name in about])
    if not undo and not run:
        return ()
    if undo and not tree.allow_downgrade:
        raise _ahead(tree, graph, undo)
    if before.stranded:
        raise alembic.stranded(tree, graph, before.stranded)
    warning = alembic.refuse_long(graph, run, before)
    down = Migrate(tree.name, _kept(graph, rows, target, undo), "downgrade", _files(graph, undo))
    up = Migrate(tree.name, target, "upgrade", _files(graph, run))
    why = (*[f"undo {graph[each]}" for each in undo], *[str(graph[each]) for each in run])
    text = "what these revisions added, and the data in it, goes away" if undo else warning
    effects = (*([down] if undo else []), *([up] if run else []))
    return (Step(alembic.address(tree), Action.MIGRATE, before, after, effects, why, text, destroys=bool(undo)),)


def _everywhere(tree: Migrations, graph: Graph, before: Revisions, after: Revisions) -> tuple[Step, ...]:
    """Return the step that runs ``env.py`` for what is pending in the other version tables that it keeps."""
    pending = {table: graph.pending(rows, after.rows) for table, rows in before.others if not graph.unknown(rows)}
    names = tuple(dict.fromkeys([name for each in pending.values() for name in each]))
    if not names:
        return ()
    why = tuple([f"{graph[name]}  ({table})" for table, each in pending.items() for name in each])
    effect = Migrate(tree.name, after.rows, "upgrade", _files(graph, names), everywhere=True)
    return (Step(alembic.address(tree), Action.MIGRATE, before, after, (effect,), why=why),)


def _files(graph: Graph, names: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    return tuple([(name, graph[name].path) for name in names])


def _kept(graph: Graph, rows: tuple[str, ...], target: tuple[str, ...], undo: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a downgrade leads to: the target, and what is on branches that the target is not about."""
    others = graph.ancestors(rows) - graph.ancestors(target) - set(undo)
    return graph.version_rows([*target, *others]) if others else target


def _later(tree: Migrations, graph: Graph, after: State | None) -> tuple[Step, ...]:
    """Return the step for what will be known once the server runs."""
    if not isinstance(after, Revisions) or not after.rows:
        return ()
    names = ", ".join(str(graph[row]) for row in after.rows)
    why = (f"to {names}; only the server knows what is pending",)
    return (Step(alembic.address(tree), Action.MIGRATE, UNKNOWN, after, (), why=why),)


def _ahead(tree: Migrations, graph: Graph, undo: tuple[str, ...]) -> RefusedError:
    count = "a revision" if len(undo) == 1 else f"{len(undo)} revisions"
    return RefusedError(
        f"the database is ahead of `target: {tree.target}` by {count}, and undoing them can destroy data",
        evidence=some([str(graph[each]) for each in undo], _SHOWN),
        next_step="write `target: head`, or, to undo them: " + command("apply --allow-downgrade"),
    )
