"""(Desired, Observed) → Plan: pure, deterministic, ordered from the files outside to the revisions inside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provision.errors import NotConvergedError, command
from provision.kinds import collation, database, file, foreign_settings, login, migrations, server, settings
from provision.model import Action, Plan, Step, Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.desired import Inputs
    from provision.model import Desired, Observed, State, Unknown
    from provision.runtimes import Site
    from provision.spec.model import Spec

_DISRUPTIVE = (Action.RESTART, Action.RECREATE)


def plan(
    spec: Spec, inputs: Inputs, site: Site, desired: Desired, observed: Observed, *, wishes: Wishes | None = None
) -> Plan:
    """Return the steps from what is observed to what is desired.

    Raises:
        RefusedError: a step would cost data, or disturb what is not ours.
    """
    wishes = wishes or Wishes()
    outside = site.plan()
    held: tuple[Step, ...] = ()
    if wishes.no_restart and site.status.server == "running" and any(each.action in _DISRUPTIVE for each in outside):
        outside, held = (), outside
    starting = any(
        step.address.kind in ("container", "process") and step.action is not Action.UPDATE for step in outside
    )
    ground = site.ground(starting=starting)
    steps: list[Step] = []
    addresses = {*desired, *observed}

    def named(kind: str) -> list[tuple]:  # type: ignore[type-arg]  # (address, before, after)
        return [(a, observed.get(a), desired.get(a)) for a in sorted(addresses) if a.kind == kind]

    for address, before, after in named(file.KIND):
        steps += file.plan(address, before, after)
    # First, while the server runs as it is: a container that is made anew knows the old name of its superuser no more.
    for address, before, after in named(login.KIND):
        steps += login.plan(address, before, after, password=inputs.password, ground=ground)
    steps += outside
    for address, before, after in named(server.KIND):
        steps += server.plan(address, before, after, starting=starting, timeout=spec.server.ready_timeout)
    major, found = spec.server.major, settings.Told()
    for address, before, after in named(settings.KIND):
        config = site.config_file
        steps += settings.plan(address, before, after, config_file=config, ground=ground, major=major, wishes=wishes)
        altering = spec.server.settings_via == "alter_system"
        steps += foreign_settings.plan(address, before, after, altering=altering, major=major)
        found = _told(spec, site, before, after, wishes) if after is not None else found
    for address, before, after in named(database.KIND):
        steps += database.plan(address, before, after)
    trees, partial = _migrations(spec, inputs, desired, observed)
    steps += trees
    notes = (*(_waiting(each) for each in held if each.action in _DISRUPTIVE), *found.notes, *collation.notes(observed))
    remarks = (*site.remarks, *found.remarks, *migrations.remarks(observed))
    return Plan(_with_clients(steps, observed), notes, found.overrides, remarks, partial=partial)


def _migrations(
    spec: Spec, inputs: Inputs, desired: Desired, observed: Observed
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Return the steps of the trees, in the spec's order: one can need what another makes. And what is partial."""
    steps: list[Step] = []
    partial: list[str] = []
    for tree in spec.migrations:
        address, graph = migrations.address(tree), inputs.graphs[tree.name]
        before, after = observed.get(address), desired.get(address)
        found = migrations.plan(tree, graph, before, after)
        steps += found
        partial += migrations.partial(tree, graph, before) if after is not None and not found else ()
    return tuple(steps), tuple(partial)


def _told(spec: Spec, site: Site, before: State | Unknown | None, after: State | None, wishes: Wishes) -> settings.Told:
    """Return what stays as it is in the settings, whoever runs the server."""
    altering = spec.server.settings_via == "alter_system"
    if others := foreign_settings.notes(before, after, altering=altering):
        return settings.Told(notes=others)
    login = (spec.server.user, spec.server.database)
    return settings.told(
        before, after, config_file=site.config_file, major=spec.server.major, wishes=wishes, login=login
    )


def _waiting(step: Step) -> str:
    why = "; ".join(str(each) for each in step.why)
    return f"{step.action} {step.address} waits ({why}): not done with --no-restart"


def _with_clients(steps: Sequence[Step], observed: Observed) -> tuple[Step, ...]:
    """Say in steps that drop connections how many clients are connected."""
    seen = next((each for each in observed.values() if isinstance(each, server.Server)), None)
    if seen is None or not seen.clients:
        return tuple(steps)
    words = "a client is connected" if seen.clients == 1 else f"{seen.clients} clients are connected"
    return tuple(
        replace(step, clients=seen.clients, consequence=f"{step.consequence or 'connections are dropped'}; {words} now")
        if step.action in _DISRUPTIVE
        else step
        for step in steps
    )


def insist(plan: Plan) -> None:
    """Fail where everything was done, and declared settings are not in force all the same.

    Raises:
        NotConvergedError: with each of them, and where it comes from.
    """
    if not plan.overrides:
        return
    count = len(plan.overrides)
    what = "a declared setting is" if count == 1 else f"{count} declared settings are"
    by_system = any(_BY_SYSTEM in each for each in plan.overrides)
    raise NotConvergedError(
        f"{what} not in force, because another place sets it; everything else is as declared",
        evidence=plan.overrides,
        next_step=command("apply --reset-overrides")
        if by_system
        else "take it out of there, then: " + command("apply"),
    )


_BY_SYSTEM = "by ALTER SYSTEM"
