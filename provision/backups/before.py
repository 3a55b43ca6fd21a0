"""Backups that are made before something else, where the spec asks for them: ``backup: {before: […]}``.

They are steps of the same plan, right before the first step that can lose data of their database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from provision.alembic import Tree, applied_rows, destroying, of_plan
from provision.backups import kept
from provision.backups.kept import Backup
from provision.backups.making import KIND, make_steps
from provision.errors import ProvisionError, RefusedError, command
from provision.kinds import database as databases, migrations
from provision.model import Endpoint, Outcome, Plan, Step
from provision.model.effects import Migrate, MigrateTenants
from provision.model.value import replace
from provision.model.words import shown
from provision.observe import Survey
from provision.observe.outside import World
from provision.snapshots.kept import ask
from provision.snapshots.steps import declared
from provision.spec.model import Spec
from provision.system import no_commands

DOWNGRADE, DESTRUCTIVE, UPGRADE = "downgrade", "destructive", "upgrade"


def added(seen: Survey, outcomes: Sequence[Outcome] = ()) -> Survey:
    """Return a survey whose plan makes backups first; those of ``outcomes`` were made in this run already.

    Raises:
        RefusedError: there is no room for them, or there are no client programs.
    """
    done = {each.step.address.name for each in outcomes if each.step.address.kind == KIND and each.error is None}
    at = seen.endpoint
    if at is None or seen.plan.is_empty or no_commands.is_on():
        return seen
    return replace(seen, plan=_with_backups(seen.world, seen.plan, at, seen.status.revisions, done))


def of_move(world: World, plan: Plan, tree: str, rows: Sequence[str]) -> Plan:
    """Return the plan of a move of one tree, at some ``rows``, with a backup before it; errors as in :func:`added`."""
    return _with_backups(world, plan, world.endpoint(), {tree: rows}, frozenset())


def of_upgrade(world: World, major: int) -> tuple[Step, ...]:
    """Return the steps that back up the data of a ``major`` version before its upgrade; errors as in :func:`added`."""
    return _of_all(world, UPGRADE, f"the upgrade to PostgreSQL {world.spec.server.major}", major)


def _of_all(world: World, reason: str, why: str, major: int | None = None) -> tuple[Step, ...]:
    names = [each for each in declared(world.spec) if _asks(world.spec, each, reason)]
    if not (names and (sizes := _sizes(at := world.endpoint(), names))):
        return ()
    rows = {
        tree.name: applied_rows(Tree(world.spec, tree, world.trees[tree.name], world.trees.location(tree.name)), at)
        for tree in world.spec.migrations
        if world.spec.database_of(tree) in sizes and tree.tenants is None
    }
    return make_steps(world, sizes, rows, why=why, major=major)


def of_destruction(world: World) -> tuple[Step, ...]:
    """Return the steps that back up what is about to be destroyed, as far as its server runs."""
    if not world.site.is_ours or world.site.endpoint(world.inputs.password) is None:
        return ()
    return _of_all(world, DESTRUCTIVE, "the data is destroyed")


def left_out(world: World) -> tuple[str, ...]:
    """Say that :func:`of_destruction` cannot make the backups that the spec asks for."""
    asked = [each for each in declared(world.spec) if _asks(world.spec, each, DESTRUCTIVE)]
    if not asked or not world.site.is_ours or world.site.endpoint(world.inputs.password) is not None:
        return ()
    return (f"no backup of {' and '.join(asked)} is made first, because no server runs",)


def _asks(spec: Spec, database: str, reason: str) -> bool:
    found = spec.backup_of(database)
    return found is not None and reason in found.before


def _sizes(at: Endpoint, names: Sequence[str]) -> dict[str, int]:
    found = ask(at, names).databases if names else {}
    return {each: found[each].size for each in names if each in found}


def _with_backups(
    world: World, plan: Plan, at: Endpoint, revisions: Mapping[str, Sequence[str]], done: frozenset[str] | set[str]
) -> Plan:
    needed = {name: found for name, found in _needed(world, plan, at).items() if name not in done}
    sizes = _sizes(at, list(needed))
    steps = list(plan.steps)
    for name, (first, why) in needed.items():
        if name in sizes:
            made = make_steps(world, {name: sizes[name]}, revisions, why=why)
            steps[steps.index(first) : steps.index(first)] = made
    return replace(plan, steps=tuple(steps))


def _needed(world: World, plan: Plan, at: Endpoint) -> dict[str, tuple[Step, str]]:
    """Return the databases to back up: before which step, and why."""
    spec = world.spec
    found: dict[str, tuple[Step, str]] = {}
    for step in plan.steps:
        if step.address.kind == migrations.KIND:
            reasons = _of_migration(world, step, at)
        else:
            reasons = dict.fromkeys(_of_removal(spec, step), f"{step.action} {step.address}")
        for name, why in reasons.items():
            found.setdefault(name, (step, why))
    return found


def _of_migration(world: World, step: Step, at: Endpoint) -> dict[str, str]:
    found = _reasons(world, step, at)
    tree = next(each for each in world.spec.migrations if each.name == step.address.name)
    if found and tree.tenants is not None and tree.tenants.kind == "databases":
        raise RefusedError(
            "no backup is made of the databases of tenants, and the spec asks for one",
            evidence=[f"migrations/{tree.name}: {why}" for why in found.values()],
            next_step="back them up by yourself, then: " + command("apply", "--set backup=null"),
        )
    return found


def _reasons(world: World, step: Step, at: Endpoint) -> dict[str, str]:
    spec = world.spec
    tree = next(each for each in spec.migrations if each.name == step.address.name)
    database = spec.database_of(tree)
    moves = [each for each in step.effects if isinstance(each, Migrate)]
    for effect in step.effects:
        if isinstance(effect, MigrateTenants):
            moves += dict.fromkeys(move for _, move in effect.behind)
    down = [each for each in moves if each.direction == "downgrade"]
    if down and (_asks(spec, database, DOWNGRADE) or _asks(spec, database, DESTRUCTIVE)):
        names = " ".join([name for each in down for name, _ in each.revisions])
        return {database: f"a downgrade: undo {names}"}
    if any(each.direction == "upgrade" for each in moves) and _asks(spec, database, DESTRUCTIVE):
        scripts = of_plan(spec, world.trees, Plan((step,)), at, is_fresh=False)
        if (first := next(iter(destroying(scripts)), None)) is not None:
            return {database: f"{first.revision}, which destroys data"}
    return {}


def _of_removal(spec: Spec, step: Step) -> list[str]:
    """Return the databases in which a step removes something with its data."""
    if not step.destroys:
        return []
    if step.address.kind == databases.KIND:
        names = [step.address.name]
    else:
        names = [each for one in step.effects if (each := getattr(one, "database", None)) in declared(spec)]
    return [each for each in dict.fromkeys(names) if _asks(spec, each, DESTRUCTIVE)]


@contextmanager
def explained(spec: Spec) -> Iterator[None]:
    """Say in an error within the block which backups were made in it, and how to go back to them."""
    before = {each.path for each in kept.listing(spec)}
    try:
        yield
    except ProvisionError as error:
        for each in kept.listing(spec):
            if each.path not in before:
                error.evidence = (*error.evidence, note(each), "to go back: " + going_back(each))
        raise


def note(backup: Backup) -> str:
    """Say which backup was made."""
    return f"the backup of {backup.database} before {backup.why}: {shown(backup.path)}"


def going_back(backup: Backup) -> str:
    """Return the command that restores a backup."""
    return command("backup restore", backup.path.name)
