"""A plan that makes new data → the same plan from a golden: what the golden has is left out of it.

What the data then lacks is seen by the next look, and planned like any other difference.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provision.golden import inputs, load, recorded
from provision.golden.key import choose
from provision.kinds import migrations, server, settings, table
from provision.model import Begun
from provision.model.effects import Migrate
from provision.model.value import replace
from provision.system.variables import environ

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from provision.golden.key import Fit, Golden
    from provision.model import Step
    from provision.observe import Survey

VARIABLE = "PROVISION_GOLDEN"
OFF = ("off", "0", "false", "no")


def offered(survey: Survey) -> Survey:
    """Return a survey whose plan begins with the golden that fits best, if the data is new and one fits."""
    world = survey.world
    goldens = load(survey.runtime)
    if goldens is None or survey.plan.is_empty or not world.site.is_fresh or not _is_wanted(survey):
        return survey
    wanted = inputs.gather(world)
    if isinstance(wanted, str):
        return replace(survey, begun=Begun(rejected=(f"no golden is looked for: {wanted}",)))
    rejected: list[str] = []

    def reject(golden: Golden, why: str) -> None:
        rejected.append(f"golden {golden.short}… does not fit: {why}")

    fit = choose(wanted, goldens.store(world).candidates(), partial(recorded.changed, survey.spec), reject)
    if fit is None:
        return replace(survey, begun=Begun(rejected=tuple(rejected)))
    steps = goldens.using(world, fit.golden, tuple(_rest(survey, fit)))
    rows = {tree.name: tree.rows for tree in fit.golden.inputs.trees}
    begun = Begun(fit.golden.key, fit.golden.level, rows, str(fit), tuple(rejected))
    return replace(survey, plan=replace(survey.plan, steps=steps), begun=begun)


def _is_wanted(survey: Survey) -> bool:
    is_off = survey.spec.server.golden == "off" or survey.wishes.no_golden
    return not is_off and environ().get(VARIABLE, "").lower() not in OFF


def _rest(survey: Survey, fit: Fit) -> Iterator[Step]:
    """Yield the steps of a plan without those that a golden of level 1 makes unnecessary."""
    if fit.golden.level == 0:
        yield from survey.plan.steps
        return
    has = {each.KIND for each in table.inside(survey.spec, survey.runtime)} - {server.KIND, settings.KIND}
    applied = {tree.name: tree.applied for tree in fit.golden.inputs.trees}
    for step in survey.plan.steps:
        if step.address.kind not in has:
            yield step
        elif step.address.kind == migrations.KIND and step.address.name in fit.rest:
            yield _shortened(step, applied.get(step.address.name, {}))


def _shortened(step: Step, applied: Container[str]) -> Step:
    """Return a migration without the revisions that are applied already."""
    effects = [each for each in step.effects if isinstance(each, Migrate)]
    run = [each for effect in effects for each in effect.revisions]
    left = [(each, text) for each, text in zip(run, step.why, strict=False) if each[0] not in applied]
    files = {each for each, _ in left}
    short = [replace(each, revisions=tuple([one for one in each.revisions if one in files])) for each in effects]
    return replace(step, effects=tuple(short), why=tuple([text for _, text in left]))
