"""(Desired, Observed) → Plan: pure, deterministic, ordered from the files outside to the revisions inside."""

from __future__ import annotations

from collections.abc import Sequence

from provision.errors import NotConvergedError, command
from provision.kinds import Inputs, Kind, Scene, table
from provision.model import UNKNOWN, Action, Desired, Observed, Plan, Stage, Step, Wishes, starts_server
from provision.model.value import replace
from provision.runtimes import Site
from provision.spec.model import Spec

_DISRUPTIVE = (Action.RESTART, Action.RECREATE)
_BY_SYSTEM = "by ALTER SYSTEM"
_OF_ACCESS = "roles, databases and privileges"


def plan(
    spec: Spec,
    inputs: Inputs,
    site: Site,
    desired: Desired,
    observed: Observed,
    *,
    wishes: Wishes | None = None,
    clients: int = 0,
) -> Plan:
    """Return the steps from what is observed to what is desired; ``clients`` is how many are connected.

    Raises:
        RefusedError: a step would cost data, or disturb what is not ours.
    """
    wishes = wishes or Wishes()
    outside = site.plan()
    held = [step for step in outside if step.action in _DISRUPTIVE]
    if not wishes.no_restart or site.status.server != "running":
        held = []
    elif held:
        outside = ()
    scene = Scene(spec, inputs, site.ground(starting=starts_server(outside)), wishes)
    plans = (
        *_of(table.BEFORE, desired, observed, scene),
        Plan(outside, notes=tuple(map(_waiting, held)), remarks=site.remarks),
        _staged(_of(table.inside(spec, inputs.runtime), desired, observed, scene)),
    )
    joined = _with_unseen(Plan.joined(plans), desired, observed)
    if spec.seeds:
        from provision.kinds import seed

        joined = seed.settled(joined, inputs.runtime, wishes)
    if table.has_preflight(spec, inputs.runtime):
        from provision.kinds import preflight

        joined = preflight.permitted(joined, observed, scene)
    return replace(joined, steps=tuple(_with_clients(step, clients) for step in joined.steps))


def _with_unseen(joined: Plan, desired: Desired, observed: Observed) -> Plan:
    """Show as one thing that may differ which roles and what of access cannot be seen while the server does not answer.

    Each may be as declared, so none is said to be made; a database that is to be made is another matter.
    """
    unseen = [at for at in desired if at.kind in table.ACCESS and observed.get(at) is UNKNOWN]
    if not {at.kind for at in unseen} & table.SHARED:
        return joined
    known = [step for step in joined.steps if step.address.kind not in table.ACCESS]
    later = [Step(at, Action.UPDATE, UNKNOWN, desired[at], (), title=_OF_ACCESS) for at in unseen]
    first = next((number for number, step in enumerate(known) if step.address.kind == "migrations"), len(known))
    return replace(joined, steps=(*known[:first], *later, *known[first:]))


def _staged(plans: Sequence[Plan]) -> Plan:
    """Return the plan of all kinds inside: their order counts within a stage, and backwards where objects go away."""
    joined = Plan.joined(plans)
    dropping = [step for step in joined.steps if step.stage is Stage.DROP]
    others = sorted([step for step in joined.steps if step.stage is not Stage.DROP], key=lambda step: step.stage)
    return replace(joined, steps=(*others, *reversed(dropping)))


def _of(kinds: Sequence[Kind], desired: Desired, observed: Observed, scene: Scene) -> list[Plan]:
    """Return the plans of all addresses of some kinds: what is declared in its order, then what is only there."""
    addresses = dict.fromkeys((*desired, *observed))
    return [
        kind.steps(address, observed.get(address), desired.get(address), scene)
        for kind in kinds
        for address in addresses
        if address.kind == kind.KIND
    ]


def _waiting(step: Step) -> str:
    why = "; ".join(str(each) for each in step.why)
    return f"{step.action} {step.address} waits ({why}): not done with --no-restart"


def _with_clients(step: Step, clients: int) -> Step:
    """Say in a step that drops connections how many clients are connected."""
    if not clients or step.action not in _DISRUPTIVE:
        return step
    words = "a client is connected" if clients == 1 else f"{clients} clients are connected"
    return replace(step, clients=clients, consequence=f"{step.consequence or 'connections are dropped'}; {words} now")


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
