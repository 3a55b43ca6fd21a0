"""What happens to servers behind our back: the plan says what is wrong, and apply repairs it."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied and holds a row."""
    made = shared().migrations("userdata")
    made.apply()
    made.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    return made


def repaired(environment: Environment) -> None:
    """Apply, and see that everything is as it was."""
    environment.apply()
    assert environment.query("SELECT name FROM userdata") == [("Zoë",)]
    environment.settled()


@pytest.mark.parametrize(
    ("fault", "status", "action", "why"),
    [
        ("kill", "stopped", "start", "status: exited → running"),
        ("stop", "stopped", "start", "status: exited → running"),
        ("pause", "paused", "start", "status: paused → running"),
        ("remove", "absent", "create", ""),
    ],
)
def test_a_container_that_does_not_run(running: Environment, fault: str, status: str, action: str, why: str) -> None:
    client = running.engine.client
    if fault == "remove":
        client.remove_container(running.name, force=True)
    else:
        getattr(client, fault)(running.name)
    told = running.run("plan").out
    assert f"container/{running.name}" in told
    assert why in told
    assert f"{running.name}: {status}" in running.run("status").out
    assert f"{action} container/{running.name}" in running.actions()
    what = "the environment '{}' has no server" if status == "absent" else f"the server of '{{}}' is {status}"
    assert what.format(running.name) in running.run("url", code=69).err
    repaired(running)


def test_start_stop_and_restart(running: Environment) -> None:
    before = running.started()
    running.run("restart")
    assert running.started() != before
    running.run("stop")
    assert running.container["State"]["Status"] == "exited"
    assert "not running" in running.run("stop").out
    running.run("start")
    running.settled()
    assert "already running" in running.run("start").out


@pytest.mark.parametrize("stopped", [False, True])
def test_a_removed_directory_is_rendered_again(running: Environment, *, stopped: bool) -> None:
    if stopped:
        running.run("stop")
    port = running.port
    shutil.rmtree(running.home)
    repaired(running)
    assert running.port == port


def test_a_removed_directory_whose_password_was_generated(environment: Environment) -> None:
    environment.server(credentials={"password": {"generate": True}}).migrations("userdata").apply()
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    path, container = environment.home / "secrets" / "postgres_password", environment.container["Id"]
    before = path.read_text()
    shutil.rmtree(environment.home)
    told = environment.run("plan").out
    assert "the declared password is set through the local socket" in told
    repaired(environment)
    assert path.read_text() != before
    assert path.stat().st_mode & 0o777 == 0o600
    assert environment.container["Id"] == container


def test_another_password_is_set_through_the_local_socket(running: Environment) -> None:
    other = "ñeu '$\\\" %"
    old = running.environ["PW"]
    try:
        running.environ["PW"] = other
        told = running.run("plan").out
        assert "password authentication failed" in told
        repaired(running)
    finally:
        running.environ["PW"] = old
    repaired(running)


def test_a_volume_that_was_initialised_with_another_password(environment: Environment) -> None:
    environment.migrations("userdata").apply()
    environment.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    environment.run("destroy")
    environment.environ["PW"] = "another"
    repaired(environment)


def test_a_dropped_version_table_is_refused_with_the_reason(running: Environment) -> None:
    running.query("DROP TABLE alembic_version")
    try:
        for words in ("plan", "apply"):
            ran = running.run(words, code=1)
            assert "alembic_version" in ran.err
            assert "userdata" in ran.err
        assert running.query("SELECT name FROM userdata") == [("Zoë",)]
    finally:
        running.query("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        running.query("INSERT INTO alembic_version VALUES ('r1')")
    running.settled()


def test_a_dropped_database_is_made_again(running: Environment) -> None:
    running.query("CREATE DATABASE other")
    running.server(database="other")
    running.query("DROP DATABASE shop WITH (FORCE)")
    running.server(database="shop")
    assert running.actions()[0] == "create database/shop"
    running.apply()
    running.settled()
    running.query("INSERT INTO userdata (name) VALUES ('Zoë')")


def test_an_interrupted_run_leaves_nothing_in_the_way(running: Environment) -> None:
    """A container under the temporary name is what a kill between two calls leaves."""
    with running.engine.stranger(f"{running.name}.new", labels={"provision.environment": running.name}):
        running.server(stop_timeout="9s")
        running.apply()
        running.settled()
        found = running.engine.containers(running.name)
        assert found == [running.container["Id"]]


def test_a_stop_that_a_killed_run_had_asked_for(running: Environment) -> None:
    """The engine finishes it while the next run already waits for the server."""
    client, many = running.engine.client, "INSERT INTO filler SELECT repeat('x', 900) FROM generate_series(1, 60000)"
    running.query("CREATE TABLE IF NOT EXISTS filler (text text)")
    for _ in range(2):
        running.query(many)
        stopping = threading.Thread(target=client.stop, args=(running.name,))
        stopping.start()
        time.sleep(0.05)
        repaired(running)
        stopping.join()
