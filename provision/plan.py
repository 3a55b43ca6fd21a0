"""(Desired, Observed) → Plan: pure, deterministic, ordered from the files outside to the revisions inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.kinds import database, file, foreign_settings, migrations, role, server, settings
from provision.model import Action, Plan, Step

if TYPE_CHECKING:
    from provision.desired import Inputs
    from provision.model import Desired, Observed
    from provision.runtimes import Site
    from provision.spec.model import Spec


def plan(spec: Spec, inputs: Inputs, site: Site, desired: Desired, observed: Observed) -> Plan:
    """Return the steps from what is observed to what is desired.

    Raises:
        RefusedError: a step would cost data, or disturb what is not ours.
    """
    outside = site.plan()
    starting = any(
        step.address.kind in ("container", "process") and step.action is not Action.UPDATE for step in outside
    )
    ground = site.ground(starting=starting)
    steps: list[Step] = []
    notes: list[str] = []
    trees = {migrations.address(tree): tree for tree in spec.migrations}
    addresses = {*desired, *observed, *trees}

    def named(kind: str) -> list[tuple]:  # type: ignore[type-arg]  # (address, before, after)
        return [(a, observed.get(a), desired.get(a)) for a in sorted(addresses) if a.kind == kind]

    for address, before, after in named(file.KIND):
        steps += file.plan(address, before, after)
    steps += outside
    for address, before, after in named(server.KIND):
        steps += server.plan(address, before, after, starting=starting, timeout=spec.server.ready_timeout)
    for address, before, after in named(role.KIND):
        steps += role.plan(address, before, after, password=inputs.password, ground=ground)
    for address, before, after in named(settings.KIND):
        steps += settings.plan(address, before, after, config_file=site.config_file, ground=ground)
        altering = spec.server.settings_via == "alter_system"
        steps += foreign_settings.plan(address, before, after, altering=altering, major=spec.server.major)
        notes += foreign_settings.notes(before, after, altering=altering)
    for address, before, after in named(database.KIND):
        steps += database.plan(address, before, after)
    for address, before, after in named(migrations.KIND):
        if address in trees:
            steps += migrations.plan(trees[address], inputs.graphs[trees[address].name], before, after)
    return Plan(tuple(steps), tuple(notes))
