"""What happens to engine, container and network while an apply works: a clear error, and the next apply continues."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors
import pytest
from support.proxy import mortal_engine

from provision.errors import UnavailableError
from provision.system.look import Look

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment


@pytest.mark.parametrize("last_words", ["/volumes/create", "/containers/create?name=", "/start"])
def test_the_engine_goes_away(environment: Environment, last_words: str) -> None:
    with tempfile.TemporaryDirectory() as place, mortal_engine(Path(place), last_words) as url:
        told = environment.run("apply", code=None, DOCKER_HOST=url)
        assert told.code in (1, 69)
        assert f"the engine at {url}" in told.err
        assert "next: docker info" in told.err
        assert "no Docker engine answers" in environment.run("apply", code=69, DOCKER_HOST=url).err
    environment.apply()
    environment.settled()


def test_the_engine_goes_away_while_it_is_asked(environment: Environment) -> None:
    with tempfile.TemporaryDirectory() as place, mortal_engine(Path(place), "/containers/create HTTP") as url:
        refused = environment.run("apply", code=69, DOCKER_HOST=url).err
        assert f"no Docker engine answers at {url}" in refused
        assert "it closed the connection without an answer" in refused
    environment.apply()


def test_an_engine_that_is_back_is_seen_by_the_next_look() -> None:
    with tempfile.TemporaryDirectory() as place:
        look = Look({"DOCKER_HOST": f"unix://{place}/engine.sock"})
        with mortal_engine(Path(place), "/networks/last-words"):
            assert look.engine("/version")["ApiVersion"]
            with pytest.raises(UnavailableError):
                look.engine("/networks/last-words")
        with mortal_engine(Path(place), "/networks/last-words") as url:
            with pytest.raises(UnavailableError):
                look.engine("/version")
            assert Look({"DOCKER_HOST": url}).engine("/version")["ApiVersion"]


def pause(environment: Environment) -> None:
    environment.engine.client.pause(environment.name)


def remove(environment: Environment) -> None:
    environment.engine.client.remove_container(environment.name, force=True)


def cut_off(environment: Environment) -> None:
    environment.engine.client.disconnect_container_from_network(environment.name, "bridge")


MISHAPS = {
    pause: "is paused",
    remove: "is gone",
    cut_off: "",
}


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda each: each.__name__)
def test_what_happens_to_a_container_that_starts(environment: Environment, mishap: Callable[..., None]) -> None:
    environment.server(ready_timeout="8s")
    with environment.begin() as run:
        happened = False
        while run.poll() is None and not happened:
            with suppress(docker.errors.APIError):
                if environment.container["State"]["Running"]:
                    mishap(environment)
                    happened = True
        told, _ = run.communicate()
    assert happened, told
    assert run.returncode in (0, 1), told
    if run.returncode:
        _, _, error = told.partition("error: ")
        assert MISHAPS[mishap] in error
        assert "next: " in error
    assert "unexpected error" not in told
    environment.server(ready_timeout="60s")
    if mishap is remove:  # what was in the middle of its first initialisation is seen when a new container is there
        environment.run("apply", code=None)
    environment.apply()
    environment.settled()
