"""The command line on a made-up world: ``fake_core.py SCENARIO VERB …``. What would be carried out is only printed.

It stands in for :mod:`provision.observe` and :mod:`provision.apply`, so that what the verbs say and how they exit can
be tested without a server. The same verbs run on real servers in ``tests/docker``.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from provision.cli import run
from provision.errors import RefusedError, StepFailedError, UnavailableError, command
from provision.model import Action, Address, Change, Endpoint, Outcome, Plan, Result, Secret, State, Status, Step
from provision.model.effects import EngineCall, WriteFile

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
    reason: str = "the engine at unix:///var/run/docker.sock"
    world: Any = field(default_factory=lambda: SimpleNamespace(needs_upkeep=False))


def perform(scenario: str, steps: tuple[Step, ...], progress: Any, where: Endpoint | None = None) -> Result:
    outcomes = []
    for step in steps:
        progress.started(step)
        if scenario == "slow":
            print("begun", flush=True)  # noqa: T201
            time.sleep(60)
        error = "it broke" if scenario == "broken" else None
        outcomes.append(Outcome(step, 0.01, error))
        progress.finished(outcomes[-1])
        if error:
            raise StepFailedError("it broke", evidence=["FATAL: disk full"], next_step=command("logs"))
    return Result(tuple(outcomes), 0.02, endpoint=where)


def psql(spec: Any, arguments: tuple[str, ...]) -> int:
    print(spec.name, *arguments)  # noqa: T201
    return 3


def core(scenario: str) -> dict[str, ModuleType]:
    observe, apply = ModuleType("provision.observe"), ModuleType("provision.apply")

    def survey(spec: Any, *, runtime: str | None = None, refusing: bool = True, wishes: Any = None) -> Survey:
        del runtime, wishes
        if scenario == "no-engine":
            raise UnavailableError("no Docker engine answers", evidence=["tried unix:///x"], next_step="start it")
        if scenario == "bug":
            raise ZeroDivisionError
        if scenario == "interrupted":
            raise KeyboardInterrupt
        if scenario == "refused" and not refusing:
            return Survey(spec, Plan(()), RUNNING, refusal=REFUSAL)
        return Survey(spec, Plan(PLANS.get(scenario, (CREATE,))), STATUS.get(scenario, Status("absent")))

    def require_running(spec: Any) -> Endpoint:
        if scenario == "absent":
            raise UnavailableError(f"the server of {spec.name!r} is absent", next_step=command("apply"))
        return ENDPOINT

    def destruction(spec: Any, *, data: bool) -> Plan:
        del spec
        return Plan(() if scenario == "nothing" else (REMOVE, REMOVE_DATA) if data else (REMOVE,))

    vars(observe).update(
        survey=survey,
        overview=lambda spec: survey(spec, refusing=False),
        world=lambda spec: spec,
        require_running=require_running,
        endpoint=require_running,
        rendered=lambda _spec: (CONF, SECRET_FILE),
        logs=lambda _spec, *, follow, tail: SimpleNamespace(
            lines=iter([f"LOG: {follow} {tail}", "LOG: ready"]), elsewhere=""
        ),
    )
    vars(apply).update(
        converge=lambda first, *, progress, lock_timeout: perform(
            scenario, first.plan.steps if lock_timeout else (), progress, ENDPOINT
        ),
        start=lambda _spec, *, progress: perform(scenario, (), progress),
        stop=lambda _spec, *, progress: perform(scenario, (REMOVE,), progress),
        restart=lambda _spec, *, progress: perform(scenario, (RELOAD,), progress),
        destruction=destruction,
        destroy=lambda spec, *, data, progress: perform(scenario, destruction(spec, data=data).steps, progress),
        write=lambda _home, files: (files[0].path,),
        psql=psql,
    )
    return {"provision.observe": observe, "provision.apply": apply}


if __name__ == "__main__":
    sys.modules.update(core(sys.argv[1]))
    sys.exit(run(sys.argv[2:]))
