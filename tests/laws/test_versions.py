"""A container that another version of provision created is recreated once, explained, and never at the cost of data."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.fake import World

from provision.errors import RefusedError
from provision.model import Action, Secret
from provision.runtimes.docker.spec_label import OTHER_VERSION
from provision.spec.load import read

if TYPE_CHECKING:
    from provision.model import Plan, Step
    from provision.spec.model import Spec

SHIPPED = {path.name: path.read_text() for path in (Path(__file__).parents[2] / "templates").glob("*.j2")}
COMPOSE = "docker-compose.yml.j2"
PASSWORD = Secret("x")
MEMORY: dict[str, Any] = {"image": "postgres:17", "data": {"ephemeral": True}, "resources": {"memory": "1g"}}
VOLUME: dict[str, Any] = {"image": "postgres:17"}
LABEL = re.compile(r"^ +provision\.declared:.*\n", re.MULTILINE)
CHANGED = SHIPPED[COMPOSE].replace("retries: 5", "retries: 4").replace("environment:\n", "environment:\n      OLD: x\n")


def spec(server: dict[str, Any]) -> Spec:
    document = {"name": "shop", "server": {"runtime": "docker", **server}}
    return read(Path("/nowhere/spec.yml"), yaml.safe_dump(document).encode(), {})


def made(server: dict[str, Any], template: str) -> World:
    """A world in which another version, with another template, applied a spec."""
    world = World({**SHIPPED, COMPOSE: template})
    world.converge(spec(server), PASSWORD)
    world._templates = SHIPPED
    return world


def container(plan: Plan) -> list[Step]:
    return [each for each in plan.steps if each.address.kind == "container"]


@pytest.fixture(params=["with the label", "without it"])
def template(request: pytest.FixtureRequest) -> str:
    return CHANGED if request.param == "with the label" else LABEL.sub("", CHANGED)


@pytest.mark.parametrize("state", ["running", "paused"])
def test_data_in_memory_stays_where_only_the_version_changed(template: str, state: str) -> None:
    world = made(MEMORY, template)
    world.become(spec(MEMORY), state)
    plan = world.plan(spec(MEMORY), PASSWORD)
    assert [each.action for each in container(plan)] == ([] if state == "running" else [Action.START])
    (remark,) = plan.remarks
    assert "another version of provision created it" in remark
    assert "environment OLD: x → default; healthcheck Retries: 4 → 5" in remark
    assert world.converge(spec(MEMORY), PASSWORD)[-1].remarks == (remark,)


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"memory": "1g", "shm_size": "64m"}},
        {"resources": {}},
        {"stop_timeout": "5s"},
        {"port": 6000},
        {"image": "postgres:17.1"},
        {"data": {"volume": "mine"}},
    ],
)
def test_a_changed_spec_recreates_it(template: str, change: dict[str, Any]) -> None:
    world = made(MEMORY, template)
    (step,) = container(world.plan(spec({**MEMORY, **change}), PASSWORD))
    assert (step.action, step.destroys) == (Action.RECREATE, True)
    assert OTHER_VERSION not in step.why


def test_a_change_that_needs_no_container_recreates_nothing(template: str) -> None:
    plan = made(MEMORY, template).plan(spec({**MEMORY, "database": "other", "settings": {"work_mem": "8MB"}}), PASSWORD)
    assert container(plan) == []


def test_a_limit_that_others_changed_is_set_again_in_place(template: str) -> None:
    world = made(MEMORY, template)
    world.objects["containers/shop"]["HostConfig"]["Memory"] = 1
    (step,) = container(world.plan(spec(MEMORY), PASSWORD))
    assert (step.action, [each.field for each in step.why]) == (Action.UPDATE, ["memory"])  # type: ignore[union-attr]


def test_data_in_memory_of_a_stopped_server_is_gone_anyway(template: str) -> None:
    world = made(MEMORY, template)
    world.become(spec(MEMORY), "exited")
    (step,) = container(world.plan(spec(MEMORY), PASSWORD))
    assert (step.action, step.destroys, step.why[0]) == (Action.RECREATE, False, OTHER_VERSION)


def test_other_data_is_kept_by_one_recreate_that_says_why(template: str) -> None:
    world = made(VOLUME, template)
    plan = world.plan(spec(VOLUME), PASSWORD)
    (step,) = container(plan)
    assert (step.action, step.destroys, plan.remarks) == (Action.RECREATE, False, ())
    assert [str(each) for each in step.why] == [
        OTHER_VERSION, "environment OLD: x → default", "healthcheck Retries: 4 → 5"
    ]  # fmt: skip
    assert world.converge(spec(VOLUME), PASSWORD)[-1].is_empty
    (step,) = container(made(VOLUME, template).plan(spec({**VOLUME, "stop_timeout": "5s"}), PASSWORD))
    assert OTHER_VERSION not in step.why


def test_a_template_of_ones_own_is_the_spec() -> None:
    world = made(MEMORY, CHANGED)
    place = Path("/nowhere/templates")
    world.files[place / COMPOSE] = (SHIPPED[COMPOSE], 0o644)
    declared = spec(MEMORY)
    (step,) = container(world.plan(replace(declared, templates=place), PASSWORD))
    assert (step.action, step.destroys) == (Action.RECREATE, True)


def moved(world: World, server: dict[str, Any]) -> Spec:
    """Move the project with all of its files, and return its spec."""
    world.files = {Path("/elsewhere", *path.parts[2:]): each for path, each in world.files.items()}
    world.files[Path("/elsewhere/.provision/shop/engine")] = ("unix:///var/run/docker.sock", 0o644)  # of an apply
    return replace(spec(server), path=Path("/elsewhere/spec.yml"))


def test_a_project_that_was_moved_is_the_reason_and_not_the_version() -> None:
    world = made(VOLUME, SHIPPED[COMPOSE])
    (step,) = container(world.plan(moved(world, VOLUME), PASSWORD))
    assert (step.action, step.why[0]) == (Action.RECREATE, "the project's directory was /nowhere and is /elsewhere")
    assert OTHER_VERSION not in step.why


def test_data_in_memory_stays_where_the_project_was_moved() -> None:
    world = made(MEMORY, SHIPPED[COMPOSE])
    plan = world.plan(moved(world, MEMORY), PASSWORD)
    assert container(plan) == []
    assert "its data is in memory: the project's directory was /nowhere and is /elsewhere" in plan.remarks[0]


WAL = SHIPPED[COMPOSE].replace("environment:\n", "environment:\n      POSTGRES_INITDB_WALDIR: /wal\n")
MOUNTED = WAL.replace(
    "    volumes:\n", "    volumes:\n      - type: bind\n        source: ./wal\n        target: /wal\n"
)


def test_a_template_that_moves_the_log_to_no_mount_is_refused_before_there_is_data() -> None:
    world = World({**SHIPPED, COMPOSE: WAL})
    with pytest.raises(RefusedError, match=r"its WAL is in /wal \(POSTGRES_INITDB_WALDIR\), and nothing is mounted"):
        world.converge(spec(VOLUME), PASSWORD)
    assert world.objects == {}
    World({**SHIPPED, COMPOSE: MOUNTED}).converge(spec(VOLUME), PASSWORD)


def test_a_container_whose_log_is_on_no_mount_goes_on_and_is_not_recreated() -> None:
    world = World({**SHIPPED, COMPOSE: MOUNTED})
    world.converge(spec(VOLUME), PASSWORD)
    seen = world.objects["containers/shop"]
    seen["Mounts"] = [each for each in seen["Mounts"] if each["Destination"] != "/wal"]
    world._templates = {**SHIPPED, COMPOSE: WAL}
    with pytest.raises(RefusedError, match="the write-ahead log of 'shop' is in /wal of the container 'shop'"):
        world.plan(spec(VOLUME), PASSWORD)
