"""Runs that are killed, and runs that meet: the next one finds its way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environment import Environment


def apply_and_kill(environment: Environment, after: float) -> int:
    """Start an apply, and kill it the hard way some time after it began to act."""
    with environment.begin() as run:
        assert run.stdout is not None
        run.stdout.readline()
        time.sleep(after)
        run.send_signal(signal.SIGKILL)
    return run.returncode


@pytest.mark.parametrize("after", [0.0, 0.3, 0.7, 1.2])
def test_a_first_apply_that_was_killed(environment: Environment, after: float) -> None:
    environment.migrations("userdata", "orders")
    apply_and_kill(environment, after)
    environment.apply()
    assert environment.query("SELECT version_num FROM alembic_version") == [("r2",)]
    environment.settled()


@pytest.mark.parametrize("after", [0.0, 0.2, 0.5, 1.0])
def test_a_recreation_that_was_killed(environment: Environment, after: float) -> None:
    environment.apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.server(stop_timeout="5s", max_connections=50)
    apply_and_kill(environment, after)
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    assert len(environment.engine.containers(environment.name)) == 1
    environment.settled()


def test_four_applies_at_once(environment: Environment) -> None:
    environment.migrations("userdata")
    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda _: environment.run("apply"), range(4)))
    assert sum("create container/" in each.out for each in ran) == 1
    assert all("nothing to do" in each.out or "created" in each.out for each in ran), [each.all for each in ran]
    environment.settled()


def test_one_that_waits_too_long_names_who_it_waited_for(environment: Environment) -> None:
    environment.apply()
    environment.server(max_connections=50)
    code = (
        "import sys, time, pathlib; from provision.system import lock\n"
        "with lock.hold(pathlib.Path(sys.argv[1]), timeout=1, waiting=print): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen((sys.executable, "-c", code, environment.home / "lock"), stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        ran = environment.run("apply", "--lock-timeout", "0.5", code=75)
        assert f"process {holder.pid}" in ran.err
        assert "max_connections: 100 → 50" in environment.run("plan").out, "who only looks needs no lock"
        holder.kill()
    environment.apply()
    environment.settled()


def test_data_that_goes_away_needs_no_clean_stop(environment: Environment) -> None:
    """While an entrypoint makes the data, it answers no signal."""
    (environment.directory / "slow.sh").write_text("sleep 1800\n")
    environment.server(initdb=["slow.sh"], stop_timeout="1800s", ready_timeout="1800s")
    with environment.begin() as run:
        assert run.stdout is not None
        assert any("start server/" in line for line in run.stdout)
        run.send_signal(signal.SIGKILL)
    environment.run("destroy", "--data", "--yes")
    assert environment.engine.containers(environment.name) == []
