"""The commands on a made-up environment: ``made_up.py SCENARIO VERB …``. What would be carried out is only printed.

It takes the place of the Python API, so that what the commands say and how they exit can be tested without a server.
The same commands run on real servers in ``tests/server`` and ``tests/docker``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import provision.environment
from provision.cli import run
from provision.environment import Environment, Rendered
from provision.errors import RefusedError, StepFailedError, UnavailableError, command
from provision.model import (
    Action,
    Address,
    Change,
    Endpoint,
    Outcome,
    Plan,
    Result,
    Secret,
    State,
    Status,
    Step,
    Wishes,
)
from provision.model.effects import EngineCall, WriteFile
from provision.verification import verification

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDPOINT = Endpoint("127.0.0.1", 5432, "postgres", Secret("p@ss/word"), "shop")
CONF = WriteFile(Path("conf/postgresql.conf"), "max_connections = 200\n")
SEEN = State()
SECRET_FILE = WriteFile(Path("secrets/password"), Secret("p@ss/word"), 0o600)
RELOAD = Step(Address("settings", "shop"), Action.RELOAD, None, None, (CONF,), (Change("work_mem", "4MB", "8MB"),))
CREATE = Step(Address("container", "shop"), Action.CREATE, None, None, (EngineCall("create_container", "shop"),))
REMOVE = Step(Address("container", "shop"), Action.REMOVE, None, None, (EngineCall("remove_container", "shop"),))
REMOVE_DATA = Step(
    Address("volume", "shop-data"), Action.REMOVE, None, None, (EngineCall("remove_volume", "shop"),), destroys=True
)
EDIT = Step(Address("file", "x.conf"), Action.UPDATE, SEEN, None, (CONF,), ("content differs",))
GONE = Step(Address("database", "shop"), Action.CREATE, None, None, (CONF,))
UPDATE = Step(Address("container", "shop"), Action.UPDATE, SEEN, None, (), (Change("restart", "no", "unless-stopped"),))
REFUSAL = RefusedError("the volume is another's", evidence=["its label"], next_step="docker volume ls")
PLANS: dict[str, tuple[Step, ...]] = {
    "drift": (UPDATE, EDIT, GONE),
    "nothing": (),
    "reload": (RELOAD,),
    "fresh": (CREATE, RELOAD),
}
RUNNING = Status("running", version="17.6", container="shop", revisions={"app": ("0006_status",)})
STATUS = {"unreachable": Status("unreachable", "it does not answer"), "nothing": RUNNING, "reload": RUNNING}


@dataclass(frozen=True)
class Survey:
    spec: Any
    plan: Plan
    status: Status
    endpoint: Endpoint | None = ENDPOINT
    runtime: str = "docker"
    desired: Any = field(default_factory=dict)
    observed: Any = field(default_factory=dict)
    refusal: Any = None
    obstacle: Any = None
    begun: Any = None
    wishes: Any = field(default_factory=Wishes)
    reason: str = "the engine at unix:///var/run/docker.sock"
    world: Any = field(
        default_factory=lambda: SimpleNamespace(
            needs_upkeep=False, inputs=SimpleNamespace(templates={}, seeds=None), trees={}
        )
    )

    @property
    def login(self) -> Endpoint | None:
        return self.endpoint


class MadeUp(Environment):
    """An environment whose world a word describes."""

    scenario = "fresh"

    def survey(self, **_options: Any) -> Any:
        if self.scenario == "no-engine":
            raise UnavailableError("no Docker engine answers", evidence=["tried unix:///x"], next_step="start it")
        if self.scenario == "bug":
            raise ZeroDivisionError
        if self.scenario == "interrupted":
            raise KeyboardInterrupt
        return Survey(self.spec, Plan(PLANS.get(self.scenario, (CREATE,))), STATUS.get(self.scenario, Status("absent")))

    def survey_to_apply(self, **options: Any) -> Any:
        return self.survey(**options)

    def overview(self) -> Any:
        if self.scenario == "refused":
            return Survey(self.spec, Plan(()), RUNNING, refusal=REFUSAL)
        return self.survey()

    def verify(self, **_tenants: Any) -> Any:
        return verification(self.overview())

    def apply(self, survey: Any = None, *, progress: Any = None, lock_timeout: float = 60, **_options: Any) -> Result:
        assert lock_timeout
        return self._perform(survey.plan.steps, progress, ENDPOINT)

    def login(self, **_choice: Any) -> Endpoint:
        return ENDPOINT

    def start(self, *, progress: Any = None) -> Result:
        if self.scenario == "absent":
            raise UnavailableError(f"the environment {self.spec.name!r} has no server", next_step=command("apply"))
        return self._perform((), progress)

    def stop(self, *, progress: Any = None) -> Result:
        return self._perform((REMOVE,), progress)

    def restart(self, *, progress: Any = None) -> Result:
        return self._perform((RELOAD,), progress)

    def destruction(self, *, data: bool = False) -> Plan:
        return Plan(() if self.scenario == "nothing" else (REMOVE, REMOVE_DATA) if data else (REMOVE,))

    def destroy(self, *, data: bool = False, progress: Any = None) -> Result:
        return self._perform(self.destruction(data=data).steps, progress)

    def render(self, *, write: bool = True) -> Rendered:
        return Rendered((CONF, SECRET_FILE), frozenset([CONF.path] if write else []), ())

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Any:
        return SimpleNamespace(lines=iter([f"LOG: {follow} {tail}", "LOG: ready"]), elsewhere="")

    def psql(self, arguments: Sequence[str] = (), **_choice: Any) -> int:
        print(self.spec.name, *arguments)  # noqa: T201
        return 3

    def _perform(self, steps: tuple[Step, ...], progress: Any, where: Endpoint | None = None) -> Result:
        outcomes = []
        for step in steps:
            progress.started(step)
            if self.scenario == "slow":
                print("begun", flush=True)  # noqa: T201
                time.sleep(60)
            error = "it broke" if self.scenario == "broken" else None
            outcomes.append(Outcome(step, 0.01, error))
            progress.finished(outcomes[-1])
            if error:
                raise StepFailedError("it broke", evidence=["FATAL: disk full"], next_step=command("logs"))
        return Result(tuple(outcomes), 0.02, endpoint=where)


if __name__ == "__main__":
    MadeUp.scenario = sys.argv[1]
    provision.environment.Environment = MadeUp  # type: ignore[misc]
    sys.exit(run(sys.argv[2:]))
