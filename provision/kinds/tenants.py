"""A tree with tenants: where they are, in groups, and the one step that migrates those that are behind.

Each of them is judged as the only database of a tree is. What must not be guessed of one stops the plan, with its name:
``--except`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from provision.alembic import Graph, Revisions, address, edit_remarks, unread_directories
from provision.errors import NotRunError, ProvisionError, RefusedError, UnknownRevisionError, command
from provision.kinds import Before, Look, Scene
from provision.kinds.tenant_states import Spread, Standing, UndefinedError, counted, groups, position
from provision.model import UNKNOWN, Action, Address, Plan, State, Step, Unknown
from provision.model.effects import Migrate, MigrateTenants
from provision.model.tenants import Tenants
from provision.model.words import count, shown, some, some_of
from provision.spec.model import Migrations, Spec

Judge = Callable[[Migrations, Graph, Revisions, Revisions], tuple[Step, ...]]
"""What plans the migration of one database."""

_SHOWN = 10
_REVISIONS = 3
_MOST_NAMED = 3


def wanted(tree: Migrations, rows: tuple[str, ...]) -> Spread:
    """Return the target, which all tenants shall be at."""
    assert tree.tenants is not None  # noqa: S101  # who calls this has asked
    return Spread((position(rows),), tree.tenants.kind, target=rows)


def seen(look: Look, tree: Migrations, *, is_there: bool | None, is_pending: Callable[[], bool]) -> State | Unknown:
    """Return where the tenants are; UNKNOWN while what the query asks, or its database, is still to be made.

    ``is_there`` is whether the database of the tree is, ``is_pending`` whether earlier migrations of it are pending.

    Raises:
        MigrationsError: the query is wrong.
        UnavailableError: the server cannot be reached.
    """
    assert tree.tenants is not None  # noqa: S101  # who calls this has asked
    if look.tenants is None or not (is_there or (tree.tenants.names and tree.tenants.kind == "databases")):
        return UNKNOWN
    try:
        return look.tenants(look, tree)
    except UndefinedError:
        if is_pending():
            return UNKNOWN
        raise
    except NotRunError:
        raise
    except ProvisionError:
        if tree.login and _changes(look, tree.login):
            return UNKNOWN
        raise


def _changes(look: Look, name: str) -> bool:
    """Tell whether an apply makes the login of the migrations, or sets its password."""
    from provision.kinds import role

    at = Address(role.KIND, name)
    return role.seen(look).get(at) != look.wanted.get(at)


def steps(tree: Migrations, graph: Graph, before: Before, after: State | None, scene: Scene, judge: Judge) -> Plan:
    """Return the step that migrates the tenants which are behind, and what is to be said of the others.

    Raises:
        RefusedError: a tenant does not exist, or is somewhere that no upgrade of this tree leads from.
    """
    assert isinstance(after, Spread)  # noqa: S101  # its kind made it
    tenants = tree.tenants
    assert tenants is not None  # noqa: S101
    notes = unread_directories(tree, graph)
    if not isinstance(before, Spread):
        names = ", ".join(str(graph[row]) for row in after.target) or "base"
        why = (f"to {names}; only the server knows which {after.kind} are behind",)
        return Plan((Step(address(tree), Action.MIGRATE, UNKNOWN, after, (), why=why),), remarks=notes)
    _refuse_absent(tree, tenants, before, scene.spec)
    states = {name: before.states.get(name, Revisions(())) for name in before.names}
    moves = _moves(tree, graph, states, Revisions(after.target), judge)
    remarks = (*_of_names(tree, tenants, before), *_edits(states), *notes)
    if not moves:
        return Plan(remarks=remarks)
    return Plan((_step(tree, graph, before, after, states, moves),), remarks=remarks)


def _step(
    tree: Migrations,
    graph: Graph,
    before: Spread,
    after: Spread,
    states: Mapping[str, Revisions],
    moves: Mapping[str, Step],
) -> Step:
    """Return the one step of a tree: what has to be undone anywhere comes before what runs."""
    by_direction: dict[str, list[tuple[str, Migrate]]] = {"downgrade": [], "upgrade": []}
    for name, step in moves.items():
        for effect in step.effects:
            if isinstance(effect, Migrate):
                by_direction[effect.direction].append((name, effect))
    effects = [MigrateTenants(tree.name, tuple(each)) for each in by_direction.values() if each]
    text = next((each.consequence for each in moves.values() if each.consequence), "")
    why = tuple(_why(graph, after, states, moves))
    destroys = any(each.destroys for each in moves.values())
    return Step(address(tree), Action.MIGRATE, before, after, tuple(effects), why, text, destroys=destroys)


def _why(graph: Graph, after: Spread, states: Mapping[str, Revisions], moves: Mapping[str, Step]) -> Iterator[str]:
    """Yield a line for each group: those that stay, then where the others are, and what runs there."""
    for group in groups({name: each for name, each in states.items() if name not in moves}):
        at = "head" if group.rows == graph.version_rows(graph.heads) else group.at
        yield Standing(f"{counted(len(group.tenants), after.kind)} at {at}")
    for group in groups({name: each for name, each in states.items() if name in moves}):
        ways: dict[tuple[str, ...], list[str]] = {}
        for name in group.tenants:
            ways.setdefault(tuple([" ".join(str(each).split()) for each in moves[name].why]), []).append(name)
        for way, names in ways.items():
            yield f"{counted(len(names), after.kind)} from {group.at} ({some_of(names)}): {_way(way)}"


def _way(way: tuple[str, ...]) -> str:
    """Return the revisions that run in a group: the first and the last of many."""
    if len(way) <= _REVISIONS:
        return "; ".join(way)
    return f"{count(len(way), 'revision')}, {way[0]} … {way[-1]}"


def _moves(
    tree: Migrations, graph: Graph, states: Mapping[str, Revisions], target: Revisions, judge: Judge
) -> dict[str, Step]:
    """Return the step of each tenant that is not at its target.

    Raises:
        RefusedError: what it is at is refused, with the names of all of which it is.
    """
    judged: dict[object, Step | RefusedError | None] = {}
    found: dict[str, Step] = {}
    refused: dict[str, tuple[RefusedError, list[str]]] = {}
    for name, state in states.items():
        key = (state.rows, state.stranded, state.holder, state.hidden, state.width, state.others)
        if key not in judged:
            try:
                judged[key] = next(iter(judge(tree.for_tenant(name), graph, state, target)), None)
            except RefusedError as error:
                judged[key] = error
        outcome = judged[key]
        if isinstance(outcome, RefusedError):
            refused.setdefault(outcome.sentence, (outcome, []))[1].append(name)
        elif outcome is not None:
            found[name] = outcome
    if refused:
        first, names = next(iter(refused.values()))
        others = sum(len(each) for _, each in refused.values()) - len(names)
        raise _named(tree, first, names, len(states), others)
    return found


def _named(tree: Migrations, error: RefusedError, names: list[str], total: int, others: int) -> RefusedError:
    """Say in a refusal which tenants it is about."""
    assert tree.tenants is not None  # noqa: S101
    one = tree.tenants.one
    error.sentence = f"{len(names)} of {counted(total, tree.tenants.kind)}: {error.sentence}"
    more = [f"{counted(others, tree.tenants.kind)} for another reason"] if others else []
    error.evidence = (*some([f"{one} {each}" for each in names], _SHOWN), *error.evidence, *more)
    without = command("apply", _without(names)) + f"   (leaves {'them' if names[1:] else 'it'} out)"
    if len(names) <= _MOST_NAMED and isinstance(error, UnknownRevisionError):
        error.way = error.way or without
        error.lead("switch to the branch that has it")
    elif len(names) <= _MOST_NAMED and error.next_step is not None:
        error.next_step = error.next_step + "; or: " + without
    return error


def _without(names: list[str] | tuple[str, ...]) -> str:
    import shlex

    return " ".join(f"--except {shlex.quote(each)}" for each in names)


def _refuse_absent(tree: Migrations, tenants: Tenants, found: Spread, spec: Spec) -> None:
    """Refuse tenants that do not exist, and that this run does not make, and those that cannot be entered."""
    kind, place = tenants.kind, shown(Path(tenants.place))
    absent = [each for each in found.absent if not _is_made(tree, kind, each, spec)]
    if absent:
        where = "`databases`" if kind == "databases" else f"`databases: {spec.database_of(tree)}: schemas`"
        what = "does not exist" if not absent[1:] else "do not exist"
        raise RefusedError(
            f"{counted(len(absent), kind)} of the tenants {what}",
            evidence=[*some([f"{tenants.one} {each}" for each in absent], _SHOWN), f"they are named in {place}"],
            next_step=f"declare them below {where}, create them, or take them out"
            + ("; or: " + command("apply", _without(absent)) if len(absent) <= _MOST_NAMED else ""),
        )
    if found.closed:
        lines = [f"{tenants.one} {name}: {why}" for name, why in found.closed.items()]
        raise RefusedError(
            f"{counted(len(lines), kind)} of the tenants cannot be entered",
            evidence=some(lines, _SHOWN),
            next_step="let the migrations' login in, or: " + command("apply", _without(tuple(found.closed)[:1])),
        )


def _is_made(tree: Migrations, kind: str, name: str, spec: Spec) -> bool:
    """Tell whether an apply makes a tenant, before it comes to the migrations."""
    if kind == "databases":
        return name == spec.server.database or any(
            each.name == name and not each.is_absent for each in spec.databases.values()
        )
    database = spec.databases.get(spec.database_of(tree))
    return database is not None and any(each.name == name and not each.is_absent for each in database.schemas.values())


def _of_names(tree: Migrations, tenants: Tenants, found: Spread) -> Iterator[str]:
    """Yield what is probably not meant about the names."""
    at, place = address(tree), shown(Path(tenants.place))
    if not found.names and not found.left_out:
        yield f"{at}: the query in {place} returns no {tenants.one}, so nothing is migrated"
    elif found.left_out:
        yield f"{at}: {counted(found.left_out, tenants.kind)} left out"
    missing = [each for each in tenants.first if each not in found.names]
    if missing and not found.left_out:
        yield f"{at}: `first` names {some_of(missing)}, which the query does not return"


def _edits(states: Mapping[str, Revisions]) -> Iterator[str]:
    """Yield each revision that was edited after it was applied to some, once."""
    edits = {each.revision.id: each for state in states.values() if state.known for each in state.known.edits}
    yield from edit_remarks(tuple(edits.values()))
