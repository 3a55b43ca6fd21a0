"""What works on every engine: a working day with each place for the data, and an upgrade. Then nothing is left to do.

`tests/engines` runs this file on each engine that it brings along, as whoever runs the engine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from provision.system.engine_address import address_to_keep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.environment import Environment

PLACES: Mapping[str, Mapping[str, Any]] = {
    "volume": {},
    "path": {"path": "./postgresql/the db"},
    "ephemeral": {"ephemeral": True},
}
ROWS = "SELECT name FROM userdata ORDER BY id"


def quiet(environment: Environment) -> None:
    """See that nothing is left to do, and that an apply agrees."""
    environment.settled()
    container = environment.container["Id"]
    assert "nothing to do" in environment.apply().out
    assert environment.container["Id"] == container


@pytest.mark.parametrize("place", PLACES)
def test_a_working_day(environment: Environment, place: str) -> None:
    keeps = [("Zoë",)] if place != "ephemeral" else []
    environment.server(data=PLACES[place] or None).migrations("userdata").apply()
    quiet(environment)
    address, kept = environment.engine.address, environment.home / "engine"
    assert (kept.read_text() if kept.exists() else None) == address_to_keep(address, os.environ)
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")

    before = environment.container["Id"], environment.started()
    environment.server(settings={"work_mem": "6MB"}).apply()
    assert (environment.container["Id"], environment.started()) == before
    assert environment.setting("work_mem") == "6MB"

    environment.server(resources={"shm_size": "300m"}, credentials={"user": "one two-ü"} if keeps else {})
    told = environment.run("plan").out
    assert "recreate  container/" in told
    assert "shm size" in told
    assert "image" not in told
    environment.apply()
    quiet(environment)
    assert environment.query(ROWS) == keeps

    environment.run("stop")
    environment.run("start")
    environment.run("restart")
    if not keeps:
        environment.apply()
    quiet(environment)
    assert environment.run("status", "--json").json()["server"] == "running"
    assert "database system is ready" in environment.run("logs").out
    environment.run("verify")

    environment.run("destroy", "--yes")
    assert environment.engine.containers(environment.name) == []
    environment.apply()
    quiet(environment)
    assert environment.query(ROWS) == keeps
    environment.run("destroy", "--data", "--yes")
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]
    assert not (environment.directory / "postgresql" / "the db").exists()
    assert not environment.home.exists()


def test_an_upgrade(environment: Environment) -> None:
    environment.migrations("userdata").apply()
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    environment.server(image="postgres:18").run("upgrade", "--yes")
    assert environment.setting("server_version").startswith("18.")
    assert environment.query(ROWS) == [("Zoë",)]
    quiet(environment)
    environment.run("upgrade", "--finish", "--yes")
    quiet(environment)
    environment.run("destroy", "--data", "--yes")
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]
    assert environment.engine.containers(environment.name) == []


def test_who_is_in_the_way_is_told(environment: Environment) -> None:
    """A container that has the port, another server's container on the data, and one that no spec made."""
    name = environment.name
    environment.apply()
    port = environment.port
    environment.run("stop")
    with environment.engine.stranger(f"{name}-stranger", publish={5432: ("127.0.0.1", port)}, ports=[5432]) as stranger:
        environment.engine.client.start(stranger)
        told = environment.run("apply", code=1).err
        assert f"the port {port} of 127.0.0.1 is taken by the container '{name}-stranger'" in told
    environment.apply()
    other = environment.engine.client.create_host_config(binds=[f"{name}-data:/theirs"])
    environment.run("stop")
    made = environment.engine.client.create_container(
        "postgres:17", ["sleep", "600"], name=f"{name}-other", host_config=other, entrypoint=[]
    )
    environment.engine.client.start(made["Id"])
    told = environment.run("apply", code=1).err
    assert f"the volume '{name}-data' is in use by the container '{name}-other'" in told
    assert f"next: {environment.engine.program} stop {name}-other" in told
