"""The table of refusals that protect data: each one names what it found, prints what to type, and touched nothing."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment


@dataclass(frozen=True)
class Refusal:
    """A change of the section ``server``, the verb, and the words that the refusal needs.

    ``volume`` is made of these files, with these ``labels``; ``beside`` is what else is there meanwhile.
    """

    change: dict[str, Any]
    told: tuple[str, ...]
    words: str = "apply"
    code: int = 1
    volume: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    beside: Callable[[Environment], AbstractContextManager[object]] = lambda _: nullcontext()


OTHER = "@other"
THEIRS = {"provision.environment": "theirs", "provision.directory": "/"}


def a_container(environment: Environment) -> AbstractContextManager[str]:
    """Have a container of another environment under the other name."""
    return environment.engine.stranger(f"{environment.name}-other", labels=THEIRS)


@contextmanager
def a_tenant(environment: Environment) -> Iterator[None]:
    """Have another user's container that runs with our volume."""
    client = environment.engine.client
    host = client.create_host_config(binds=[f"{environment.name}-data:/somewhere"])
    words, name = ["sleep", "600"], f"tenant-of-{environment.name[2:]}"
    made = client.create_container("postgres:17", words, name=name, host_config=host, entrypoint=[])
    try:
        client.start(made["Id"])
        yield
    finally:
        client.remove_container(made["Id"], force=True)


@contextmanager
def a_listener(environment: Environment) -> Iterator[None]:
    """Listen on the port that the spec is about to declare."""
    del environment
    with closing(socket.create_server(("127.0.0.1", PORT))):
        yield


PORT = 20999
REFUSALS = {
    "a newer major": Refusal({"image": "postgres:18"}, ("was made by PostgreSQL 17",)),
    "an older major": Refusal({"image": "postgres:16"}, ("was made by PostgreSQL 17",)),
    "a volume of another major": Refusal(
        {"data": {"volume": OTHER}}, ("was made by PostgreSQL 14", "PG_VERSION"), volume={"PG_VERSION": "14\n"}
    ),
    "a volume of 18 under 17": Refusal(
        {"data": {"volume": OTHER}}, ("was made by PostgreSQL 18",), volume={"18/docker/PG_VERSION": "18\n"}
    ),
    "a volume with the layout of both": Refusal(
        {"data": {"volume": OTHER}},
        ("was made by PostgreSQL 16 and 18",),
        volume={"data/PG_VERSION": "16\n", "18/docker/PG_VERSION": "18\n"},
    ),
    "data that lies one level lower": Refusal(
        {"data": {"volume": OTHER}}, ("where 'postgres:17' does not look",), volume={"data/PG_VERSION": "17\n"}
    ),
    "a volume of another environment": Refusal(
        {"data": {"volume": OTHER}}, ("belongs to the environment 'theirs' of /",), volume={"x": ""}, labels=THEIRS
    ),
    "a volume of nobody that shall be destroyed": Refusal(
        {"data": {"volume": OTHER}},
        ("was not made for the environment", "docker volume rm"),
        "destroy --data --yes",
        volume={"x": ""},
    ),
    "the container of another environment": Refusal(
        {"container_name": OTHER}, ("belongs to the environment 'theirs' of /",), beside=a_container
    ),
    "another name for the container": Refusal(
        {"container_name": OTHER}, ("is in use by the container", "docker rename")
    ),
    "two containers on one volume": Refusal(
        {}, ("is in use by the container", "docker stop tenant-of-"), beside=a_tenant
    ),
    "two containers on one volume, and a restart": Refusal({}, ("docker stop tenant-of-",), "restart", beside=a_tenant),
    "destroying what somebody else is on": Refusal(
        {}, ("docker stop tenant-of-",), "destroy --data --yes", beside=a_tenant
    ),
    "a port that is taken": Refusal({"port": PORT}, (f"the port {PORT} of 127.0.0.1 is taken",), beside=a_listener),
    "another runtime": Refusal({"runtime": "embedded"}, ("lives in the runtime 'docker'",)),
    "destroy without a flag": Refusal({}, ("provision destroy --data --yes",), "destroy --data", 64),
}


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied and holds a row."""
    made = shared()
    made.apply()
    made.query("CREATE TABLE kept AS SELECT 42 AS answer")
    return made.keep()


def touched(environment: Environment) -> dict[str, Any]:
    """Return what a refusal must leave as it is."""
    container = environment.container
    return {
        "container": container["Id"],
        "started": container["State"]["StartedAt"],
        "containers": environment.engine.containers(environment.name),
        "checkpoint": environment.query("SELECT * FROM pg_control_checkpoint()"),
        "files": listing(environment),
        "volumes": sorted(
            each["Name"] for each in environment.engine.client.volumes()["Volumes"] if environment.name in each["Name"]
        ),
        "row": environment.query("SELECT answer FROM kept"),
    }


def listing(environment: Environment) -> str:
    for _ in attempts(10, 0.1):  # the SDK loses what a quick program prints together with the engine's first bytes
        if seen := environment.engine.run(environment.name, "sh", "-c", "cd $PGDATA && ls . base"):
            break
    return seen


def fill(environment: Environment, volume: str, files: dict[str, str], labels: dict[str, str]) -> None:
    """Make a volume that this spec did not make, with some files in it."""
    client = environment.engine.client
    client.create_volume(volume, labels=labels)
    host = client.create_host_config(binds=[f"{volume}:/there"])
    made = client.create_container("postgres:17", ["true"], volumes=["/there"], host_config=host)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    client.put_archive(made["Id"], "/there", archive.getvalue())
    client.remove_container(made["Id"])


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_and_nothing_touched(running: Environment, case: str) -> None:
    refusal = REFUSALS[case]
    other = f"{running.name}-other"
    if refusal.volume:
        fill(running, other, refusal.volume, refusal.labels)
    running.query("CHECKPOINT")
    before = touched(running)
    change = json.loads(json.dumps(refusal.change).replace(OTHER, other))
    try:
        running.server(**change)
        with refusal.beside(running):
            ran = running.run(*refusal.words.split(), code=refusal.code)
        for each in refusal.told:
            assert each in ran.err, ran.all
        assert "next: " in ran.err
        running.document = running._kept
        running.declare()
        assert touched(running) == before
        running.apply()
        assert touched(running) == before
    finally:
        if refusal.volume:
            running.engine.client.remove_volume(other, force=True)


@pytest.mark.parametrize("image", ["postgres:16", "postgres:18"])
def test_a_stopped_server_is_not_started_with_another_major(running: Environment, image: str) -> None:
    running.run("stop")
    running.server(image=image)
    for words in ("plan", "apply"):
        assert "was made by PostgreSQL 17" in running.run(words, code=1).err
    assert running.container["State"]["Status"] == "exited"
    running.back()
    assert running.query("SELECT answer FROM kept") == [(42,)]


def test_a_directory_of_another_major(environment: Environment) -> None:
    place = environment.directory / "db"
    (place / "17" / "docker").mkdir(parents=True)
    (place / "17" / "docker" / "PG_VERSION").write_text("17\n")
    environment.server(image="postgres:18", data={"path": "./db"})
    assert "was made by PostgreSQL 17" in environment.run("apply", code=1).err
    assert [each.name for each in place.iterdir()] == ["17"]
    assert environment.engine.containers(environment.name) == []
