"""Two servers on one data directory destroy it: whoever else is on it is found before anything is started."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
from support.environment import an_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied and holds a row."""
    made = shared().keep()
    made.query("CREATE TABLE kept AS SELECT 42 AS answer")
    return made


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every system user may enter."""
    with tempfile.TemporaryDirectory(prefix="provision-test-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextmanager
def another(environment: Environment, bind: str, *argv: str, **more: Any) -> Iterator[str]:
    """Have another user's container that runs with something mounted."""
    client, name = environment.engine.client, f"{environment.name}-another"
    host = client.create_host_config(binds=[bind])
    words = argv or ("sleep", "600")
    made = client.create_container("postgres:17", list(words), name=name, host_config=host, entrypoint=[], **more)
    client.start(made["Id"])
    try:
        yield name
    finally:
        with suppress(docker.errors.NotFound):
            client.remove_container(made["Id"], force=True, v=True)


def refused(environment: Environment, *told: str, verbs: tuple[str, ...] = ("plan", "apply")) -> None:
    """See that verbs are refused with the same words, and that nothing was made, started or written."""
    files, events = environment.files(), environment.engine.record(environment.name)
    for words in verbs:
        ran = environment.run(*words.split(), code=1)
        for each in told:
            assert each in ran.err, ran.all
    assert [each for each in events.seen() if " top " not in each] == []
    assert environment.files() == files


def test_a_container_that_was_renamed_by_hand(running: Environment) -> None:
    client, name = running.engine.client, running.name
    client.rename(name, f"{name}-by-hand")
    refused(
        running, f"the volume '{name}-data' is in use by the container '{name}-by-hand'", "docker rename", "two servers"
    )
    client.rename(f"{name}-by-hand", name)
    running.settled()
    assert running.query("SELECT answer FROM kept") == [(42,)]


def test_another_name_for_the_container(running: Environment) -> None:
    running.server(container_name=f"{running.name}-second")
    refused(running, f"docker rename {running.name} {running.name}-second")
    running.engine.client.stop(running.name)
    running.apply()
    assert running.engine.inspect(f"{running.name}-second")["State"]["Running"]
    running.engine.client.remove_container(f"{running.name}-second", force=True)
    running.back()


@pytest.mark.parametrize("state", ["stopped", "running"])
def test_a_container_of_somebody_else_on_the_volume(running: Environment, state: str) -> None:
    client, name = running.engine.client, running.name
    if state == "stopped":
        client.stop(name)
    with another(running, f"{name}-data:/somewhere") as other:
        verbs = ("plan", "apply", "start" if state == "stopped" else "restart")
        told = (f"the volume '{name}-data' is in use by the container '{other}'", f"docker stop {other}")
        refused(running, *told, "postgres:17", "running", "/somewhere", verbs=verbs)
        assert f"in use by the container '{other}'" in running.run("verify").out
        running.engine.client.stop(other, timeout=1)
        running.apply()
    assert running.query("SELECT answer FROM kept") == [(42,)]


def test_what_only_reads_is_in_nobodys_way(running: Environment) -> None:
    with another(running, f"{running.name}-data:/somewhere:ro"):
        running.run("restart")
        running.settled()


def test_a_directory(environment: Environment, tmp_path: Path) -> None:
    place = environment.directory / "db"
    environment.server(data={"path": "./db"}).apply()
    with an_environment(environment.engine, tmp_path / "other") as other:
        (tmp_path / "link").symlink_to(place)
        other.server(data={"path": str(tmp_path / "link")})
        refused(
            other,
            f"is in use by the container '{environment.name}'",
            f"the environment '{environment.name}' of {environment.directory}",
        )
    environment.run("stop")
    checkout = f"{environment.directory}:/work"
    with another(environment, checkout, "bash", "-c", "exec -a postgres sleep 600") as name:
        refused(environment, f"the directory {place} is in use by the container '{name}'", verbs=("plan", "start"))
    with another(environment, checkout):  # a checkout that is mounted as a whole is no server
        environment.run("start")
        environment.settled()


def test_a_directory_of_this_machine(environment: Environment, open_directory: Path) -> None:
    """As root, who may enter everywhere, a server of this machine and one in a container can meet."""
    place = open_directory / "db" / "18" / "docker"
    environment.server(image="postgres:18", runtime="embedded", data={"path": str(place)}).apply()
    with an_environment(environment.engine, open_directory / "second") as other:
        other.server(image="postgres:18", data={"path": str(open_directory / "db")})
        refused(other, "a server of this machine, process ", f"runs on the data in {place}", "kill -INT")
    environment.run("stop")
    with another(environment, f"{place}:/somewhere") as name:
        told = (f"the directory {place} is in use by the container '{name}'", f"docker stop {name}")
        refused(environment, *told, verbs=("plan", "apply", "start"))
    environment.apply()
    environment.run("destroy", "--data", "--yes")
