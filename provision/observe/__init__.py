"""The world → Observed, read-only: no file is written, no transaction can write, the engine is only asked."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provision import desired as desires
from provision import plan as planner
from provision import runtimes
from provision.alembic import Trees
from provision.errors import (
    MigrationsError,
    ProvisionError,
    RefusedError,
    SpecError,
    UnavailableError,
    UnknownRevisionError,
    command,
)
from provision.kinds import Inputs
from provision.model import MAINTENANCE, Plan, Status, Wishes
from provision.observe import server
from provision.runtimes import choice
from provision.spec import parameters
from provision.spec.load import again
from provision.spec.model import PasswordGenerated
from provision.system import catalogue, files, lock, no_commands, owned, secrets
from provision.system.limits import limited
from provision.system.look import Look
from provision.system.postgres import LoginError
from provision.system.variables import environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.model import Desired, Endpoint, File, Observed
    from provision.runtimes import RuntimeModule, Site
    from provision.spec.model import Spec

__all__ = ["Status", "Survey", "World", "endpoint", "logs", "rendered", "survey", "world"]

_PATIENCE = 60.0
_AS_DECLARED = Wishes()
_STARTABLE = ("stopped", "paused")


@dataclass(frozen=True)
class World:
    """One environment as it is: the spec, what it refers to, and its server's home, seen once."""

    spec: Spec
    runtime: str
    reason: str
    look: Look
    inputs: Inputs
    trees: Trees
    files: Mapping[str, File]
    site: Site

    @property
    def needs_upkeep(self) -> bool:
        """Whether others may write to our files, or the next run is quicker if what was rendered and read is kept."""
        if owned.is_wide(self.spec.home):
            return True
        if self.spec.server.major not in parameters.MAJORS and not catalogue.kept_major(self.spec):
            return True
        memo = desires.memo(self.spec, self.inputs, self.inputs.rendered)
        return memo != self.inputs.memo or not self.trees.are_remembered


@dataclass(frozen=True)
class Survey:
    """What was declared, what was found, and the plan that leads from one to the other.

    ``endpoint`` is None while no server runs. ``refusal`` says why there is no plan, where that was allowed.
    """

    world: World
    desired: Desired
    observed: Observed
    plan: Plan
    endpoint: Endpoint | None
    status: Status
    refusal: RefusedError | MigrationsError | None = None
    wishes: Wishes = _AS_DECLARED

    @property
    def spec(self) -> Spec:
        """The spec that was surveyed."""
        return self.world.spec

    @property
    def runtime(self) -> str:
        """The name of the runtime."""
        return self.world.runtime

    @property
    def reason(self) -> str:
        """Why this runtime was chosen."""
        return self.world.reason


def world(spec: Spec, *, runtime: str | None = None, moving: bool = False) -> World:
    """Read everything that can be known without a connection to the server.

    ``runtime`` takes the place of what the spec says; with ``moving``, what the spec says has to be where the
    environment was made.

    Raises:
        UnavailableError: no engine answers.
        RefusedError: the environment lives in another runtime.
        ProvisionError: something that the spec refers to is missing or wrong.
    """
    look = Look(environ(), spec.home)
    name, reason = choice.choose(spec, look, wanted=runtime, moving=moving)
    try:
        return _seen(spec, look, name, reason)
    except UnavailableError as error:
        if name != (runtime or spec.server.runtime):
            error.evidence = (*error.evidence, f"the environment {spec.name!r} was made there, and stays there")
        raise


def _seen(spec: Spec, look: Look, name: str, reason: str) -> World:
    module = runtimes.load(name)
    located = module.located(spec, look)
    _check_settings(spec, located, module, look)
    spec = _with_ledgers(located, is_ours=name in choice.HOMES)
    # What an untrusted checkout brings in .provision/ is not taken for what an earlier run of ours has kept there.
    is_trusted = not no_commands.is_on()
    trees = Trees(spec, cached=is_trusted)
    inputs = Inputs(
        runtime=name,
        templates=_templates(spec, module.TEMPLATES),
        port=module.port(spec, look),
        password=secrets.of(spec),
        graphs=trees,
        rendered={name: files.read_text(spec.home / path) or "" for name, (path, _) in module.FILES.items()}
        if is_trusted
        else {},
        memo=owned.text(spec.home / desires.MEMO) if is_trusted else None,
    )
    written = desires.files(spec, inputs, limited)
    site = module.examine(spec, written, look)
    return World(spec, name, reason, look, inputs, trees, written, site)


def _check_settings(before: Spec, spec: Spec, module: RuntimeModule, look: Look) -> None:
    """Check settings that could not be checked before the major version, or its settings, were known.

    Raises:
        SpecError: a setting is wrong.
    """
    major = spec.server.major
    if major not in parameters.MAJORS and not parameters.is_known(major) and not no_commands.is_on():
        catalogue.recall(spec, module.identity(spec, look))
    if parameters.is_known(major) and (major != before.server.major or major not in parameters.MAJORS):
        again(spec, environ(), major=major)


def _learn_settings(seen: World, at: Endpoint | None) -> None:
    """Learn the settings of a major version that the program does not know from the server that runs.

    Raises:
        SpecError: a setting is wrong.
    """
    major = seen.spec.server.major
    if at is None or not major or parameters.is_known(major) or no_commands.is_on():
        return
    for name in (seen.spec.server.database, MAINTENANCE):
        with suppress(LoginError):
            catalogue.ask(at, major, name)
            again(seen.spec, environ(), major=major)
            return


def _with_ledgers(spec: Spec, *, is_ours: bool) -> Spec:
    """Decide what the spec leaves open: only in a server of ours is there something that nobody asked for."""
    trees = tuple([replace(each, ledger=is_ours) if each.ledger is None else each for each in spec.migrations])
    return replace(spec, migrations=trees)


def _templates(spec: Spec, names: tuple[str, ...]) -> dict[str, str]:
    """Return the texts of the templates: the user's own where there are any, else the shipped ones."""
    places = [place for place in (spec.templates, shipped()) if place is not None]
    texts = {}
    for name in names:
        found = next((text for place in places if (text := files.read_text(place / name)) is not None), None)
        if found is None:
            raise ProvisionError(
                f"the template {name} is missing",
                evidence=[str(place) for place in places],
                next_step=f"ls {shipped()}   (it belongs to the program: install that again)",
            )
        texts[name] = found
    return texts


def shipped() -> Path:
    """Return the directory of the templates that belong to the program: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def survey(
    spec: Spec,
    *,
    runtime: str | None = None,
    refusing: bool = True,
    wishes: Wishes = _AS_DECLARED,
    new: bool = False,
) -> Survey:
    """Look at everything, and plan. Without ``refusing``, a plan that is refused is only told.

    ``new``: the server was started a moment ago on data that was made for it.

    Raises:
        UnavailableError: no engine answers.
        RefusedError: the plan would cost data, or disturb what is not ours.
    """
    began = time.time()
    try:
        return _survey(spec, runtime, refusing=refusing, wishes=wishes, new=new)
    except ProvisionError:
        # What another run was changing meanwhile looks wrong in many ways: a port that is taken by our own container.
        if not lock.calm(spec.home / "lock", since=began, timeout=_PATIENCE):
            raise
    return _survey(spec, runtime, refusing=refusing, wishes=wishes, new=new)


def checked(spec: Spec) -> bool:
    """Tell whether the settings of a spec could be checked; those of its image that were kept are used.

    Raises:
        SpecError: a setting is wrong.
    """
    major = spec.server.major
    if parameters.is_known(major):
        return True
    if no_commands.is_on() or not catalogue.recall(spec, ""):
        return False
    again(spec, environ(), major=major or catalogue.kept_major(spec))
    return True


def overview(spec: Spec) -> Survey:
    """Look at everything as far as it can be seen: conditions that only prevent planning are reported as a refusal.

    Without the password, or a variable that the spec names, what depends on it is reported as not known.

    Raises:
        UnavailableError: no engine answers.
        RefusedError: the server is not the environment's.
    """
    error = secrets.skip(spec)
    unknown = [f"{each.path.name}:{each.line}: {each.message}" for each in spec.missing]
    if error is not None and not isinstance(error, SpecError):
        unknown.append(f"what is in the server, because the login needs the password: {error.sentence}")
    seen = _overview(spec)
    return replace(seen, plan=replace(seen.plan, unknown=(*seen.plan.unknown, *unknown)))


def _overview(spec: Spec) -> Survey:
    try:
        return survey(spec)
    except RefusedError:
        return survey(spec, refusing=False)
    except MigrationsError as error:
        seen = survey(replace(spec, migrations=()), refusing=False)
        return replace(seen, plan=Plan(()), refusal=error)


def _survey(spec: Spec, runtime: str | None, *, refusing: bool, wishes: Wishes, new: bool) -> Survey:
    seen = world(spec, runtime=runtime, moving=True)
    # Only the version comes from the world: where the data is now is the runtime's business.
    spec = replace(spec, server=replace(spec.server, major=seen.spec.server.major))
    at = seen.site.endpoint(seen.inputs.password)
    _learn_settings(seen, at)
    wanted = desires.desired(spec, seen.inputs, seen.files, seen.site.desired)
    inside, status, data_directory = server.look(seen, wanted, at, new=new)
    found = {**seen.site.observed, **inside}
    survey = Survey(seen, wanted, found, Plan(unknown=no_commands.unknown()), at, status, wishes=wishes)
    try:
        if data_directory:
            seen.site.check_data(data_directory, status.version or "")
        plan = planner.plan(spec, seen.inputs, seen.site, wanted, found, wishes=wishes, clients=status.clients or 0)
    except RefusedError as error:
        if isinstance(error, UnknownRevisionError):
            explain(error, seen)
        if refusing:
            raise
        return replace(survey, refusal=error)
    return replace(survey, plan=replace(plan, unknown=no_commands.unknown()))


def explain(error: UnknownRevisionError, seen: World) -> None:
    """Complete an error with what Git says about a revision that this checkout does not have."""
    from provision.alembic import explain as explain_origin

    place = seen.trees[error.tree], seen.trees.location(error.tree)
    explain_origin(error, *place)


def rendered(spec: Spec) -> tuple[File, ...]:
    """Return what ``provision render`` shows: every file of the environment's directory but the caches.

    Raises:
        UnavailableError: the port is ``auto`` and no engine answers.
    """
    look = Look(environ(), spec.home)
    try:
        name, _ = choice.choose(spec, look)
    except UnavailableError:
        name = choice.HOMES[0]
    module = runtimes.load(name)
    with suppress(UnavailableError):  # nothing answers, so nothing tells
        spec = module.located(spec, look)
    port = spec.server.port if spec.server.port is not None else module.port(spec, look)
    inputs = Inputs(
        runtime=name,
        templates=_templates(spec, module.TEMPLATES),
        port=port,
        password=secrets.of(spec),
        graphs={},
        rendered={},
        memo=None,
    )
    return desires.known(desires.files(spec, inputs, limited))


def endpoint(spec: Spec) -> Endpoint:
    """Return where the environment's server is reached.

    Raises:
        UnavailableError: no server runs.
        ProvisionError: its generated password was lost.
    """
    return endpoint_of(world(spec))


def endpoint_unless_new(spec: Spec, *evidence: str) -> Endpoint | None:
    """Return where the environment's server is reached; None where there is no data yet.

    Raises:
        UnavailableError: there is data, and no server runs; ``evidence`` says why one is needed.
        ProvisionError: its generated password was lost.
    """
    seen = world(spec)
    if seen.site.endpoint(seen.inputs.password) is not None:
        return endpoint_of(seen)
    if seen.site.is_fresh:
        return None
    raise not_running(seen, *evidence)


def endpoint_of(seen: World) -> Endpoint:
    """Return where the server of a world is reached.

    Raises:
        UnavailableError: no server runs.
        ProvisionError: its generated password was lost; what was generated now would not let anybody in.
    """
    found = require_running(seen)
    kept = seen.spec.password_file
    if isinstance(seen.spec.server.password, PasswordGenerated) and not files.read_text(kept):
        raise ProvisionError(
            f"the generated password of {seen.spec.name!r} was lost with .provision/",
            evidence=[f"there is no {_relative(kept)}"],
            next_step=command("apply") + "   (it sets a new one; the data stays)",
        )
    return found


def require_running(seen: World) -> Endpoint:
    """Return where the server of a world listens; whether the password is known is not asked.

    Raises:
        UnavailableError: no server runs; the next step starts it.
    """
    found = seen.site.endpoint(seen.inputs.password)
    if found is None:
        raise not_running(seen)
    return found


def not_running(seen: World, *evidence: str) -> UnavailableError:
    """Return the error for a server that does not run: what was made before is started, anything else applied."""
    state = seen.site.status.server
    verb = "start" if state in _STARTABLE else "apply"
    return UnavailableError(
        f"the server of {seen.spec.name!r} is {state}",
        evidence=evidence,
        next_step=command(verb),
    )


class Log(NamedTuple):
    """The lines that a server prints, and the command that shows what it writes into files of its own, if it does."""

    lines: Iterator[str]
    elsewhere: str


def logs(spec: Spec, *, follow: bool, tail: int | None) -> Log:
    """Return the server's log, oldest line first; with ``follow``, lines as they come.

    Raises:
        UnavailableError: there is no server yet.
    """
    site = world(spec).site
    found = site.logs(follow=follow, tail=tail)
    if found is None:
        raise UnavailableError(f"the environment {spec.name!r} has no server yet", next_step=command("apply"))
    return Log(found, site.collected_log())


def _relative(path: Path) -> str:
    return os.path.relpath(path)
