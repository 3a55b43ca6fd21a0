"""What every runtime has to do: from nothing to a migrated server and back, and what happens meanwhile.

A new runtime is one more class in ``HANDS``, which says how to break its server from outside.
"""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.foreign import a_foreign_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded
    from support.environment import Environment


class DockerHands:
    """What others do to a container."""

    name = "docker"
    data: ClassVar[dict[str, Any]] = {}

    def kill(self, environment: Environment) -> None:
        environment.engine.client.kill(environment.name)

    def stop(self, environment: Environment) -> None:
        environment.engine.client.stop(environment.name)

    def remove(self, environment: Environment) -> None:
        environment.engine.client.remove_container(environment.name, force=True)


class EmbeddedHands:
    """What others do to a process. Its data is beside ``.provision/``, so that losing that loses no rows."""

    name = "embedded"
    data: ClassVar[dict[str, Any]] = {"data": {"path": "./db"}}

    def kill(self, environment: Embedded) -> None:
        environment.signal(signal.SIGKILL)

    def stop(self, environment: Embedded) -> None:
        environment.signal(signal.SIGTERM)

    def remove(self, environment: Embedded) -> None:
        environment.signal(signal.SIGINT)
        for part in ("config", "log", "socket", "cache"):
            shutil.rmtree(environment.home / part, ignore_errors=True)
        (environment.home / "server").unlink()


HANDS = [
    pytest.param(DockerHands(), id="docker", marks=pytest.mark.docker),
    pytest.param(EmbeddedHands(), id="embedded", marks=pytest.mark.server),
]


@pytest.fixture(scope="module", params=HANDS)
def hands(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def here(hands: Any, request: pytest.FixtureRequest) -> Iterator[Environment]:
    """One environment of this runtime for all of its tests, each of which leaves it as it found it."""
    with an_open_directory() as directory:
        if hands.name == "docker":
            made: Any = an_environment(request.getfixturevalue("engine"), directory / "project")
        else:
            made = an_embedded_environment(directory / "project")
        with made as environment:
            environment.server(**hands.data).migrations("customer", "purchase")
            yield environment


def status(environment: Environment) -> str:
    return str(environment.run("status", "--json").json()["server"])


def actions(environment: Environment) -> list[str]:
    return [f"{step['action']} {step['address']}" for step in environment.steps()]


def rows(environment: Environment) -> list[str]:
    return [name for (name,) in environment.query("SELECT name FROM customer ORDER BY id")]


def test_from_nothing_to_a_migrated_server(here: Environment, hands: Any) -> None:
    assert status(here) == "absent"
    said = here.apply()
    assert f"{here.name} on {hands.name}" in said.all
    here.settled()
    assert here.query("SELECT count(*) FROM purchase") == [(0,)]
    here.query("INSERT INTO customer VALUES (1, 'Ada')")
    assert status(here) == "running"
    assert "ready to accept connections" in here.run("logs").out
    assert here.run("psql", "spec.yml", "--", "-Atc", "TABLE customer", spec=False).out == "1|Ada\n"


def test_one_changed_setting_is_one_reload(here: Environment) -> None:
    started = here.started()
    here.server(settings={"work_mem": "7MB"})
    assert actions(here) == ["update file/config/postgresql.conf", "reload settings/postgresql.conf"]
    here.apply()
    here.settled()
    assert (here.setting("work_mem"), here.started()) == ("7MB", started)


def test_a_setting_that_needs_it_is_one_restart(here: Environment) -> None:
    here.server(max_connections=42)
    assert actions(here) == ["update file/config/postgresql.conf", "restart settings/postgresql.conf"]
    here.apply()
    here.settled()
    assert here.setting("max_connections") == "42"


def test_a_revision_that_is_new_is_one_migration(here: Environment) -> None:
    here.migrations("customer", "purchase", "invoice")
    assert actions(here) == ["migrate migrations/alembic"]
    here.apply()
    here.settled()


def test_stop_start_and_restart(here: Environment) -> None:
    here.run("stop")
    assert status(here) == "stopped"
    assert "not running" in here.run("stop").all
    here.run("start")
    here.settled()
    before = here.started()
    here.run("restart")
    here.settled()
    assert here.started() != before
    assert rows(here) == ["Ada"]


def test_a_password_that_changed_is_set_and_the_old_one_refused(here: Environment) -> None:
    before = here.environ["PW"]
    here.environ["PW"] = "another 'one'"
    assert "login" in here.apply().all
    here.settled()
    assert here.environ["PW"] != before


def test_revisions_that_cannot_be_read_keep_nobody_from_the_server(here: Environment) -> None:
    broken = here.directory / "migrations" / "versions" / "broken.py"
    broken.write_text("revision = \n")
    try:
        assert "broken.py:1" in here.run("plan", code=None).all
        seen = here.run("status", code=1)
        assert seen.out.startswith(f"{here.name}: running, how it differs is not known\n")
        assert "url" in seen.out
        assert "error: " in seen.err
        assert "broken.py:1" in seen.err
        assert here.url.startswith("postgresql://")
        assert "ready to accept connections" in here.run("logs").out
        assert here.run("psql", "spec.yml", "--", "-Atc", "SELECT 1", spec=False).out == "1\n"
        for verb in ("stop", "start", "restart", "destroy"):
            here.run(verb)
    finally:
        broken.unlink()
    here.apply()
    here.settled()
    assert rows(here) == ["Ada"]


@pytest.mark.parametrize("what", ["kill", "stop", "remove"])
def test_a_server_that_others_ended_comes_back_with_its_rows(here: Environment, hands: Any, what: str) -> None:
    getattr(hands, what)(here)
    assert status(here) != "running"
    here.apply()
    here.settled()
    assert rows(here) == ["Ada"]


def test_a_deleted_directory_loses_nothing(here: Environment) -> None:
    shutil.rmtree(here.home.parent)
    here.apply()
    here.settled()
    assert rows(here) == ["Ada"]


def test_destroyed_with_its_data_it_is_gone(here: Environment) -> None:
    here.run("destroy", "--yes", "--data")
    assert status(here) == "absent"
    assert not here.home.exists()
    assert not (here.directory / "db").exists()
    assert "nothing to destroy" in here.run("destroy", "--yes", "--data").all


@pytest.mark.docker
def test_a_server_of_somebody_else_is_migrated_and_nothing_more(engine: Any, tmp_path: Path) -> None:
    with a_foreign_server(engine, 18) as foreign, an_environment(engine, tmp_path / "project") as environment:
        foreign.declare(environment).server(settings=None).migrations("customer")
        environment.apply()
        environment.settled()
        for verb in ("start", "stop", "restart"):
            assert "is external: provision" in environment.run(verb, code=1).all
