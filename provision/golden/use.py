"""A plan that makes new data → the same plan from a golden: what the golden has is left out of it.

What the data then lacks is seen by the next look, and planned like any other difference.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from functools import partial

from provision.environ import GOLDEN
from provision.golden import Goldens, inputs, load, recorded
from provision.golden.key import Fit, Golden, Inputs, choose
from provision.kinds import Scene, file, login, migrations, role, role_password, server, settings, table
from provision.model import Action, Begun, Plan, Step
from provision.model.effects import Migrate, SaveGolden
from provision.model.value import replace
from provision.model.words import count
from provision.observe import Survey
from provision.system.variables import environ

OFF = ("off", "0", "false", "no")
SEED = "seed"
"""The kind of what no golden has: it is saved before seeds run."""
_DATA = ("data", "volume", "container")
"""The kinds of the step that makes the data, which says what it is made from."""


def offered(survey: Survey) -> Survey:
    """Return a survey of new data whose plan begins with the golden that fits best, if one does."""
    goldens = load(survey.runtime)
    if goldens is None or _is_off(survey):
        return survey
    wanted = inputs.gather(survey.world)
    if isinstance(wanted, str):
        return replace(survey, begun=Begun(rejected=(f"no golden is looked for: {wanted}",)))
    rejected: list[str] = []

    def reject(golden: Golden, why: str) -> None:
        rejected.append(f"golden {golden.short}… does not fit: {why}")

    candidates = goldens.store(survey.world.look).candidates()
    fit = choose(wanted, candidates, partial(recorded.changed, survey.spec), reject)
    if fit is None:
        plain = replace(survey, begun=Begun(rejected=tuple(rejected), wanted=wanted))
        return _beginning(plain, goldens, wanted) if survey.wishes.golden else plain
    world, steps = goldens.using(survey.world, fit.golden, tuple(_rest(survey, fit)))
    rows = {tree.name: tree.rows for tree in fit.golden.inputs.trees}
    begun = Begun(fit.golden.key, fit.golden.level, rows, fit.remaining, str(fit), tuple(rejected), fit.golden, wanted)
    return replace(survey, world=world, plan=replace(survey.plan, steps=_named(steps, begun)), begun=begun)


def _is_off(survey: Survey) -> bool:
    is_off = survey.spec.server.golden == "off" or survey.wishes.golden is False
    return is_off or environ().get(GOLDEN, "").lower() in OFF


def _beginning(survey: Survey, goldens: Goldens, wanted: Inputs) -> Survey:
    """Return a survey whose plan saves a golden of level 0 on its way; there is none that fits."""
    golden = replace(Golden.of(wanted, level=0), image=survey.spec.server.image)
    effect = SaveGolden(golden.key, json.dumps(golden.document()))
    steps = goldens.beginning(survey.world, effect, survey.plan.steps)
    return replace(survey, plan=replace(survey.plan, steps=steps))


def _rest(survey: Survey, fit: Fit) -> Iterator[Step]:
    """Yield the steps of a plan without those that a golden of level 1 makes unnecessary."""
    if fit.golden.level == 0:
        yield from survey.plan.steps
        return
    has = {each.KIND for each in table.inside(survey.spec, survey.runtime)} - {server.KIND, settings.KIND, SEED}
    applied = {tree.name: tree.applied for tree in fit.golden.inputs.trees}
    for step in survey.plan.steps:
        if step.address.kind not in has:
            yield step
        elif step.address.kind == role.KIND:
            yield from _password(survey, step)
        elif step.address.kind == migrations.KIND and step.address.name in fit.rest:
            yield _shortened(step, applied.get(step.address.name, {}))


def _password(survey: Survey, step: Step) -> tuple[Step, ...]:
    """Return the step that sets the password of a role, which the golden has with another one."""
    world, after, declared = survey.world, step.after, survey.spec.roles[step.address.name]
    if not isinstance(after, role.Role) or role_password.wanted(declared) != "as declared":
        return ()
    before = replace(after, password=role_password.unlike(survey.spec, declared, world.look.text))
    scene = Scene(survey.spec, world.inputs, world.site.ground(starting=True), survey.wishes)
    return role.steps(step.address, before, after, scene).steps


def _shortened(step: Step, applied: Container[str]) -> Step:
    """Return a migration without the revisions that are applied already."""
    effects = [each for each in step.effects if isinstance(each, Migrate)]
    run = [each for effect in effects for each in effect.revisions]
    left = [(each, text) for each, text in zip(run, step.why, strict=False) if each[0] not in applied]
    files = {each for each, _ in left}
    short = [replace(each, revisions=tuple([one for one in each.revisions if one in files])) for each in effects]
    return replace(step, effects=tuple(short), why=tuple([text for _, text in left]))


def _named(steps: tuple[Step, ...], begun: Begun) -> tuple[Step, ...]:
    """Return steps of which the one that makes the data says from which golden."""
    at = next((n for n, each in enumerate(steps) if each.address.kind in _DATA and each.action != Action.REMOVE), None)
    if at is None:
        return steps
    named = replace(steps[at], why=(*steps[at].why, f"from {begun.text}"))
    return (*steps[:at], named, *steps[at + 1 :])


def is_exact(begun: Begun) -> bool:
    """Tell whether a golden has all that is declared."""
    return begun.level == 1 and not begun.remaining


def doubt(begun: Begun, plan: Plan) -> str:
    """Return what a golden should have had, by the first plan after it was used, in words; empty: nothing.

    Passwords are in none, and what a plan says of one that is a beginning is the rest of the migrations.
    """
    if begun.level == 0:
        return ""
    for step in plan.steps:
        kind = step.address.kind
        if kind in (file.KIND, login.KIND, settings.KIND, SEED):
            continue
        if kind == role.KIND and step.action is Action.UPDATE:
            continue
        if kind == migrations.KIND:
            run = sum(len(each.revisions) for each in step.effects if isinstance(each, Migrate))
            if run <= begun.remaining:
                continue
            return f"{count(run, 'revision')} of {step.address}"
        return str(step.address)
    return ""
