"""A first initialisation that broke off is done again; data that a server ever ran on is never initialised again."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import pytest

if TYPE_CHECKING:
    from support.environment import Environment

_PLACES = {17: "/there", 18: "/there/18/docker"}


def meddle(environment: Environment, script: str, place: str = "/there", source: str = "") -> None:
    """Change the data of a stopped server."""
    client = environment.engine.client
    host = client.create_host_config(binds=[f"{source or environment.name + '-data'}:/there"])
    made = client.create_container(
        "postgres:17", ["-c", f"cd {place} && {script}"], entrypoint=["sh"], volumes=["/there"], host_config=host
    )
    client.start(made["Id"])
    assert client.wait(made["Id"])["StatusCode"] == 0
    client.remove_container(made["Id"])


def kill_while_it_initialises(environment: Environment) -> None:
    """Kill the server's container once initdb has begun."""
    deadline = time.monotonic() + 60
    while True:
        with suppress(docker.errors.NotFound):
            if any("creating subdirectories" in line for line in environment.log()):
                environment.engine.client.kill(environment.name)
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("major", _PLACES)
def test_it_is_done_again(environment: Environment, major: int) -> None:
    environment.server(image=f"postgres:{major}").migrations("userdata").apply()
    environment.engine.client.kill(environment.name)
    broken = "rm -r postmaster.opts base/1 global/pg_control && sed -i '/^host all all all/d' pg_hba.conf"
    meddle(environment, broken, _PLACES[major])
    told = environment.run("plan").out
    assert "first initialisation was broken off before any server ran on it" in told
    environment.apply()
    environment.settled()
    assert environment.query("SELECT count(*) FROM userdata") == [(0,)]


_FILES = "rm -rf base/1 global/pg_control; sed -i '/^host all all all/d' pg_hba.conf || true"
_REST = "rm -rf PG_VERSION pg_wal global"


@pytest.mark.parametrize(
    ("broken", "major", "kind"), [(_FILES, 17, "volume"), (_REST, 18, "volume"), (_FILES, 18, "directory")]
)
def test_it_is_done_again_in_what_others_have_made(
    environment: Environment, broken: str, major: int, kind: str
) -> None:
    """The volume, or the directory, was there and empty before the first apply, and stays."""
    client, source = environment.engine.client, f"{environment.name}-before"
    if kind == "volume":
        client.create_volume(source, labels={"kept": "yes"})
        environment.server(image=f"postgres:{major}", data={"volume": source})
    else:
        directory = environment.directory / "there"
        directory.mkdir()
        source = str(directory)
        environment.server(image=f"postgres:{major}", data={"path": source})
    run = environment.begin()
    kill_while_it_initialises(environment)
    run.communicate(timeout=60)
    meddle(environment, f"rm -f postmaster.opts; {broken}", _PLACES[major], source)
    assert "first initialisation was broken off before any server ran on it" in environment.run("plan").out
    environment.migrations("userdata").apply()
    environment.settled()
    assert environment.query("SELECT count(*) FROM userdata") == [(0,)]
    if kind == "volume":
        assert client.inspect_volume(source)["Labels"] == {"kept": "yes"}


def test_data_whose_files_the_engine_denies_is_never_made_anew(environment: Environment) -> None:
    """Docker answers 404 for each file of a container, also those of its data, where another mount has no source."""
    shipped = (Path(__file__).parents[2] / "templates" / "docker-compose.yml.j2").read_text()
    mounted, data = environment.directory / "mounted", environment.directory / "there"
    mounted.touch()
    more = f"    volumes:\n      - type: bind\n        source: {mounted}\n        target: /mounted\n"
    (environment.directory / "templates").mkdir()
    (environment.directory / "templates" / "docker-compose.yml.j2").write_text(shipped.replace("    volumes:\n", more))
    environment.declare(templates="./templates").server(data={"path": str(data)}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    client, name = environment.engine.client, environment.name
    body = environment.container
    client.remove_container(name, force=True)
    client.create_container_from_config({**body["Config"], "HostConfig": body["HostConfig"]}, name)
    mounted.unlink()
    told = environment.run("plan", code=None)
    assert "first initialisation" not in told.all
    mounted.touch()
    environment.apply()
    assert environment.query("TABLE kept") == [(42,)]


@pytest.mark.parametrize("major", _PLACES)
def test_it_is_done_again_where_there_were_only_directories(environment: Environment, major: int) -> None:
    """The image refuses to go on there, so without help no apply ever could."""
    environment.server(image=f"postgres:{major}").apply()
    environment.engine.client.kill(environment.name)
    meddle(environment, "find . -type f -delete", _PLACES[major])
    environment.apply()
    environment.settled()


@pytest.mark.parametrize(
    "broken",
    [
        "sed -i '/^host all all all/d' pg_hba.conf",
        "rm postmaster.opts",
        "rm postmaster.opts && sed -i '/^host all all all/d' pg_hba.conf && touch backup_manifest",
    ],
)
def test_data_that_was_ready_is_never_made_anew(environment: Environment, broken: str) -> None:
    environment.apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.run("stop")
    meddle(environment, broken)
    environment.server(ready_timeout="10s")
    assert f"recreate volume/{environment.name}-data" not in environment.actions()
    environment.run("apply", code=None)
    answer = environment.engine.run(environment.name, "psql", "-U", "postgres", "-Atd", "shop", "-c", "TABLE kept")
    assert answer.strip() == "42"


def test_the_image_makes_it_again_where_the_engine_starts_the_container(environment: Environment) -> None:
    """The engine ended after initdb and before any server, and starts the container by itself when it is back."""
    environment.migrations("userdata").apply()
    environment.engine.client.kill(environment.name)
    meddle(environment, "touch provision.new")
    environment.run("start")
    assert environment.query("SELECT count(*) FROM userdata") == [(0,)], "a server ran on it"
    environment.engine.client.kill(environment.name)
    meddle(environment, "rm postmaster.opts && sed -i '/^host all all all/d' pg_hba.conf")
    environment.engine.client.start(environment.name)
    environment.apply()
    assert environment.query("SELECT count(*) FROM userdata") == [(0,)]
    assert "performing post-bootstrap initialization" in "".join(environment.log())
    environment.settled()


@pytest.mark.parametrize("delay", [0.1, 0.4, 0.8])
def test_a_server_that_was_killed_while_it_initialised(environment: Environment, delay: float) -> None:
    """Wherever that was: the run says so, and the next one has nothing in its way."""
    client = environment.engine.client
    run = environment.begin()
    deadline = time.monotonic() + 60
    while not any(each["State"] == "running" for each in client.containers(filters={"name": environment.name})):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(delay)
    client.kill(environment.name)
    run.communicate(timeout=60)
    environment.apply()
    environment.settled()
