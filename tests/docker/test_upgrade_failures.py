"""Whatever stops an upgrade, the old server has all of its data and takes new rows, and the next upgrade succeeds."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment

STAGES = ("create container/", "update server/", "update volume/", "stop container/")


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """A server of PostgreSQL 17 with a row, and a spec that says 18."""
    made = shared().server(image="postgres:17").migrations("userdata")
    made.apply()
    made.query("INSERT INTO userdata (name) VALUES ('first')")
    return made.server(image="postgres:18")


@contextmanager
def upgrading(environment: Environment, until: str) -> Iterator[subprocess.Popen[str]]:
    """Run an upgrade until a step has ended; what is done then is the test's business."""
    argv = (sys.executable, "-m", "provision", "upgrade", "--yes", environment.spec.name)
    process = subprocess.Popen(
        argv, cwd=environment.directory, env=environment.environ, text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith(until) and ": done" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield process
        process.stdout.read()


def usable(environment: Environment, name: str) -> None:
    """See that the old server is there, with what it had, and takes a row without waiting."""
    environment.query("SET lock_timeout = '5s'; INSERT INTO userdata (name) VALUES (%s)", name)
    assert environment.query("SHOW server_version")[0][0].startswith("17.")
    names = [each for (each,) in environment.query("SELECT name FROM userdata ORDER BY id")]
    assert names[0] == "first"
    assert names[-1] == name


def test_killed_after_each_stage(running: Environment) -> None:
    for stage in STAGES:
        with upgrading(running, stage) as process:
            process.send_signal(signal.SIGKILL)
        if stage.startswith("stop"):
            break
        usable(running, f"after {stage}")
    # The copy counts now, and apply goes on with it.
    running.apply()
    assert running.query("SHOW server_version")[0][0].startswith("18.")
    assert running.query("SELECT count(*) FROM userdata") == [(len(STAGES),)]
    running.settled()
    running.run("upgrade", "--rollback", "--yes")
    usable(running, "back again")


def test_the_temporary_container_is_killed(running: Environment) -> None:
    name = f"{running.name}.upgrade"
    with upgrading(running, "create role/") as process:
        running.engine.client.kill(name)
    assert process.returncode == 1
    usable(running, "after the container was killed")
    assert len(running.engine.containers(running.name)) == 1
    assert [each["Name"] for each in running.engine.client.volumes(filters={"name": running.name})["Volumes"]] == [
        f"{running.name}-data"
    ]


def test_a_copy_that_differs_is_refused(running: Environment) -> None:
    with upgrading(running, "create database/shop") as process:
        process.send_signal(signal.SIGSTOP)
        statement = "INSERT INTO userdata (name) VALUES ('too much')"
        told = running.engine.run(f"{running.name}.upgrade", "psql", "-U", "postgres", "-d", "shop", "-c", statement)
        assert "INSERT 0 1" in told
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 1
    assert "before: 'shop': rows of public.userdata:" in said
    assert "after:  'shop': rows of public.userdata:" in said
    assert "the old server goes on with all of its data" in said
    usable(running, "after a wrong copy")


def test_no_row_is_lost_while_somebody_writes(running: Environment) -> None:
    written, stop, url = [], threading.Event(), running.url

    def write() -> None:
        while not stop.is_set():
            with suppress(psycopg2.Error), closing(psycopg2.connect(url, connect_timeout=2)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not stop.is_set():
                        cursor.execute("INSERT INTO userdata (name) VALUES ('w') RETURNING id")
                        written.extend(cursor.fetchone() or ())
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        running.run("upgrade", "--yes")
        time.sleep(1)
    finally:
        stop.set()
        writer.join()
    assert running.query("SHOW server_version")[0][0].startswith("18.")
    ids = {each for (each,) in running.query("SELECT id FROM userdata WHERE name = 'w'")}
    assert ids >= set(written)
    assert len(written) == len(set(written))
    assert len(ids - set(written)) <= 1, "the one that was not answered"
    running.settled()
