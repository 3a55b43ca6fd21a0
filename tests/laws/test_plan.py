"""Laws of planning, on a world in memory: from any state to any spec, and then there is nothing left to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st
from support.fake import World
from support.law import law

from provision.errors import RefusedError
from provision.model import UNKNOWN, Action, Change, Secret, Wishes
from provision.runtimes.docker import compose
from provision.runtimes.docker.service import TRANSLATIONS
from provision.spec.load import read
from provision.spec.model import Ephemeral, Spec

TEMPLATES = Path(__file__).parents[2] / "templates"
SHIPPED = {path.name: path.read_text() for path in TEMPLATES.glob("*.j2")}
HERE = Path("/nowhere/spec.yml")

SETTINGS = {
    "shared_buffers": ["128MB", "16384", "256MB"],
    "work_mem": ["4MB", "8MB"],
    "log_min_duration_statement": [-1, "250ms"],
    "shared_preload_libraries": ["", "a,b"],
    "cluster_name": ["it's $1 \\ ü", "x"],
}
servers = st.fixed_dictionaries(
    {"image": st.sampled_from(["postgres:16", "postgres:17", "postgres:18"])},
    optional={
        "port": st.sampled_from([5432, 6000, "auto"]),
        "host": st.sampled_from(["127.0.0.1", "0.0.0.0", "::1"]),  # noqa: S104  # only declared
        "max_connections": st.sampled_from([50, 100]),
        "database": st.sampled_from(["shop", "postgres", 'a "b" $1']),
        "credentials": st.fixed_dictionaries({"user": st.sampled_from(["owner", "one two-ü"])}),
        "settings": st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in SETTINGS.items()}),
        "data": st.sampled_from([{"volume": "mine"}, {"path": "./data"}, {"ephemeral": True}]),
        "resources": st.fixed_dictionaries({}, optional={
            "memory": st.sampled_from(["1g", "512m"]),
            "cpus": st.sampled_from([1, 1.5]),
            "shm_size": st.sampled_from(["64m", "1g"]),
        }),
        "stop_timeout": st.sampled_from(["1s", "1500ms", "2m"]),
        "ready_timeout": st.sampled_from(["10s", "1m"]),
    },
)  # fmt: skip
passwords = st.sampled_from(["first s3cr3t", "second s3cr3t $'\\"])
faults = st.sampled_from(["none", "exited", "paused", "removed", "files lost", "restarting"])


def spec(server: dict[str, Any]) -> Spec:
    """Read a spec of these keys."""
    document = {"version": 1, "name": "shop", "server": {"runtime": "docker", **server}}
    return read(HERE, yaml.safe_dump(document).encode(), {})


def _about_the_major(refused: RefusedError) -> None:
    assert "was made by PostgreSQL" in refused.sentence


def damage(world: World, before: Spec, fault: str) -> None:
    """Let something happen behind our back."""
    if fault == "removed":
        world.objects.pop(f"containers/{before.server.container_name}")
    elif fault == "files lost":
        for path in [path for path in world.files if before.home in path.parents]:
            del world.files[path]
    elif fault != "none":
        world.become(before, fault)


@law(20)
@given(st.lists(st.tuples(servers, passwords, faults), min_size=1, max_size=3), st.booleans(), st.booleans())
def test_apply_leaves_nothing_to_do(
    history: list[tuple[dict[str, Any], str, str]], local: bool, podman: bool  # noqa: FBT001
) -> None:  # fmt: skip
    world = World(SHIPPED, local=local, podman=podman)
    for server, word, fault in history:
        declared, password = spec(server), Secret(word)
        try:
            first = world.plan(declared, password)
            plans = world.converge(declared, password)
        except RefusedError as refused:
            _about_the_major(refused)
            return
        assert plans[0] == first, "planning is pure"
        assert plans[-1].is_empty, [str(step) for step in plans[-1].steps]
        assert world.plan(declared, password).is_empty
        damage(world, declared, fault)


@law(20)
@given(servers, servers, passwords, faults, st.booleans())
def test_a_plan_says_why_and_tells_no_secret(
    before: dict[str, Any], after: dict[str, Any], word: str, fault: str, local: bool  # noqa: FBT001
) -> None:  # fmt: skip
    world = World(SHIPPED, local=local)
    world.converge(spec(before), Secret("another"))
    damage(world, spec(before), fault)
    try:
        plan = world.plan(spec(after), Secret(word))
    except RefusedError as refused:
        _about_the_major(refused)
        return
    assert word not in repr(plan)
    assert word not in str(plan)
    for step in plan.steps:
        assert word not in repr(step)
        told = step.why or step.action in (Action.CREATE, Action.START)
        assert told, f"{step.address} is not explained"
        known = step.before is not None and step.before is not UNKNOWN
        assert known or step.action in (Action.CREATE, Action.START, Action.UPDATE), step.address


@law(20)
@given(servers, servers)
def test_data_is_destroyed_only_where_it_was_in_memory(before: dict[str, Any], after: dict[str, Any]) -> None:
    world = World(SHIPPED)
    world.converge(spec(before), Secret("x"))
    try:
        plan = world.plan(spec(after), Secret("x"))
    except RefusedError as refused:
        _about_the_major(refused)
        return
    in_memory = any(isinstance(spec(each).server.data, Ephemeral) for each in (before, after))
    for step in plan.steps:
        assert not step.destroys or in_memory
        for effect in step.effects:
            assert getattr(effect, "operation", "") not in ("remove_volume", "remove_network")


DISRUPTIVE = (Action.RESTART, Action.RECREATE)


def running(server: dict[str, Any]) -> World:
    """Have a server that is as declared."""
    world = World(SHIPPED)
    assert world.converge(spec(server), Secret("x"))[-1].is_empty
    return world


@law(20)
@given(servers, servers)
def test_without_a_restart_what_disconnects_waits_and_is_named(before: dict[str, Any], after: dict[str, Any]) -> None:
    world, declared = running(before), spec(after)
    try:
        whole = world.plan(declared, Secret("x"))
    except RefusedError as refused:
        _about_the_major(refused)
        return
    patient = world.plan(declared, Secret("x"), wishes=Wishes(no_restart=True))
    waiting = [step for step in whole.steps if step.action in DISRUPTIVE]
    assert not [step for step in patient.steps if step.action in DISRUPTIVE]
    assert any("waits" in note for note in patient.notes) == bool(waiting)
    assert not [note for note in whole.notes if "waits" in note]
    if not waiting:
        assert patient.steps == whole.steps
    for step in waiting:
        named = "; ".join(map(str, step.why))
        assert any(named in note for note in patient.notes) or step.address.kind == "settings"


@pytest.mark.parametrize(
    ("setting", "action"),
    [
        ({"max_locks_per_transaction": 128}, Action.RESTART),
        ({"shared_preload_libraries": "a"}, Action.RESTART),
        ({"wal_level": "logical"}, Action.RESTART),
        ({"work_mem": "8MB"}, Action.RELOAD),
        ({"log_statement": "all"}, Action.RELOAD),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else str(each),
)
def test_a_setting_is_given_and_taken_away_as_its_context_demands(setting: dict[str, Any], action: Action) -> None:
    without, settings = {"image": "postgres:17"}, {"image": "postgres:17", "settings": setting}
    (name,) = setting
    for before, after in ((without, settings), (settings, without)):
        world = running(before)
        (step,) = [each for each in world.plan(spec(after), Secret("x")).steps if each.address.kind == "settings"]
        assert step.action is action
        assert [each.field for each in step.why if isinstance(each, Change)] == [name]
        assert (f"restart, because {name} can only be set" in step.consequence) == (action is Action.RESTART)
        assert world.converge(spec(after), Secret("x"))[-1].is_empty
        patient = running(before).plan(spec(after), Secret("x"), wishes=Wishes(no_restart=True))
        assert any(f"{name}: " in note for note in patient.notes) == (action is Action.RESTART)


@pytest.mark.parametrize(
    ("setting", "actions"), [({"max_locks_per_transaction": 64}, []), ({"work_mem": "4MB"}, [Action.RELOAD])]
)
def test_a_default_that_is_taken_away_restarts_nothing(setting: dict[str, Any], actions: list[Action]) -> None:
    world = running({"image": "postgres:17", "settings": setting})
    steps = world.plan(spec({"image": "postgres:17"}), Secret("x")).steps
    assert [each.action for each in steps if each.address.kind == "settings"] == actions


@pytest.mark.parametrize(("clients", "words"), [(1, "a client is connected now"), (7, "7 clients are connected now")])
def test_a_step_that_disconnects_counts_the_clients(clients: int, words: str) -> None:
    world, declared = running({"image": "postgres:17"}), spec({"image": "postgres:17", "max_connections": 50})
    steps = world.plan(declared, Secret("x"), clients=clients).steps
    assert [step.consequence.endswith(f"; {words}") for step in steps] == [step.action in DISRUPTIVE for step in steps]
    assert [step.clients for step in steps] == [clients if step.action in DISRUPTIVE else 0 for step in steps]
    assert not any(step.clients for step in world.plan(declared, Secret("x")).steps)


OPTIONS: dict[str, tuple[Any, Any]] = {
    "image": ("postgres:16", "postgres:17.1"),
    "container_name": ("a", "b"),
    "volumes": (["./x:/x"], ["./x:/x:ro"]),
    "secrets": (["one"], ["two"]),
    "command": (["postgres"], ["postgres", "-c", "x=y"]),
    "entrypoint": (["a"], ["b"]),
    "environment": ({"A": "1"}, {"A": "2"}),
    "labels": ({"a": "1"}, {"a": "2"}),
    "healthcheck": ({"test": "true", "retries": 1}, {"test": "true", "retries": 2}),
    "hostname": ("a", "b"),
    "user": ("a", "b"),
    "stop_signal": ("SIGINT", "SIGTERM"),
    "stop_grace_period": ("1s", "1m"),
    "ports": (["127.0.0.1:1:5432"], ["127.0.0.1:2:5432"]),
    "restart": ("always", "on-failure:3"),
    "shm_size": ("1m", "1g"),
    "mem_limit": ("1g", "2g"),
    "cpus": (1, 1.5),
    "tmpfs": ("/a", "/a:size=1m"),
    "ulimits": ({"nofile": 1}, {"nofile": {"soft": 1, "hard": 2}}),
    "init": (True, False),
    "cap_add": (["A"], ["B"]),
    "cap_drop": (["A"], ["B"]),
    "security_opt": (["a"], ["b"]),
    "extra_hosts": (["a:1.1.1.1"], ["a:2.2.2.2"]),
    "sysctls": ({"net.core.somaxconn": 1}, {"net.core.somaxconn": 2}),
}


@pytest.mark.parametrize("option", sorted({*TRANSLATIONS, *compose._HANDLED}))
def test_every_option_of_the_service_changes_the_fingerprint(option: str) -> None:
    def fingerprint(**options: Any) -> str:
        secrets = {name: {"file": f"./{name}"} for name in ("one", "two")}
        service = {"image": "postgres:17", "container_name": "shop", **options}
        document = {"services": {"db": service}, "secrets": secrets}
        return compose.fingerprint(compose.read(yaml.safe_dump(document), HERE))

    one, other = OPTIONS[option]
    prints = {fingerprint(), fingerprint(**{option: one}), fingerprint(**{option: other})}
    assert len(prints) == 3
    assert fingerprint(**{option: one}) == fingerprint(**{option: one})
