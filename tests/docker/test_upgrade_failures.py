"""Whatever stops an upgrade, the old server has all of its data and takes new rows, and the next upgrade succeeds."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from support.upgrade import refused_because_of_rows, upgraded_while_somebody_writes, upgrading, usable

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment

STAGES = ("create container/", "update server/", "update volume/", "stop container/")


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """A server of PostgreSQL 17 with a row, and a spec that says 18."""
    made = shared().server(image="postgres:17").migrations("userdata")
    made.apply()
    made.query("INSERT INTO userdata (name) VALUES ('first')")
    return made.server(image="postgres:18")


def test_killed_after_each_stage(running: Environment) -> None:
    for stage in STAGES:
        with upgrading(running, stage) as process:
            process.send_signal(signal.SIGKILL)
        if stage.startswith("stop"):
            break
        if stage.startswith("update volume/"):  # the old server may be stopped already, and no more than that
            running.server(image="postgres:17").apply()
            running.server(image="postgres:18")
        usable(running, f"after {stage}", 17)
    # The copy counts now, and apply continues with it.
    running.apply()
    assert running.query("SHOW server_version")[0][0].startswith("18.")
    assert running.query("SELECT count(*) FROM userdata") == [(len(STAGES),)]
    running.settled()
    running.run("upgrade", "--rollback", "--yes")
    usable(running, "back again", 17)


def test_the_temporary_container_is_killed(running: Environment) -> None:
    name = f"{running.name}.upgrade"
    with upgrading(running, "create role/") as process:
        running.engine.client.kill(name)
    assert process.returncode == 1
    usable(running, "after the container was killed", 17)
    assert len(running.engine.containers(running.name)) == 1
    assert [each["Name"] for each in running.engine.client.volumes(filters={"name": running.name})["Volumes"]] == [
        f"{running.name}-data"
    ]


def test_a_copy_that_differs_is_refused(running: Environment) -> None:
    with upgrading(running, "create database/shop") as process:
        process.send_signal(signal.SIGSTOP)
        statement = "INSERT INTO userdata (name) VALUES ('too much')"
        told = running.engine.run(
            f"{running.name}.upgrade", "psql", "-p", "5433", "-U", "postgres", "-d", "shop", "-c", statement
        )
        assert "INSERT 0 1" in told
        said = refused_because_of_rows(process)
    assert "the old server keeps running with all of its data" in said
    usable(running, "after a wrong copy", 17)


def test_no_row_is_lost_while_somebody_writes(running: Environment) -> None:
    upgraded_while_somebody_writes(running)
    assert running.setting("server_version").startswith("18.")
    running.settled()
