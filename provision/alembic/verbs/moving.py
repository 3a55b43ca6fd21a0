"""``upgrade``, ``downgrade`` and ``stamp``: decided here, and carried out as in an apply, under both locks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.alembic.tree.targets import move_down, move_up, resolve, rows_after_stamp
from provision.alembic.verbs.scratch import asking, refuse_foreign, running
from provision.apply import carry
from provision.errors import MigrationsError, NextStep, RefusedError, command
from provision.kinds import migrations as kind
from provision.model import Action, Plan, Step
from provision.model.effects import Migrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from provision.alembic.running.migrate import Migrated
    from provision.alembic.trees import Tree
    from provision.model import Progress, Query


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a move: the rows before and after, the revisions that ran with their seconds, and all seconds."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    revisions: tuple[tuple[str, float], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Decided:
    """A move that was decided and not made: where the database is, and the plan of one step, or of none."""

    tree: Tree
    rows: tuple[str, ...]
    plan: Plan


def upgrade(tree: Tree, target: str) -> Decided:
    """Decide what an upgrade to ``target`` runs.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: the target is not one of this tree's.
        RefusedError: the database is somewhere that no upgrade of this tree leads from.
    """
    _refuse_program(tree, "upgrade", target)
    with _database(tree) as query:
        before = kind.observed(tree.declared, tree.graph, query)
        refuse_foreign(tree, before.rows)
        move = move_up(tree.graph, before.rows, target)
        if move.names and before.stranded:
            raise kind.stranded(tree.declared, tree.graph, before.stranded)
    files = tuple([(name, tree.graph[name].path) for name in move.names])
    is_partial = bool(kind.partial(tree.declared, tree.graph, before))
    effect = Migrate(tree.name, move.rows, "upgrade", files, everywhere=is_partial)
    why = tuple([str(tree.graph[name]) for name in move.names]) or ("only env.py shows which version tables it keeps",)
    return Decided(tree, before.rows, _plan(tree, before.rows, effect, why) if move.names or is_partial else Plan(()))


def downgrade(tree: Tree, target: str) -> Decided:
    """Decide what a downgrade to ``target`` undoes.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: the target is not applied.
        RefusedError: the database is somewhere that no downgrade of this tree leads from.
    """
    _refuse_program(tree, "downgrade")
    with _database(tree) as query:
        rows = kind.observed(tree.declared, tree.graph, query).rows
    refuse_foreign(tree, rows)
    move = move_down(tree.graph, rows, target)
    files = tuple([(name, tree.graph[name].path) for name in move.names])
    effect = Migrate(tree.name, move.rows, "downgrade", files, seen=rows)
    why = tuple([f"undo {tree.graph[name]}" for name in move.names])
    return Decided(tree, rows, _plan(tree, rows, effect, why) if move.names else Plan(()))


def stamp(tree: Tree, targets: Sequence[str], *, purge: bool) -> Decided:
    """Decide which rows the version table shall hold.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: a target, or a row that is not purged, is not one of this tree's.
    """
    _refuse_program(tree, "stamp")
    with _database(tree) as query:
        rows = kind.observed(tree.declared, tree.graph, query).rows
    after = rows_after_stamp(tree.graph, rows, targets, purge=purge)
    effect = Migrate(tree.name, after, "stamp", seen=rows)
    plan = _plan(tree, rows, effect, ("no revision is run",)) if after != rows else Plan(())
    return Decided(tree, rows, plan)


def move(decided: Decided, *, progress: Progress) -> Moved:
    """Make a move that was decided.

    Raises:
        LockedError: another run holds the environment, or another migration the database.
        ProvisionError: it failed, or somebody else has migrated meanwhile.
    """
    began = time.monotonic()
    done: Migrated | None = None
    if not decided.plan.is_empty:
        done = carry(decided.tree.spec, decided.plan, progress=progress)
    if done is None:
        return Moved(decided.rows, decided.rows, (), time.monotonic() - began)
    return Moved(done.before, done.after, done.revisions, time.monotonic() - began)


def next_apply(tree: Tree, rows: tuple[str, ...]) -> str | None:
    """Return what the next apply does about it, where a move has led away from the spec's target.

    A target that an apply refuses, because it is ambiguous, takes nothing back of a move that was made: it is a remark.
    """
    try:
        wanted = tree.graph.version_rows(resolve(tree.graph, tree.declared.target))
    except MigrationsError as error:
        return f"note: {error.sentence}; before the next apply, " + (error.next_step or NextStep())
    if wanted == tuple(sorted(rows)):
        return None
    return f"the spec says `target: {tree.declared.target}`: the next apply goes to {' + '.join(wanted) or 'base'}"


def _database(tree: Tree) -> AbstractContextManager[Query]:
    _, endpoint = running(tree)
    return asking(endpoint)


def _plan(tree: Tree, rows: tuple[str, ...], effect: Migrate, why: tuple[str, ...]) -> Plan:
    undoes = effect.direction == "downgrade"
    step = Step(
        kind.address(tree.declared),
        Action.MIGRATE,
        kind.Revisions(rows),
        kind.Revisions(effect.target),
        (effect,),
        why=why,
        consequence="what these revisions added, and the data in it, goes away" if undoes else "",
        destroys=undoes,
    )
    return Plan((step,))


def _refuse_program(tree: Tree, verb: str, target: str | None = None) -> None:
    """Refuse what a tree cannot do that only its own program can run."""
    program = tree.declared.command
    if not program or (target and (target == tree.declared.target or any("{target}" in each for each in program))):
        return
    raise RefusedError(
        f"{tree.name} is migrated by its own program, {program[0]}, which cannot be told to {verb}",
        evidence=(
            "what works with `migrations.command`: current, history, heads, upgrade to the spec's target",
            "with an argument `{target}`, upgrade to any revision",
        ),
        next_step=command("apply"),
    )
