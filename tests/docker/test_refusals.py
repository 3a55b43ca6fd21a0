"""What is refused before anything is touched: things of others, taken ports, images and engines that are not there."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.environment import an_environment

from provision.system import ports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.environment import Environment


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied."""
    return shared().keep()


def refused(environment: Environment, *told: str, code: int = 1) -> None:
    """See that plan and apply say the same, and that nothing was made or written."""
    events = environment.engine.record(environment.name)
    for words in ("plan", "apply"):
        ran = environment.run(words, code=code)
        for each in told:
            assert each in ran.err, ran.all
    assert events.seen() == []
    assert not environment.home.exists()


def test_a_container_of_that_name_that_is_not_ours(environment: Environment) -> None:
    with environment.engine.stranger(environment.name) as stranger:
        refused(environment, f"a container named '{environment.name}' is there already", "docker rm -f")
        environment.run("destroy", "--data", "--yes", code=1)
        assert environment.engine.inspect(stranger)["State"]["Status"] == "created"


def test_the_same_name_from_another_directory(environment: Environment, running: Environment) -> None:
    environment.declare(name=running.name)
    events = running.engine.record(running.name)
    for words in ("plan", "apply", "stop", "restart", "destroy", "destroy --data --yes", "psql"):
        ran = environment.run(*words.split(), code=1)
        assert f"belongs to the environment '{running.name}' of {running.directory}" in ran.err, words
    assert events.seen() == []


def test_the_volume_of_another_environment(environment: Environment, running: Environment) -> None:
    environment.server(data={"volume": f"{running.name}-data"})
    refused(environment, f"the volume '{running.name}-data' belongs to the environment '{running.name}'")


def test_a_moved_directory_stays_the_owner(environment: Environment) -> None:
    environment.apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    moved = environment.directory.rename(environment.directory.parent / "moved to")
    environment.directory, environment.spec = moved, moved / "spec.yml"
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    environment.settled()


def test_a_port_that_a_container_has(environment: Environment, running: Environment) -> None:
    environment.server(port=running.port)
    refused(environment, f"the port {running.port} of 127.0.0.1 is taken by the container '{running.name}'")


def test_a_port_that_a_process_has(environment: Environment) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        refused(environment.server(port=port), f"the port {port} of 127.0.0.1 is taken by", ", process ")
        suggested = int(environment.run("plan", code=1).err.split("server.port: ")[1].split("`")[0])
        assert ports.is_port_free("127.0.0.1", suggested)


def test_a_remembered_port_that_was_taken_meanwhile(environment: Environment) -> None:
    environment.apply()
    port = environment.port
    environment.run("destroy")
    with closing(socket.create_server(("127.0.0.1", port))):
        told = environment.run("apply", code=1).err
        assert f"the port {port} of 127.0.0.1 is taken by" in told
    environment.apply()
    assert environment.port == port


def test_a_stopped_server_whose_port_was_taken(environment: Environment) -> None:
    environment.apply()
    environment.run("stop")
    with closing(socket.create_server(("127.0.0.1", environment.port))):
        for words in ("plan", "apply", "start"):
            assert "is taken by" in environment.run(words, code=1).err, words
    environment.apply()


def test_an_image_that_cannot_be_pulled(environment: Environment) -> None:
    image = "localhost:9/nobody/postgres:17"
    environment.server(image=image)
    assert f"create image/{image}" in environment.actions()
    ran = environment.run("apply", code=1)
    assert f"the image '{image}' is not in the engine at unix:///var/run/docker.sock" in ran.err
    assert "connection refused" in ran.err
    assert f"docker pull {image}" in ran.err
    assert environment.engine.containers(environment.name) == []


@pytest.mark.parametrize("words", ["plan", "apply", "status", "stop", "destroy", "logs"])
def test_an_engine_that_does_not_answer(environment: Environment, words: str) -> None:
    ran = environment.run(words, code=69, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "no Docker engine answers at unix:///nowhere/docker.sock (from DOCKER_HOST)" in ran.err
    assert "FileNotFoundError" in ran.err


def test_an_engine_elsewhere_that_does_not_answer(environment: Environment) -> None:
    ran = environment.run("apply", code=69, DOCKER_HOST="tcp://127.0.0.1:9")
    assert "no Docker engine answers at tcp://127.0.0.1:9 (from DOCKER_HOST)" in ran.err
    assert "refused" in ran.err


def test_a_context_is_followed_and_named(environment: Environment, tmp_path: Path) -> None:
    config = tmp_path / "docker"
    config.mkdir()
    (config / "config.json").write_text('{"currentContext": "faraway"}')
    ran = environment.run("plan", code=69, DOCKER_CONFIG=str(config))
    assert "the docker context 'faraway' cannot be read" in ran.err


def test_two_environments_do_not_meet(environment: Environment, running: Environment, tmp_path: Path) -> None:
    with an_environment(environment.engine, tmp_path / "other") as other:
        other.apply()
        environment.apply()
        assert len({each.port for each in (other, environment, running)}) == 3
        other.run("destroy", "--data", "--yes")
        environment.settled()
        running.settled()
