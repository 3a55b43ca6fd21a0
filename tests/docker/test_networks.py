"""The network of an environment: the engine's default bridge, or the one that its own template declares."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
from support.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment

BRIDGE = "    network_mode: bridge\n"


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment with a row in its data."""
    made = shared()
    made.apply()
    made.query("CREATE TABLE kept AS SELECT 1 AS id")
    return made


def with_template(environment: Environment, change: Callable[[str], str]) -> None:
    """Give an environment a compose template of its own: the shipped one, changed."""
    own = environment.directory / "templates"
    own.mkdir(exist_ok=True)
    text = (ROOT / "templates" / "docker-compose.yml.j2").read_text(encoding="utf-8")
    (own / "docker-compose.yml.j2").write_text(change(text), encoding="utf-8")
    environment.declare(templates="./templates")


def as_before(text: str) -> str:
    """Return the template as it was while each environment had a network, and the server the password."""
    without = "".join(line for line in text.splitlines(keepends=True) if "BASH_ENV" not in line)
    return without.replace(BRIDGE, "")


def networks(environment: Environment) -> list[str]:
    """Return the networks of the engine that bear an environment's name."""
    return sorted(each["Name"] for each in environment.engine.client.networks(names=[environment.name]))


def attached(environment: Environment) -> dict[str, Any]:
    """Return the networks that the container is attached to."""
    return dict(environment.container["NetworkSettings"]["Networks"])


@contextlib.contextmanager
def neighbour(environment: Environment, network: str) -> Iterator[None]:
    """Have another container attached to a network, which does not even run."""
    client, name = environment.engine.client, f"{environment.name}-neighbour"
    host = client.create_host_config(network_mode=network)
    made = client.create_container("postgres:17", ["true"], name=name, host_config=host)
    try:
        yield
    finally:
        client.remove_container(made["Id"], force=True, v=True)


def test_there_is_no_network_of_its_own(running: Environment) -> None:
    assert networks(running) == []
    assert list(attached(running)) == ["bridge"]


def test_an_existing_network_goes_with_the_container_that_used_it(running: Environment) -> None:
    ours = f"{running.name}_default"
    with_template(running, as_before)
    running.apply()
    assert "where SQL can read it; write `BASH_ENV" in running.run("plan").out
    assert list(attached(running)) == [ours]
    running.declare(templates=None)
    with neighbour(running, ours):
        assert f"remove network/{ours}" not in running.actions()
        running.apply()
        assert sorted(attached(running)) == ["bridge", ours]
        assert {"postgres", running.name} <= set(attached(running)[ours]["Aliases"])
        assert "BASH_ENV" not in running.settled().out
    running.server(stop_timeout="11s")
    assert f"remove network/{ours}" in running.actions()
    running.apply()
    assert networks(running) == []
    assert list(attached(running)) == ["bridge"]
    assert running.query("SELECT id FROM kept") == [(1,)]
    running.settled()


def test_a_network_that_somebody_attached_survives_a_new_container(running: Environment) -> None:
    client, other = running.engine.client, f"{running.name}-other"
    client.create_network(other)
    try:
        client.connect_container_to_network(running.name, other, aliases=["db"])
        running.server(stop_timeout="12s").apply()
        assert "db" in attached(running)[other]["Aliases"]
    finally:
        client.disconnect_container_from_network(running.name, other)
        client.remove_network(other)


def test_a_network_that_the_template_declares(environment: Environment) -> None:
    service = "    networks:\n      back:\n        aliases: [db]\n"
    declared = f"\nnetworks:\n  back:\n    name: {environment.name}-back\n"
    with_template(environment, lambda text: text.replace(BRIDGE, service) + declared)
    environment.apply()
    assert networks(environment) == [f"{environment.name}-back"]
    assert "db" in attached(environment)[f"{environment.name}-back"]["Aliases"]
    environment.settled()
    with neighbour(environment, f"{environment.name}-back"):
        environment.run("destroy")
        assert networks(environment) == [f"{environment.name}-back"]
    environment.run("destroy", "--data", "--yes")
    assert networks(environment) == []


def test_a_network_that_is_not_ours_is_never_removed(environment: Environment) -> None:
    theirs = f"{environment.name}-theirs"
    declared = f"\nnetworks:\n  theirs:\n    name: {theirs}\n    external: true\n"
    with_template(environment, lambda text: text.replace(BRIDGE, "    networks: [theirs]\n") + declared)
    environment.engine.client.create_network(theirs)
    environment.apply()
    environment.run("destroy", "--data", "--yes")
    assert networks(environment) == [theirs]


def test_a_shared_network_that_was_deleted_is_not_waited_for(environment: Environment) -> None:
    with_template(environment, as_before)
    environment.apply()
    environment.run("stop")
    client = environment.engine.client
    client.disconnect_container_from_network(environment.name, f"{environment.name}_default")
    with contextlib.suppress(docker.errors.NotFound):
        client.remove_network(f"{environment.name}_default")
    environment.declare(templates=None).apply()
    environment.settled()
