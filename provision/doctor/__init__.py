"""What would fail, before anything does: checks of this machine, its engine, a spec and what that refers to.

Nothing is changed. Each check is a generator of findings; what it cannot find out is a finding too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from provision import observe
from provision.declared import Declared
from provision.doctor import files, machine, migrations
from provision.doctor.finding import SHOWN, Finding, Level, Scene, failed, guarded
from provision.errors import NotRunError, ProvisionError, RefusedError, SpecError, command
from provision.model import Endpoint
from provision.observe import Survey
from provision.runtimes import choice
from provision.spec.model import Spec
from provision.system.look import Look
from provision.system.variables import environ

__all__ = ["Finding", "Level", "examine"]


def examine(environment: Declared | None) -> tuple[Finding, ...]:
    """Return what is found about an environment; without one, about this machine."""
    if environment is None:
        return tuple(_examined(Scene(Look(environ())), []))
    with environment.context():
        said = list(guarded("spec", partial(_of_spec, environment)))
        spec = None
        with suppress(ProvisionError):
            spec = environment.made
        scene = Scene(Look(environ(), *((spec.home, spec.server.engine) if spec else ())), spec)
        return (*said, *_examined(scene, list(_overview(spec)) if spec else []))


def _examined(scene: Scene, seen: list[Survey | ProvisionError]) -> Iterator[Finding]:
    found = list(guarded("runtime", partial(machine.runtime, scene)))
    runtime, works = "", all(each.level is not Level.PROBLEM for each in found)
    if scene.spec is not None and works:
        with suppress(ProvisionError):
            runtime, _ = choice.choose(scene.spec, scene.look)
    survey = next((each for each in seen if not isinstance(each, ProvisionError)), None)
    whole = Scene(scene.look, scene.spec, runtime, survey)
    for name, check in (*machine.CHECKS.items(), *migrations.CHECKS.items(), *files.CHECKS.items()):
        found += guarded(name, partial(check, whole))
    yield from found
    error = next((each for each in seen if isinstance(each, ProvisionError)), survey.refusal if survey else None)
    if scene.spec is not None and works:
        yield from _of_apply(survey, error, [each for each in found if each.level is Level.PROBLEM])


def _of_spec(environment: Declared) -> Iterator[Finding]:
    try:
        environment.validate()
    except SpecError as error:
        lines = tuple(f"{each.path.name}:{each.line}: {each.message}" for each in error.problems)
        more = (f"and {len(lines) - SHOWN} more",) if len(lines) > SHOWN else ()
        what = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
        sentence = f"{environment.path.name} has {what}"
        yield Finding("spec", Level.PROBLEM, sentence, (*lines[:SHOWN], *more), command("validate"))
    else:
        yield Finding("spec", Level.OK, f"{environment.path.name} is valid")


def _overview(spec: Spec) -> Iterator[Survey | ProvisionError]:
    try:
        yield observe.overview(spec)
    except ProvisionError as error:
        yield error


def _of_pooler(endpoint: Endpoint) -> Iterator[Finding]:
    """Say whether a pooler is between that gives no session, for which an apply is refused."""
    from provision.system import poolers

    try:
        poolers.insist(endpoint)
    except RefusedError as error:
        yield failed("pooler", error)


def _of_apply(survey: Survey | None, error: ProvisionError | None, problems: list[Finding]) -> Iterator[Finding]:
    """Say what an apply would do, or what refuses it, unless a problem has said so already."""
    if isinstance(error, NotRunError):
        yield Finding("apply", Level.UNKNOWN, error.sentence.removeprefix("--no-commands: "))
    elif error is not None:
        said = {each.sentence for each in problems}
        is_port = error.sentence.startswith("the port ") and any(each.subject == "port" for each in problems)
        if error.sentence not in said and not is_port:
            yield failed("apply", error)
    elif survey is not None and survey.status.server == "unreachable":
        sentence = survey.status.detail or "the server cannot be reached"
        yield Finding("server", Level.PROBLEM, sentence, next_step=command("status"))
    elif survey is not None:
        steps = len(survey.plan.steps)
        if steps and survey.endpoint is not None and not survey.endpoint.is_ours:
            yield from _of_pooler(survey.endpoint)
        what = f"{steps} step{'s' if steps != 1 else ''} pending" if steps else "nothing to do"
        yield Finding("apply", Level.OK, what, next_step=command("plan") if steps else "")
        yield from (Finding("apply", Level.UNKNOWN, each) for each in survey.plan.unknown)
