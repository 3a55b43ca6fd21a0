"""What a template may give a container only where the spec says so, in every spelling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.fake import World

from provision.errors import RefusedError
from provision.model import Secret
from provision.runtimes import docker
from provision.runtimes.docker import compose, privileges
from provision.spec.load import read

if TYPE_CHECKING:
    from provision.spec.model import Spec

ROOT = Path(__file__).parents[2]
TEMPLATES = {name: (ROOT / "templates" / name).read_text() for name in docker.TEMPLATES}
AT = Path("/nowhere/project/.provision/x/docker-compose.yml")
SPEC = "name: xx\nserver: {image: 'postgres:17', runtime: docker, port: 5999%s}\n"
NOTHING = {
    "volumes: [/etc:/x]",
    "volumes: [/var/lib/data:/x]",
    "volumes: [./docker:/x]",
    "volumes: [/run/postgresql:/x]",
    "volumes: [/var/running:/x]",
    "volumes: [{type: tmpfs, target: /run}]",
    "ports: ['127.0.0.1:1:2', '[::1]:3:4', '10.0.0.1:5:6']",
    "cap_drop: [ALL]",
    "security_opt: [no-new-privileges]",
}
FOUND = {
    "volumes: [/:/x]": "root",
    "volumes: ['/.:/x:ro']": "root",
    "volumes: ['//:/x']": "root",
    "volumes: [/etc/..:/x]": "root",
    "volumes: [../../../../../../../../../..:/x]": "root",
    "secrets: [host]": "root",
    "volumes: [/var/run/docker.sock:/x]": "engine_socket",
    "volumes: [/run//docker.sock:/x]": "engine_socket",
    "volumes: [/var/run:/x]": "engine_socket",
    "volumes: [/run/.:/x]": "engine_socket",
    "volumes: [/run/podman:/x]": "engine_socket",
    "volumes: [/run/podman/podman.sock:/x]": "engine_socket",
    "volumes: [/run/user/1001:/x]": "engine_socket",
    "volumes: [/run/user:/x]": "engine_socket",
    "volumes: [/run/user/1001/podman/podman.sock:/x]": "engine_socket",
    "volumes: [/home/me/.colima/default/docker.sock:/x]": "engine_socket",
    "volumes: [/run/containerd:/x]": "engine_socket",
    "volumes: [/home/me/engine/here.sock:/x]": "engine_socket",
    "volumes: [/home/me/engine:/x]": "engine_socket",
    "secrets: [engine]": "engine_socket",
    "cap_add: [NET_ADMIN]": "capabilities",
    "cap_add: SYS_ADMIN": "capabilities",
    "security_opt: ['seccomp:unconfined']": "capabilities",
    "security_opt: [apparmor=unconfined]": "capabilities",
    """security_opt: ['seccomp:{"defaultAction":"SCMP_ACT_ALLOW"}']""": "capabilities",
    "security_opt: ['seccomp=/profile.json']": "capabilities",
    "security_opt: ['apparmor:custom-all']": "capabilities",
    "security_opt: ['label:disable']": "capabilities",
    "security_opt: [systempaths=unconfined]": "capabilities",
    "ports: ['1:2']": "publish_all",
    "ports: ['0.0.0.0:1:2']": "publish_all",
    "ports: ['0:1:2']": "publish_all",
    "ports: ['[::]:1:2']": "publish_all",
    "ports: ['[0::0]:1:2']": "publish_all",
}


def found(key: str) -> set[str]:
    text = (
        f"services: {{x: {{image: a, container_name: b, {key}}}}}\n"
        "secrets: {host: {file: /..}, engine: {file: /var/run/docker.sock}}\n"
    )
    body = compose.read(text, AT).body
    return {
        each.word
        for each in privileges.granted(body["HostConfig"], body["HostConfig"]["Mounts"], "/home/me/engine/here.sock")
    }


@pytest.mark.parametrize("key", FOUND)
def test_a_power_is_seen_in_every_spelling(key: str) -> None:
    assert found(key) == {FOUND[key]}


@pytest.mark.parametrize("key", sorted(NOTHING))
def test_what_stays_in_the_container_needs_no_word(key: str) -> None:
    assert found(key) == set()


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("/proc/1/root/", "root"),
        ("/proc/self/task/1/root/.", "root"),
        ("//proc/1/root/proc/2/root/x/..", "root"),
        ("/proc/1/root/var/run/docker.sock", "engine_socket"),
        ("/proc/1/root//run", "engine_socket"),
    ],
)
def test_the_root_of_a_process_of_the_host_is_the_host_s(source: str, word: str) -> None:
    (seen,) = privileges.granted({}, [{"Type": "bind", "Source": source, "Target": "/x"}])
    assert seen.word == word


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": True},
        {"Devices": [{"PathOnHost": "/dev/sda"}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"PidMode": "host"},
        {"IpcMode": "host"},
        {"UsernsMode": "host"},
        {"UTSMode": "host"},
    ],
)
def test_what_compose_does_not_say_yet_is_seen_in_the_call(host: dict[str, object]) -> None:
    assert {each.word for each in privileges.granted(host, ())} == {"capabilities"}
    assert {each.word for each in privileges.granted({"NetworkMode": "host"}, ())} == {"publish_all"}


def declared(*, may: tuple[str, ...] = (), host: str = "127.0.0.1") -> Spec:
    spec = read(Path("/nowhere/project/spec.yml"), (SPEC % f", host: '{host}'").encode(), {})
    return replace(spec, templates_may=may)


def world(extra: str) -> World:
    compose_ = TEMPLATES["docker-compose.yml.j2"].replace("    labels:\n", f"    {extra}\n    labels:\n", 1)
    return World({**TEMPLATES, "docker-compose.yml.j2": compose_})


def test_a_power_is_refused_and_the_error_names_the_key() -> None:
    there = world("cap_add: [NET_ADMIN]")
    with pytest.raises(RefusedError) as caught:
        there.plan(declared(), Secret("pw"))
    assert caught.value.evidence == ("capabilities: it adds the capabilities NET_ADMIN",)
    assert "`templates_may: [capabilities]`" in str(caught.value.next_step)
    with pytest.raises(RefusedError, match="more than the spec allows"):
        there.plan(declared(may=("root",)), Secret("pw"))


def test_what_is_allowed_stands_in_the_plan() -> None:
    plan = world("cap_add: [NET_ADMIN]").plan(declared(may=("capabilities",)), Secret("pw"))
    (created,) = (each for each in plan.steps if each.address.kind == "container")
    assert created.consequence == "it adds the capabilities NET_ADMIN (capabilities)"
    assert plan.remarks == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  # declared, not bound
def test_an_address_that_the_spec_declares_needs_no_word(host: str) -> None:
    assert World(TEMPLATES).plan(declared(host=host), Secret("pw")).steps


def test_a_container_that_has_a_power_converges_with_a_warning() -> None:
    there, allowed = world("cap_add: [NET_ADMIN]"), declared(may=("capabilities",))
    there.converge(allowed, Secret("pw"))
    plan = there.plan(declared(), Secret("pw"))
    assert plan.is_empty
    (remark,) = plan.remarks
    assert remark == (
        "the container adds the capabilities NET_ADMIN; write `templates_may: [capabilities]` in the spec to keep it"
    )
    changed = replace(declared(), server=replace(allowed.server, resources=replace(allowed.server.resources, cpus=1.0)))
    assert there.converge(changed, Secret("pw"))[-1].is_empty
    there.objects.pop("containers/xx")
    with pytest.raises(RefusedError):
        there.plan(declared(), Secret("pw"))
