"""The world → Observed, read-only: no file is written, no transaction can write, the engine is only asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from provision import desired as desires, plan as planner
from provision.errors import MigrationsError, ProvisionError, RefusedError, SpecError, UnknownRevisionError
from provision.model import MAINTENANCE, UNREAD, Begun, Desired, Endpoint, Observed, Plan, Status, Wishes
from provision.model.value import dataclass, replace
from provision.observe import external, server
from provision.observe.outside import World, world
from provision.spec import parameters
from provision.spec.load import again
from provision.spec.model import Spec
from provision.system import no_commands, ports, secrets
from provision.system.postgres import LoginError
from provision.system.variables import environ

_PATIENCE = 60.0
_AS_DECLARED = Wishes()


@dataclass(frozen=True)
class Survey:
    """What was declared, what was found, and the plan that leads from one to the other.

    ``endpoint`` is None while no server runs. ``refusal`` says why there is no plan, where that was allowed. ``begun``
    is the golden from which the plan makes new data. ``obstacle`` is why an apply of the plan would be refused all the
    same.
    """

    world: World
    desired: Desired
    observed: Observed
    plan: Plan
    endpoint: Endpoint | None
    status: Status
    refusal: RefusedError | MigrationsError | None = None
    wishes: Wishes = _AS_DECLARED
    begun: Begun | None = None
    obstacle: RefusedError | None = None

    @property
    def makes_data(self) -> bool:
        """Whether the plan makes new data, for which no golden was looked for yet."""
        return self.begun is None and not self.plan.is_empty and self.world.site.is_fresh

    @property
    def spec(self) -> Spec:
        """The spec that was surveyed."""
        return self.world.spec

    @property
    def login(self) -> Endpoint | None:
        """How applications log in to the server that runs: as the role that migrates its database, where one does."""
        role = self.spec.login_in(self.spec.server.database)
        password = self.world.inputs.passwords.get(role or "")  # none where a variable of the role is not set
        if self.endpoint is None:
            return None
        at = self.world.site.for_applications(self.endpoint)
        return at if role is None or password is None else replace(at, user=role, password=password)

    @property
    def runtime(self) -> str:
        """The name of the runtime."""
        return self.world.runtime

    @property
    def reason(self) -> str:
        """Why this runtime was chosen."""
        return self.world.reason


def survey(
    spec: Spec,
    *,
    runtime: str | None = None,
    refusing: bool = True,
    wishes: Wishes = _AS_DECLARED,
    lacks_database: bool | None = None,
    load: Callable[[str], object] | None = None,
) -> Survey:
    """Look at everything, and plan; without ``refusing``, the survey has the refusal in place of a plan.

    ``lacks_database``: whether a server of ours can lack the declared one; None: not known. ``load`` is as in
    :func:`provision.observe.outside.world`.

    Raises:
        UnavailableError: no engine answers.
        RefusedError: the plan would cost data, or disturb what is not ours.
    """
    began = time.time()
    look = partial(_survey, spec, runtime, refusing=refusing, wishes=wishes, lacks_database=lacks_database, load=load)
    try:
        return look()
    except ProvisionError as error:
        # What another run was changing meanwhile looks wrong in many ways: a port that is taken by our own container.
        # A server that went away in the middle of the look is one that does not answer.
        from provision.system import lock

        is_other = error.server_is_gone or _chooses_again(spec, error)
        if not is_other and not lock.calm(spec.home / "lock", since=began, timeout=_PATIENCE):
            raise
    return look()


def _chooses_again(spec: Spec, error: ProvisionError) -> bool:
    """Whether another port can be taken, because the one that others have was our choice."""
    if error.taken_port is None or spec.server.first_port is None:
        return False

    ports.leave_port(error.taken_port)
    return True


def _survey(
    spec: Spec,
    runtime: str | None,
    *,
    refusing: bool,
    wishes: Wishes,
    lacks_database: bool | None,
    load: Callable[[str], object] | None,
) -> Survey:
    seen = world(spec, runtime=runtime, moving=True, load=load)
    # Only the version comes from the world: where the data is now is the runtime's business.
    spec = replace(spec, server=replace(spec.server, major=seen.spec.server.major))
    at = seen.site.endpoint(seen.inputs.password)
    if at is not None and at.password is not UNREAD:
        at.begin()
    _learn_settings(seen, at)
    wanted = desires.desired(spec, seen.inputs, seen.files, seen.site.desired)
    inside, status, data_directory = server.look(seen, wanted, at, lacks_database=lacks_database)
    found = {**seen.site.observed, **inside}
    if any(tree.tenants and (tree.tenants.only or tree.tenants.without) for tree in spec.migrations):
        from provision.tenants.asking import refuse_unknown_of  # few commands choose

        refuse_unknown_of(spec, found)
    survey = Survey(seen, wanted, found, Plan(unknown=no_commands.unknown()), at, status, wishes=wishes)
    try:
        if data_directory:
            seen.site.check_data(data_directory, status.version or "")
        plan = planner.plan(spec, seen.inputs, seen.site, wanted, found, wishes=wishes, clients=status.clients or 0)
    except RefusedError as error:
        if isinstance(error, UnknownRevisionError):
            seen.explain(error)
        if refusing:
            raise
        return replace(survey, refusal=error)
    obstacle = None if at is None or at.is_ours else external.obstacle(at)
    more = () if obstacle is None else (f"{obstacle.sentence}; apply is refused until you {obstacle.next_step}",)
    plan = replace(plan, remarks=(*plan.remarks, *more), unknown=no_commands.unknown())
    return replace(survey, plan=plan, obstacle=obstacle)


def _learn_settings(seen: World, at: Endpoint | None) -> None:
    """Learn the settings of a major version that the program does not know from the server that runs.

    Raises:
        SpecError: a setting is wrong.
    """
    major = seen.spec.server.major
    if at is None or not major or parameters.is_known(major) or no_commands.is_on():
        return
    from provision.system import catalogue  # of a major version that is newer than the program

    for name in (seen.spec.server.database, MAINTENANCE):
        with suppress(LoginError):
            catalogue.ask(at, major, name)
            again(seen.spec, environ(), major=major)
            return


def checked(spec: Spec) -> bool:
    """Tell whether the settings of a spec could be checked; those of its image that were kept are used.

    Raises:
        SpecError: a setting is wrong.
    """
    major = spec.server.major
    if parameters.is_known(major):
        return True
    from provision.system import catalogue

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
    skipped = [each for each in secrets.skip_roles(spec) if not isinstance(each, SpecError)]
    unknown += [f"whether a role has its password: {each.sentence}" for each in skipped]
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
