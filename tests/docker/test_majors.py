"""Every supported major version: from nothing, with data, removed, and back again with the same data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environment import Environment

MOUNTS = {
    14: "/var/lib/postgresql/data",
    16: "/var/lib/postgresql/data",
    17: "/var/lib/postgresql/data",
    18: "/var/lib/postgresql",
}


@pytest.mark.parametrize("major", MOUNTS)
def test_the_data_survives_the_container(environment: Environment, major: int) -> None:
    environment.server(image=f"postgres:{major}").migrations("userdata", "orders").apply()
    environment.query("INSERT INTO userdata (name) SELECT 'Zoë ' || n FROM generate_series(1, 1000) AS n")
    (mount,) = (each for each in environment.container["Mounts"] if each["Type"] == "volume")
    assert (mount["Destination"], mount["Name"]) == (MOUNTS[major], f"{environment.name}-data")
    assert environment.query("SHOW server_version")[0][0].startswith(f"{major}.")
    rows = environment.query("SELECT md5(string_agg(name, ',' ORDER BY id)) FROM userdata")

    told = environment.run("destroy").out
    assert "the data stays" in told
    assert environment.engine.containers(environment.name) == []
    assert "absent" in environment.run("status").out

    environment.apply()
    assert environment.query("SELECT md5(string_agg(name, ',' ORDER BY id)) FROM userdata") == rows
    assert environment.query("SELECT version_num FROM alembic_version") == [("r2",)]
    environment.settled()


def test_another_major_is_refused(environment: Environment) -> None:
    environment.server(image="postgres:16").apply()
    environment.server(image="postgres:17")
    for words in ("plan", "apply"):
        ran = environment.run(words, code=1)
        assert "was made by PostgreSQL 16" in ran.err
        assert "provision upgrade spec.yml" in ran.err
    environment.run("destroy")
    assert "was made by PostgreSQL 16" in environment.run("apply", code=1).err, "the volume remembers its major"
    environment.server(image="postgres:16").apply()


def test_destroy_with_data_removes_all_of_it(environment: Environment) -> None:
    environment.apply()
    refused = environment.run("destroy", "--data", code=64)
    assert "DESTROYS DATA" in refused.err
    environment.settled()
    environment.run("destroy", "--data", "--yes")
    client = environment.engine.client
    assert environment.engine.containers(environment.name) == []
    assert client.networks(names=[environment.name]) == []
    assert not client.volumes(filters={"name": environment.name})["Volumes"]
    assert not environment.home.exists()
    assert "nothing to destroy" in environment.run("destroy", "--data", "--yes").out
