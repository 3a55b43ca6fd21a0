"""Decides what ``upgrade``, ``downgrade`` and ``stamp`` do: a plan of one step, or of none, for an apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from provision.alembic.state import Revisions, address, partial, stranded
from provision.alembic.tree.targets import move_down, move_up, resolve, rows_after_stamp
from provision.alembic.trees import Tree
from provision.alembic.verbs.database import look, refuse_rows
from provision.errors import MigrationsError, NextStep, RefusedError, command
from provision.model import Action, Endpoint, Plan, Step
from provision.model.effects import Migrate
from provision.model.value import dataclass

Server = Callable[[], Endpoint]
"""Where the server is reached; an error where it does not run."""


@dataclass(frozen=True)
class Decided:
    """A move that was decided and not made: where the database is, and the plan of one step, or of none."""

    tree: Tree
    rows: tuple[str, ...]
    plan: Plan


def upgrade(tree: Tree, server: Server, target: str) -> Decided:
    """Decide what an upgrade to ``target`` runs.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: the target is not one of this tree's.
        RefusedError: the database is somewhere that no upgrade of this tree leads from.
    """
    _refuse_program(tree, "upgrade", target)
    before = look(tree, server())
    refuse_rows(tree, before.rows)
    move = move_up(tree.graph, before.rows, target)
    if move.names and before.stranded:
        raise stranded(tree.declared, tree.graph, before.stranded)
    is_partial = bool(partial(tree.declared, tree.graph, before))
    if not move.names and not is_partial:
        return Decided(tree, before.rows, Plan(()))
    effect = Migrate(tree.name, move.rows, "upgrade", _files(tree, move.names), everywhere=is_partial)
    why = [str(tree.graph[name]) for name in move.names] or ["only env.py shows which version tables it keeps"]
    return _decided(tree, before.rows, effect, why)


def downgrade(tree: Tree, server: Server, target: str) -> Decided:
    """Decide what a downgrade to ``target`` undoes.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: the target is not applied.
        RefusedError: the database is somewhere that no downgrade of this tree leads from.
    """
    _refuse_program(tree, "downgrade")
    rows = look(tree, server()).rows
    refuse_rows(tree, rows)
    move = move_down(tree.graph, rows, target)
    if not move.names:
        return Decided(tree, rows, Plan(()))
    effect = Migrate(tree.name, move.rows, "downgrade", _files(tree, move.names), seen=rows)
    return _decided(tree, rows, effect, [f"undo {tree.graph[name]}" for name in move.names])


def stamp(tree: Tree, server: Server, targets: Sequence[str], *, purge: bool) -> Decided:
    """Decide which rows the version table is to hold.

    Raises:
        UnavailableError: the server does not run.
        MigrationsError: a target, or a row that is not purged, is not one of this tree's.
    """
    _refuse_program(tree, "stamp")
    rows = look(tree, server()).rows
    after = rows_after_stamp(tree.graph, rows, targets, purge=purge)
    if after == rows:
        return Decided(tree, rows, Plan(()))
    return _decided(tree, rows, Migrate(tree.name, after, "stamp", seen=rows), ["no revision is run"])


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


def _files(tree: Tree, names: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    return tuple([(name, tree.graph[name].path) for name in names])


def _decided(tree: Tree, rows: tuple[str, ...], effect: Migrate, why: list[str]) -> Decided:
    undoes = effect.direction == "downgrade"
    step = Step(
        address(tree.declared),
        Action.MIGRATE,
        Revisions(rows),
        Revisions(effect.target),
        (effect,),
        why=tuple(why),
        consequence="what these revisions added, and the data in it, goes away" if undoes else "",
        destroys=undoes,
    )
    return Decided(tree, rows, Plan((step,)))


def _refuse_program(tree: Tree, verb: str, target: str | None = None) -> None:
    """Refuse what a tree cannot do that only its own program can run."""
    program = tree.declared.command
    if not program or (target and (target == tree.declared.target or any("{target}" in each for each in program))):
        return
    raise RefusedError(
        f"{tree.name} is migrated by its own program, {program[0]}, which cannot {verb}",
        evidence=(
            "what works with `migrations.command`: current, history, heads, upgrade to the spec's target",
            "with an argument `{target}`, upgrade to any revision",
        ),
        next_step=command("apply"),
    )
