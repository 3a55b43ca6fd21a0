"""Where the data lives: a directory of the host, or memory."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environment import Environment


@pytest.mark.parametrize(("major", "inside"), [(17, "PG_VERSION"), (18, "18/docker/PG_VERSION")])
def test_a_directory_of_the_host(environment: Environment, major: int, inside: str) -> None:
    environment.server(image=f"postgres:{major}", data={"path": "./postgresql/the db"}).apply()
    place = environment.directory / "postgresql" / "the db"
    assert (place / inside).read_text() == f"{major}\n"
    assert [each["Name"] for each in environment.container["Mounts"] if each["Type"] == "volume"] == []
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.settled()
    environment.run("destroy")
    assert (place / inside).exists()
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    environment.run("destroy", "--data", "--yes")
    assert not place.exists()
    assert environment.directory.exists()


@pytest.mark.parametrize("major", [17, 18])
def test_a_directory_that_holds_other_files_is_left_alone(environment: Environment, major: int) -> None:
    place = environment.directory / "full"
    note = place / "notes.txt"
    place.mkdir()
    note.write_text("mine")
    before = [(each.stat().st_uid, each.stat().st_mode) for each in (place, note)]
    environment.server(image=f"postgres:{major}", data={"path": "./full"})
    for verb in ("plan", "apply"):
        told = environment.run(verb, code=1).err
        assert f"error: the directory {place} holds other files (notes.txt)" in told
        assert "next: name an empty one, for example `server.data: {path: ./full/pgdata}`" in told
    assert [(each.stat().st_uid, each.stat().st_mode) for each in (place, note)] == before
    assert not environment.home.exists()
    environment.server(data={"path": "./full/pgdata"}).apply()
    environment.settled()
    assert [(each.stat().st_uid, each.stat().st_mode) for each in (place, note)] == before
    environment.run("destroy")
    shutil.rmtree(environment.home)
    environment.apply()
    environment.settled()


@pytest.mark.parametrize(
    ("major", "target", "files", "named"),
    [
        (17, "/var/lib/postgresql/data", "backup.dump notes.txt", "(backup.dump, notes.txt)"),
        (18, "/var/lib/postgresql", "lost+found/left notes.txt", "(notes.txt)"),
    ],
)
def test_a_volume_that_holds_other_files_is_left_alone(
    environment: Environment, major: int, target: str, files: str, named: str
) -> None:
    volume, image = f"{environment.name}-theirs", f"postgres:{major}"
    fill = f"cd /v; for f in {files}; do mkdir -p $(dirname $f); echo mine >$f; chmod 640 $f; chown 4711:4712 $f; done"
    before = in_volume(environment, volume, image, f"{fill}; chown 4711 .; {LOOK}")
    environment.server(image=image, data={"volume": volume})
    for _ in range(2):
        told = environment.run("apply", code=1).err
        assert f"error: the volume '{volume}' holds other files {named}" in told
        assert f"next: name an empty one, for example `server.data: {{volume: {volume}-postgres}}`" in told
        assert in_volume(environment, volume, image, LOOK) == before
        assert not environment.engine.containers(environment.name)
    # What was created before the run was killed never starts either.
    client = environment.engine.client
    host = client.create_host_config(binds=[f"{volume}:{target}"])
    labels = {"provision.environment": environment.name, "provision.directory": str(environment.directory)}
    client.create_container(image, name=environment.name, host_config=host, labels=labels)
    assert named in environment.run("apply", code=1).err
    assert in_volume(environment, volume, image, LOOK) == before


@pytest.mark.parametrize("files", ["", "lost+found/left"])
def test_a_volume_that_is_empty_or_holds_data_is_used(environment: Environment, files: str) -> None:
    volume = f"{environment.name}-theirs"
    in_volume(environment, volume, "postgres:18", f"cd /v; for f in {files}; do mkdir -p $f; done; {LOOK}")
    environment.server(image="postgres:18", data={"volume": volume}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.run("destroy")
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    environment.settled()


LOOK = "find /v -exec stat -c '%n %u %g %a %Y' {} + | sort"


def in_volume(environment: Environment, volume: str, image: str, script: str) -> str:
    """Run a script as root on a volume that is mounted at /v, made where it is not there; return what it says."""
    client = environment.engine.client
    host = client.create_host_config(binds=[f"{volume}:/v"])
    made = client.create_container(image, ["-c", script], entrypoint="sh", user="0", host_config=host)
    try:
        client.start(made)
        client.wait(made)
        return str(client.logs(made).decode())
    finally:
        client.remove_container(made, v=True)


def test_data_in_memory_is_quick_and_gone_with_the_server(environment: Environment) -> None:
    environment.server(data={"ephemeral": True}).migrations("userdata").apply()
    assert [environment.setting(name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["off"] * 3
    assert [each["Type"] for each in environment.container["Mounts"] if "postgresql/data" in each["Destination"]] == [
        "tmpfs"
    ]
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    assert "in memory" in environment.run("status").out
    environment.settled()

    assert "the data was in memory and is gone" in environment.run("stop").out
    environment.apply()
    assert environment.query("SELECT * FROM userdata") == []
    environment.settled()


def test_changes_of_a_server_in_memory_say_that_the_data_goes(environment: Environment) -> None:
    environment.server(data={"ephemeral": True}).apply()
    environment.server(stop_timeout="5s")
    (step,) = (each for each in environment.steps() if each["address"].startswith("container/"))
    assert step["destroys_data"], step
    environment.apply()
    environment.settled()
    environment.server(max_connections=50)
    (step,) = (each for each in environment.steps() if each["address"].startswith("settings/"))
    assert step["destroys_data"], step
    environment.apply()
    assert environment.setting("max_connections") == "50"
    environment.settled()


def test_another_place_for_the_data_leaves_the_old_one(environment: Environment) -> None:
    environment.apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.server(data={"volume": f"{environment.name}-second"})
    told = environment.run("plan").out
    assert "the data stays where it was, see the mounts" in told
    environment.apply()
    assert environment.query("SELECT to_regclass('kept')") == [(None,)]
    environment.server(data={"volume": f"{environment.name}-data"}).apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    environment.settled()
