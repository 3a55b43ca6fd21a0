"""The whole cluster is saved, brought back and put back: all databases, roles and passwords."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import docker.errors
import jsonschema
import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.filesystem import a_file_system_that_shares_blocks
from support.kept import an_applied

from provision.system import cluster_folder, database_copy
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine
    from support.environment import Environment

ROOT = Path(__file__).parents[2]
RUNTIMES = [
    pytest.param(("docker", 18), id="docker-18", marks=pytest.mark.docker),
    pytest.param(("docker", 14), id="docker-14", marks=pytest.mark.docker),
    pytest.param(("embedded", 18), id="embedded-18", marks=pytest.mark.server),
    pytest.param(("embedded", 14), id="embedded-14", marks=pytest.mark.server),
]


@pytest.fixture(params=RUNTIMES)
def environment(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with an_applied(request, *request.param) as made:
        yield made


def rows(environment: Environment) -> list[int]:
    return [number for (number,) in environment.query("SELECT n FROM canary ORDER BY 1")]


def roles(environment: Environment) -> list[str]:
    return [name for (name,) in environment.superuser("SELECT rolname FROM pg_roles WHERE rolname = 'newcomer'")]


def document(environment: Environment, *words: str) -> Any:
    found = environment.run(*words, "--json").json()
    name = found["schema"].split("/")[1]
    jsonschema.validate(found, json.loads((ROOT / "docs/schema" / f"{name}.json").read_text()))
    return found


def test_all_databases_and_roles_come_back(environment: Environment) -> None:
    saved = document(environment, "snapshot", "save", "one", "--all")
    assert saved["all"] is True
    environment.query("INSERT INTO canary VALUES (2)")
    environment.superuser("CREATE ROLE newcomer")
    done = document(environment, "snapshot", "restore", "one", "--all", "--yes")
    assert done["changes_pending"] is False
    assert (rows(environment), roles(environment)) == ([1], [])
    environment.settled()
    environment.query("INSERT INTO canary VALUES (3)")
    environment.run("snapshot", "undo", "--all")
    assert (rows(environment), roles(environment)) == ([1, 2], ["newcomer"])
    environment.run("snapshot", "undo", "--all")
    assert (rows(environment), roles(environment)) == ([1, 3], [])
    found = document(environment, "snapshot", "list")
    assert [(each["name"], each["revisions"]) for each in found["clusters"]] == [("one", {"alembic": ["r2"]})]
    assert [each["by"] for each in found["replaced_clusters"]] == ["undo"]
    environment.run("snapshot", "restore", "one", "--all", "--yes")
    assert rows(environment) == [1]
    environment.run("snapshot", "rm", "one", "--all")
    assert document(environment, "snapshot", "list", "--all")["clusters"] == []
    environment.settled()


def test_a_server_that_does_not_run_stays_so(environment: Environment) -> None:
    environment.run("stop")
    environment.run("snapshot", "save", "one", "--all")
    assert document(environment, "status")["server"] == "stopped"
    environment.apply()
    environment.query("INSERT INTO canary VALUES (2)")
    environment.run("stop")
    environment.run("snapshot", "restore", "one", "--all", "--yes")
    ran = environment.run("snapshot", "rm", "two", "--all", code=64)
    assert "provision snapshot list --all spec.yml" in ran.err
    environment.apply()
    assert rows(environment) == [1]


def test_what_was_declared_since_converges(environment: Environment) -> None:
    environment.run("snapshot", "save", "one", "--all")
    environment.server(credentials={"user": "postgres", "password": "${NEW}"})
    environment.environ["NEW"] = "another-secret"
    environment.apply()
    environment.query("INSERT INTO canary VALUES (2)")
    done = document(environment, "snapshot", "restore", "one", "--all", "--yes")
    assert done["changes_pending"] is True
    environment.apply()
    assert rows(environment) == [1]
    environment.settled()


def test_names_and_refusals(environment: Environment) -> None:
    environment.run("snapshot", "save", "one", "--all")
    assert "there is a snapshot 'one' of the cluster" in environment.run("snapshot", "save", "one", "--all", code=1).err
    ran = environment.run("snapshot", "restore", "onne", "--all", "--yes", code=64)
    assert "did you mean one?" in ran.err
    ran = environment.run("snapshot", "rm", "one", code=64)
    assert "the snapshot 'one' is one of all databases together" in ran.err
    assert "provision snapshot rm one --all spec.yml" in ran.err
    assert "leave one out" in environment.run("snapshot", "rm", "one", "--all", "--database", "shop", code=64).err
    assert "nothing is kept" in environment.run("snapshot", "undo", "--all", code=1).err
    ran = environment.run("snapshot", "restore", "one", "--all", code=64)
    assert "no terminal" in ran.err
    assert "snapshot restore --yes spec.yml one --all" in ran.err
    environment.settled()


@pytest.mark.server
def test_ephemeral_data_is_refused() -> None:
    with (
        an_open_directory() as directory,
        an_embedded_environment(directory / "project", data={"ephemeral": True}) as made,
    ):
        made.apply()
        assert "is ephemeral" in made.run("snapshot", "save", "one", "--all", code=1).err
        made.settled()


@pytest.mark.server
def test_a_directory_of_its_own_goes_away_with_its_snapshots() -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        data = directory / "place" / "db"
        made = stack.enter_context(an_embedded_environment(directory / "project", data={"path": str(data)}))
        made.apply()
        made.run("snapshot", "save", "one", "--all")
        made.run("snapshot", "restore", "one", "--all", "--yes")
        made.settled()
        assert (data.parent / "db-snapshots" / "one" / "data" / "PG_VERSION").exists()
        made.run("destroy", "--data", "--yes")
        assert [*data.parent.iterdir()] == []


@pytest.mark.server
def test_a_directory_of_others_is_left_alone() -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        data = directory / "place" / "db"
        made = stack.enter_context(an_embedded_environment(directory / "project", data={"path": str(data)}))
        made.apply()
        other = data.parent / "db-snapshots"
        other.mkdir()
        (other / "mine.txt").touch()
        assert "provision has not made" in made.run("snapshot", "save", "one", "--all", code=1).err
        made.run("destroy", "--data", "--yes")
        assert [*other.iterdir()] == [other / "mine.txt"]


@pytest.mark.server
def test_a_link_out_of_the_cluster_is_refused() -> None:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.apply()
        outside = directory / "fast"
        outside.mkdir()
        shutil.chown(outside, made.data.owner())
        made.superuser(f"CREATE TABLESPACE fast LOCATION '{outside}'")
        ran = made.run("snapshot", "save", "one", "--all", code=1)
        assert f"leads to {outside}" in ran.err
        made.settled()


def test_an_exchange_that_was_broken_off_is_known(tmp_path: Path) -> None:
    """At each moment between its calls the folder says what it holds."""
    folder, data = tmp_path / "folder", tmp_path / "data"
    for each in (folder, folder / "data", data):
        each.mkdir()
    assert cluster_folder.about(folder) is None
    (folder / "about.json").write_text("old")
    (folder / "next.json").write_text("new")
    assert cluster_folder.about(folder) == "old"
    (folder / "exchanging").write_text(str((folder / "data").stat().st_ino))
    assert cluster_folder.about(folder) == "old"
    (folder / "data").rename(tmp_path / "third")
    data.rename(folder / "data")
    assert cluster_folder.about(folder) == "new"
    (tmp_path / "third").rename(data)
    cluster_folder.exchange(data, folder, "newer")
    assert cluster_folder.about(folder) == "newer"
    assert sorted(each.name for each in folder.iterdir()) == ["about.json", "data"]


@pytest.mark.docker
def test_nothing_is_left_of_snapshots_in_docker(engine: Engine, tmp_path: Path) -> None:
    """In a volume and in a directory, also one that was not completed."""
    for number, data in enumerate(({"volume": f"v-{uuid4().hex[:8]}"}, {"path": str(tmp_path / "db")})):
        with an_environment(engine, tmp_path / f"project-{number}") as made:
            made.server(data=data).apply()
            made.run("snapshot", "save", "one", "--all")
            made.run("snapshot", "restore", "one", "--all", "--yes")
            made.settled()
            labels = {"provision.environment": made.name, "provision.directory": str(made.directory)}
            engine.client.create_volume(f"{made.name}-left", labels={**labels, "provision.snapshot": "snapshot"})
            assert len(volumes(engine, made)) == 5 + ("volume" in data)
            made.run("stop")
            made.apply()
            assert len(volumes(engine, made)) == 4 + ("volume" in data)
            made.run("destroy", "--data", "--yes")
            assert volumes(engine, made) == []
            assert not (tmp_path / "db").exists()


def volumes(engine: Engine, environment: Environment) -> list[str]:
    """Return the volumes of an environment."""
    found = engine.client.volumes(filters={"label": f"provision.environment={environment.name}"})["Volumes"]
    return [each["Name"] for each in found or ()]


@pytest.mark.server
@pytest.mark.long
def test_copies_share_blocks_where_the_file_system_can() -> None:
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        disk = stack.enter_context(a_file_system_that_shares_blocks(directory, 600 << 20))
        data = disk / "db"
        made = stack.enter_context(an_embedded_environment(directory / "project", data={"path": str(data)}))
        made.apply()
        made.query("CREATE TABLE large AS SELECT g, repeat('x', 900) FROM generate_series(1, 30000) AS g")
        made.superuser("CHECKPOINT")
        with closing(made.connection(superuser=True)) as connection:
            assert database_copy.way(connection, "shop").strategy == "FILE_COPY"
        before = shutil.disk_usage(disk).used
        made.run("snapshot", "save", "one")
        made.run("snapshot", "save", "one", "--all")
        made.run("snapshot", "restore", "one", "--all", "--yes")
        assert shutil.disk_usage(disk).used - before < 60 << 20
        made.settled()
        made.run("destroy", "--data", "--yes")


_COPYING = ("is broken off", "goes on", "is interrupted")
_HALF = [*itertools.product(("volume", "path"), _COPYING), ("from a golden", "is broken off")]


@pytest.mark.docker
@pytest.mark.parametrize(("data", "copying"), _HALF)
def test_data_that_is_half_replaced_is_replaced_by_the_next_apply(
    engine: Engine, tmp_path: Path, data: str, copying: str
) -> None:
    """The container that copies goes on when the command is killed, or does not; Ctrl-C ends both."""
    with an_environment(engine, tmp_path / "project") as made:
        made.server(**({"data": {"path": str(tmp_path / "db")}} if data == "path" else {}))
        made.migrations("userdata", "orders")
        if data == "from a golden":  # a copy that was broken off looks the same: there is no sign that a server ran
            made.environ["PROVISION_GOLDEN"] = "auto"
            made.run("apply", "--golden")
            made.run("destroy", "--data", "--yes")
            made.run("golden", "rm", made.run("apply", "--json").json()["golden"]["key"], spec=False)
        made.apply()
        made.query("CREATE TABLE canary (n int PRIMARY KEY)")
        made.query("INSERT INTO canary VALUES (1)")
        made.run("snapshot", "save", "one", "--all")
        made.query("INSERT INTO canary VALUES (2)")
        run = made.begin("snapshot", "restore", "one", "--all", "--yes")
        for _ in attempts(60, 0.01):
            if any(each.endswith(".restoring") for each in volumes(engine, made)):
                break
        run.send_signal(signal.SIGINT if copying == "is interrupted" else signal.SIGKILL)
        for each in engine.client.containers(filters={"name": f"{made.name}.*snapshot"}):
            if copying == "is broken off":
                with suppress(docker.errors.APIError):
                    engine.client.remove_container(each["Id"], force=True, v=True)
        said, _ = run.communicate(timeout=60)
        assert ("next: provision apply" in said) == (copying == "is interrupted")
        assert "was interrupted" in made.run("start", code=1).err
        for words in (("psql",), ("snapshot", "list")):
            assert "next: provision apply" in made.run(*words, code=69).err
        assert made.run("plan", "--json").json()["golden"] is None
        made.apply()
        made.settled()
        found = rows(made)
        assert found in ([1], [1, 2])
        if found == [1]:
            made.run("snapshot", "undo", "--all")
            assert rows(made) == [1, 2]
        assert not [each for each in volumes(engine, made) if each.endswith(".restoring")]
