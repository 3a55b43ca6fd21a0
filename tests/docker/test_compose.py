"""The rendered compose file is what runs: Compose makes the same container of it, and each side takes the other's."""

from __future__ import annotations

import copy
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from provision.runtimes.names import MACHINE, USER

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment

# What the engine makes up for each container.
_OF_THIS_CONTAINER = ("Id", "Created", "State", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "Name",
                      "RestartCount", "ExecIDs", "GraphDriver", "AppArmorProfile")  # fmt: skip
# Compose's version and the id of the image, which ours knows only once the image was pulled.
_OF_COMPOSE = ("com.docker.compose.config-hash", "com.docker.compose.version", "com.docker.compose.image",
               "com.docker.compose.depends_on", "com.docker.compose.replace")  # fmt: skip
_OF_THIS_RUN = (USER, MACHINE)
"""Who made it, and where: no file says it, so that the next run of another user renders the same."""


@pytest.fixture(scope="module", params=["plain", "everything"])
def made(request: pytest.FixtureRequest, shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied: the least that a spec can say, and all of it."""
    environment = shared()
    if request.param == "everything":
        environment.server(
            image="postgres:18",
            max_connections=30,
            resources={"memory": "512m", "cpus": 1.5, "shm_size": "128m"},
            stop_timeout="45s",
            credentials={"user": "one two-ü"},
            data={"volume": f"{environment.name}.of-mine"},
        )
    environment.apply()
    return environment


def compose(environment: Environment, *words: str) -> str:
    """Run Compose on the rendered file."""
    argv = ("docker", "compose", "-f", str(environment.home / "docker-compose.yml"), *words)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def configuration(inspected: dict[str, Any]) -> dict[str, Any]:
    """Return what a container was created with, in the form that both ways of saying it have in common."""
    seen = copy.deepcopy(inspected)
    for key in _OF_THIS_CONTAINER:
        seen.pop(key, None)
    host, config = seen["HostConfig"], seen["Config"]
    left_out = (*_OF_COMPOSE, *_OF_THIS_RUN)
    config["Labels"] = {key: text for key, text in config["Labels"].items() if key not in left_out}
    config["Env"] = sorted(config["Env"])
    config.pop("Hostname")  # the id, where none is given
    # Whether an empty list, an empty object or null is not a known name depends on the client.
    config, host = ({key: value for key, value in each.items() if value} for each in (config, host))
    for key in ("AttachStdout", "AttachStderr"):
        config.pop(key, None)  # of the client that started it
    binds = [dict(zip(("Source", "Target", "Mode"), each.split(":"), strict=False)) for each in host.pop("Binds", [])]
    host["Mounts"] = sorted(
        [
            *({"Type": "volume", "Source": each["Source"], "Target": each["Target"]} for each in binds),
            *({k: v for k, v in each.items() if v and k not in ("VolumeOptions", "BindOptions")}
              for each in host.get("Mounts", [])),
        ],
        key=lambda each: each["Target"],
    )  # fmt: skip
    mounts = sorted(
        ({k: v for k, v in each.items() if k != "Mode"} for each in seen["Mounts"]),
        key=lambda each: each["Destination"],
    )
    networks = {name: sorted(alias for alias in each["Aliases"] or () if alias != inspected["Id"][:12])
                for name, each in seen["NetworkSettings"]["Networks"].items()}  # fmt: skip
    return {**{k: v for k, v in seen.items() if k not in ("NetworkSettings", "Mounts")}, "Config": config,
            "HostConfig": host, "Mounts": mounts, "Networks": networks}  # fmt: skip


def test_compose_lists_ours(made: Environment) -> None:
    listed = subprocess.run(("docker", "compose", "ls"), capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in listed.splitlines() if line.startswith(f"{made.name} "))
    assert "running(1)" in line
    assert str(made.home / "docker-compose.yml")[:20] in line
    shown = subprocess.run(("docker", "compose", "-p", made.name, "ps"), capture_output=True, text=True, check=True)
    assert made.name in shown.stdout
    assert f"127.0.0.1:{made.port}->5432/tcp" in shown.stdout
    assert "database system is ready" in compose(made, "logs")


def test_compose_makes_the_same_container_and_it_is_taken_as_ours(made: Environment) -> None:
    ours = made.container
    made.run("destroy", "--data", "--yes")
    made.run("render")
    compose(made, "up", "-d")
    theirs = made.container
    assert configuration(theirs) == configuration(ours)
    told = made.apply().out
    assert "container/" not in told
    assert "network/" not in told
    assert "volume/" not in told
    assert made.container["Id"] == theirs["Id"], "it was made anew"
    made.settled()
    assert "POSTGRES_PASSWORD" not in made.engine.run(made.name, "cat", "/proc/1/environ", user="postgres")
    compose(made, "down", "-v")
    assert made.engine.containers(made.name) == []


def test_ours_is_taken_by_compose_as_it_is(environment: Environment) -> None:
    environment.apply()
    before = environment.container["Id"]
    environment.run("stop")
    compose(environment, "start")
    assert environment.container["Id"] == before
    environment.answers()
    environment.settled()
