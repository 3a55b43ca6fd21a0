"""Images that keep their data elsewhere than the official one does, and images with volumes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.image import build, build_from, remove

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment

TEMPLATE = Path(__file__).parent.parent.parent / "templates" / "docker-compose.yml.j2"


@pytest.fixture
def of_image(environment: Environment) -> Iterator[Callable[[str], Environment]]:
    """Declare an image that is built for this test."""

    def declare(name: str) -> Environment:
        reference = f"{environment.name}-{name}:17"
        build(environment.engine, name, reference)
        return environment.server(image=reference)

    yield declare
    environment.engine.remove_all(environment.name)
    remove(environment.engine, environment.name)


def follow(environment: Environment, command: str) -> None:
    """Type what an error advises, up to the words in brackets behind it."""
    words = command.partition("   (")[0].replace("provision ", f"{sys.executable} -m provision ")
    done = subprocess.run(
        ("bash", "-c", words), cwd=environment.directory, env=environment.environ, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def mount_of(environment: Environment, directory: str) -> str:
    """Return the source of the mount that holds a directory of the container."""
    mounts = [
        each for each in environment.container["Mounts"] if (directory + "/").startswith(each["Destination"] + "/")
    ]
    return max((each for each in mounts), key=lambda each: len(each["Destination"])).get("Name") or mounts[0]["Source"]


@pytest.mark.parametrize(
    ("image", "data"),
    [
        ("pgdata-elsewhere", {}),
        ("pgdata-elsewhere", {"data": {"path": "./db"}}),
        ("pgdata-with-volume", {}),
        ("extra-volume", {}),
    ],
)
def test_the_data_outlives_the_container(
    of_image: Callable[[str], Environment], image: str, data: dict[str, dict[str, str]]
) -> None:
    environment = of_image(image).server(**data).migrations("userdata")
    environment.apply()
    environment.query("INSERT INTO userdata VALUES (42, 'Zoë')")
    declared = str(environment.directory / "db") if data else f"{environment.name}-data"
    assert mount_of(environment, environment.setting("data_directory")) == declared
    first = environment.container
    assert "nothing to do" in environment.apply().out
    assert environment.container["Id"] == first["Id"]
    for each in (
        mount["Destination"] for mount in first["Mounts"] if re.fullmatch("[0-9a-f]{64}", mount.get("Name", ""))
    ):
        environment.engine.run(environment.name, "touch", f"{each}/mine")

    environment.server(resources={"shm_size": "300m"})
    assert "the data is kept" in environment.run("plan").out
    environment.apply()
    second = environment.container
    assert second["Id"] != first["Id"]
    assert environment.query("SELECT name FROM userdata WHERE id = 42") == [("Zoë",)]
    if image == "extra-volume":
        assert "mine" in environment.engine.run(environment.name, "ls", "/var/backups/pg"), "volumes go on as well"
    environment.settled()

    told = environment.run("destroy").out
    for extra in re.findall(r"the volume ([0-9a-f]{64}), which was at /var/backups/pg, stays", told):
        environment.engine.client.remove_volume(extra)
    assert ("which was at" in told) == (image == "extra-volume")
    environment.apply()
    assert environment.query("SELECT name FROM userdata WHERE id = 42") == [("Zoë",)]
    environment.run("destroy", "--data", "--yes")
    assert not data or not (environment.directory / "db").exists()


def test_a_server_that_keeps_its_data_elsewhere_is_found_out(of_image: Callable[[str], Environment]) -> None:
    environment = of_image("own-program").migrations("userdata")
    lost = (
        f"the data of '{environment.name}' is in /srv/pg of the container '{environment.name}', and not in the volume"
    )
    assert lost in environment.run("apply", code=1).err
    assert "the container's own layer" in environment.run("plan", code=1).err
    assert "running" in environment.run("status", code=1).out
    tables = "SELECT count(*) FROM pg_class WHERE relname IN ('userdata', 'alembic_version')"
    assert environment.query(tables) == [(0,)], "nothing was migrated"
    environment.engine.run(environment.name, "psql", "-c", "CREATE TABLE kept AS SELECT 42 AS answer", user="postgres")
    environment.engine.client.stop(environment.name)
    assert lost in environment.run("destroy", code=1).err, "the engine sees it as well"

    own = TEMPLATE.read_text().replace("{{ data_target | quote }}", "/srv/pg")
    (environment.directory / "templates").mkdir()
    (environment.directory / "templates" / TEMPLATE.name).write_text(
        own.replace("    environment:\n", "    environment:\n      PGDATA: /srv/pg\n")
    )
    refused = environment.declare(templates="./templates").run("apply", "--json", code=1).json()
    follow(environment, refused["next"])
    assert environment.engine.run(environment.name, "psql", "-Atc", "SELECT * FROM kept", user="postgres") == "42\n"
    environment.settled()


def test_a_container_whose_data_is_not_on_its_mount_is_never_made_anew(environment: Environment) -> None:
    """As those that earlier versions have made of an image with a PGDATA of its own."""
    environment.apply()
    client, made = environment.engine.client, environment.container
    body = {**made["Config"], "HostConfig": made["HostConfig"], "NetworkingConfig": {"EndpointsConfig": {}}}
    body["Env"] = [each for each in body["Env"] if not each.startswith("PGDATA=")] + ["PGDATA=/srv/other"]
    client.remove_container(environment.name, force=True)
    volume = client.inspect_volume(f"{environment.name}-data")
    client.remove_volume(volume["Name"])
    client.create_volume(volume["Name"], labels=volume["Labels"])
    client.create_container_from_config(body, environment.name)
    client.start(environment.name)
    for _ in attempts(60, 0.1):  # while it is being made, the container does not listen to the signal that stops it
        if "accepting" in environment.engine.run(environment.name, "pg_isready", "-h", "127.0.0.1"):
            break
    for words in (("plan",), ("apply",), ("destroy",)):
        assert "is in /srv/other of the container" in environment.run(*words, code=1).err
    assert environment.container["State"]["Running"]
    follow(environment, environment.run("apply", "--json", code=1).json()["next"])
    assert environment.setting("data_directory") == "/var/lib/postgresql/data"
    environment.settled()
    client.remove_container(f"{environment.name}.old", v=True)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ENV PGDATA=/proc/pg", "no volume can be mounted there"),
        ("VOLUME /var/lib/postgresql/data/pg_wal", "a part of it"),
        ("ENV PGDATA=", "PGDATA is empty"),
        ("USER postgres", "starts as the user 'postgres', who cannot read the file with the password"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_anything_is_made(
    environment: Environment, line: str, why: str
) -> None:
    build_from(environment.engine, f"FROM postgres:17\n{line}\n", f"{environment.name}-odd:17")
    try:
        events = environment.server(image=f"{environment.name}-odd:17").engine.record(environment.name)
        assert why in environment.run("apply", code=1).err
        assert events.seen() == []
    finally:
        remove(environment.engine, environment.name)
