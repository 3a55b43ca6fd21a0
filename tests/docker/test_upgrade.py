"""From one major version to a newer one, with one of everything in the data; back again; and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from support.cluster import facts, fill

if TYPE_CHECKING:
    from support.environment import Environment


def volumes(environment: Environment) -> list[str]:
    """Return what follows the environment's name in the names of its volumes."""
    found = environment.engine.client.volumes(filters={"name": environment.name})["Volumes"] or []
    return sorted(each["Name"].removeprefix(f"{environment.name}-data") for each in found)


def upgraded(environment: Environment, major: int) -> None:
    """Upgrade, and see that everything is there and nothing is left to do."""
    before = facts(environment)
    environment.server(image=f"postgres:{major}")
    refused = environment.run("apply", code=1).err
    assert "cannot be used by" in refused
    assert "provision upgrade spec.yml" in refused
    ran = environment.run("upgrade", "--yes")
    assert f"→ {major}; the old data is kept" in ran.out
    assert environment.query("SHOW server_version")[0][0].startswith(f"{major}.")
    assert facts(environment) == before
    environment.settled()
    assert environment.engine.containers(environment.name) == [environment.container["Id"]]
    assert environment.query("SELECT count(*) FROM pg_stats WHERE schemaname = 'sales'") != [(0,)], "no statistics"
    assert "nothing to upgrade" in environment.run("upgrade", "--yes").out


def test_one_major_after_the_other(environment: Environment) -> None:
    fill(environment.server(image="postgres:14"))
    upgraded(environment, 16)
    assert volumes(environment) == ["", "-16", "-16.verified"]
    environment.run("upgrade", "--finish", "--yes")
    upgraded(environment, 17)
    told = environment.run("status").out
    assert re.search(r"provision upgrade --finish \S+\.yml removes it", told)
    assert re.search(r"provision upgrade --rollback \S+\.yml goes back to it", told)
    upgraded(environment, 18)
    assert volumes(environment) == ["-16", "-16.verified", "-17", "-17.verified", "-18", "-18.verified"]
    environment.query("INSERT INTO userdata (name) VALUES ('later')")
    environment.run("upgrade", "--finish", "--yes")
    assert volumes(environment) == ["-18", "-18.verified"]
    assert "nothing is kept" in environment.run("upgrade", "--finish", "--yes").out
    environment.run("destroy")
    environment.apply()
    assert environment.query("SELECT name FROM userdata ORDER BY id") == [("Zoë",), ("later",)]


def test_over_several_majors_and_back(environment: Environment) -> None:
    fill(environment.server(image="postgres:14", credentials={"user": "Owner of all"}))
    before, made = facts(environment), environment.container["Config"]["Labels"]
    upgraded(environment, 18)
    environment.query("INSERT INTO userdata (name) VALUES ('lost')")
    environment.server(image="postgres:14")
    refused = environment.run("apply", code=1).err
    assert "provision upgrade --rollback spec.yml" in refused
    environment.server(image="postgres:18")
    asked = environment.run("upgrade", "--rollback", code=64).err
    assert "what was written since the upgrade is lost" in asked
    assert "DESTROYS DATA" in asked
    environment.settled()
    told = environment.run("upgrade", "--rollback", "--yes").out
    assert "the server runs postgres:14 again" in told
    assert facts(environment) == before
    environment.server(image="postgres:14").settled()
    assert environment.container["Config"]["Labels"] == made, "it is the container that apply makes"
    assert volumes(environment) == [""]
    assert "there is nothing to go back to" in environment.run("upgrade", "--rollback", "--yes", code=1).err


def test_the_plan_changes_nothing(environment: Environment) -> None:
    environment.server(image="postgres:16").migrations("userdata").apply()
    environment.server(image="postgres:17")
    files, events = environment.files(), environment.engine.record(environment.name)
    told = environment.run("upgrade", "--check").out
    for each in (
        f"create    volume/{environment.name}-data-17",
        "database/shop",
        "writers wait",
        "postgres:16 → postgres:17",
    ):
        assert each in told
    document = environment.run("upgrade", "--check", "--json").json()
    assert document["schema"] == "provision/upgrade/1"
    assert document["steps"][0]["address"] == f"volume/{environment.name}-data-17"
    assert "nothing was done" in environment.run("upgrade", code=64).err
    assert events.seen() == []
    assert environment.files() == files


def test_what_is_refused(environment: Environment) -> None:
    environment.server(image="postgres:17").apply()
    container = environment.container["Id"]
    environment.server(image="postgres:16")
    assert "does not lead back to" in environment.run("upgrade", "--yes", code=1).err
    environment.server(image="postgres:18")
    environment.engine.client.create_volume(f"{environment.name}-data-18")
    assert "one that is not of this environment" in environment.run("upgrade", "--yes", code=1).err
    environment.engine.client.remove_volume(f"{environment.name}-data-18")
    environment.query("CREATE DATABASE shut ALLOW_CONNECTIONS false")
    assert "the database shut accepts no connections" in environment.run("upgrade", "--yes", code=1).err
    environment.query("DROP DATABASE shut")
    assert environment.container["Id"] == container
    environment.run("destroy")
    assert "there is no server that could be read" in environment.run("upgrade", "--yes", code=1).err
    environment.server(data={"path": "./data"})
    assert "only data in a named volume" in environment.run("upgrade", "--yes", code=1).err
    assert "exclude each other" in environment.run("upgrade", "--finish", "--rollback", code=64).err


def test_another_runtime_says_who_does_it(environment: Environment) -> None:
    environment.server(runtime="external", host="127.0.0.1", port=9)
    assert "whoever runs the server upgrades it" in environment.run("upgrade", "--yes", code=1).err
