"""Two specs on one volume, directory, port or name, applied at once: one server, and a refusal that names its spec."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
from support.embedded import Embedded, an_open_directory
from support.environment import Environment, an_environment
from support.postmasters import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

KINDS = ["new volume", "filled volume", "directory", "embedded directory", "docker beside embedded", "port", "name"]
ROUNDS = [pytest.param(each, marks=pytest.mark.long if each else ()) for each in range(8)]


@contextmanager
def two(kind: str, engine: Engine) -> Iterator[tuple[Environment, Environment]]:
    """Have two specs that cannot both have a server, and remove what they made."""
    with an_open_directory() as directory, ExitStack() as stack:
        first = stack.enter_context(an_environment(engine, directory / "first"))
        second = stack.enter_context(an_environment(engine, directory / "second"))
        volume = f"{first.name}-shared"
        if "volume" in kind:
            if kind == "filled volume":
                fill(engine, volume)
            stack.callback(remove, engine, volume)
            first.server(data={"volume": volume})
            second.server(data={"volume": volume})
        elif "embedded" in kind:
            first = embedded(first, data={"path": str(directory / "pg" / "18" / "docker")})
            second = embedded(second, data={"path": str(directory / "pg" / "18" / "docker")})
            if "docker" in kind:
                second = Environment(engine, second.directory, second.name)
                second.server(image="postgres:18", data={"path": str(directory / "pg")})
        elif kind == "directory":
            first.server(data={"path": "../pg"})
            second.server(data={"path": "../pg"})
        elif kind == "port":
            first.server(port=28833)
            second.server(port=28833)
        else:
            second = Environment(engine, second.directory, first.name)
        try:
            yield first, second
        finally:
            for each in (first, second):
                each.run("destroy", "--yes", code=None)
                each.run("destroy", "--data", "--yes", code=None)


def embedded(environment: Environment, **server: Any) -> Environment:
    made = Embedded(environment.directory, environment.name)
    made.environ.pop("DOCKER_HOST")  # it looks at the engine's containers too
    made.server(**server)
    return made


def fill(engine: Engine, volume: str) -> None:
    """Have a volume that other hands have made and filled."""
    client = engine.client
    client.create_volume(volume)
    host = client.create_host_config(binds=[f"{volume}:/var/lib/postgresql/data"])
    made = client.create_container("postgres:17", environment={"POSTGRES_PASSWORD": "x"}, host_config=host)["Id"]
    client.start(made)
    while "database system is ready" not in client.logs(made).decode().partition("PostgreSQL init process complete")[2]:
        time.sleep(0.05)
    client.stop(made)
    client.remove_container(made, v=True)


def remove(engine: Engine, volume: str) -> None:
    try:
        engine.client.remove_volume(volume)
    except docker.errors.NotFound:
        return


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repetition", ROUNDS)
def test_one_server_and_one_refusal(kind: str, repetition: int, engine: Engine) -> None:
    del repetition
    with two(kind, engine) as specs:
        with Watch() as watch:
            runs = [each.begin() for each in specs]
            told = [run.communicate(timeout=200)[0] for run in runs]
        codes = [run.returncode for run in runs]
        assert sorted(codes) == [0, 1], told
        winner, loser = (specs[0], specs[1]) if codes[0] == 0 else (specs[1], specs[0])
        refusal = told[codes.index(1)].partition("error: ")[2]
        for each in (winner.name, str(winner.directory)):
            assert each in refusal, refusal
        assert max(watch.most.values(), default=1) == 1, watch.most
        assert watch.most or os.geteuid() != 0
        winner.query("CREATE TABLE kept AS SELECT 42 AS answer")
        winner.run("restart")
        assert winner.query("SELECT answer FROM kept") == [(42,)]
        loser.run("stop", code=None)
        loser.run("destroy", "--yes", code=None)
        assert winner.query("SELECT answer FROM kept") == [(42,)]
        if kind != "filled volume":  # what other hands have made is never removed
            winner.run("destroy", "--data", "--yes")
