"""The hold on data: one run has it, others read whose it is, and it ends with its run however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import docker.errors
import pytest

from provision.errors import LockedError
from provision.runtimes import Claim
from provision.system import claims
from provision.system.engine_address import locate
from provision.system.engine_calls import Engine as Calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.engine import Engine

_HOLDER = """
import os, sys, time
from pathlib import Path
from provision.runtimes import Claim
from provision.system import claims
from provision.system.engine_address import locate
from provision.system.engine_calls import Engine
path, place = sys.argv[1:]
claim = Claim("the environment 'one' of /one", (Path(path),), place or None, "postgres:17")
with claims.hold(claim, lambda: Engine(locate(os.environ), "docker"), 5, print):
    print("held", flush=True)
    time.sleep(600)
"""


def held(claim: Claim, timeout: float = 0) -> Any:
    return claims.hold(claim, lambda: Calls(locate(os.environ), "docker"), timeout, print)


@pytest.fixture(params=["in the engine", "on this machine"])
def claim(request: pytest.FixtureRequest, tmp_path: Path) -> Claim:
    place = f"/t-{uuid4().hex}" if request.param == "in the engine" else None
    paths = () if place else (tmp_path / "pg",)
    return Claim("the environment 'two' of /two", paths, place, "postgres:17", ("/var/lib/postgresql/data",))


@pytest.fixture
def holder(claim: Claim, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    argv = (sys.executable, "-c", _HOLDER, str(tmp_path / "pg"), claim.place or "")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "held\n"
        yield run
        run.kill()


def test_who_has_it_is_named_and_a_killed_run_has_it_no_more(claim: Claim, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(LockedError) as refused:
        held(claim)
    assert f"the environment 'one' of /one, process {holder.pid} on " in refused.value.evidence[0]
    assert "--lock-timeout" in str(refused.value.next_step)
    holder.send_signal(signal.SIGKILL)
    with held(claim, 20):
        pass
    with held(claim, 20):  # and once more by the same run
        pass


def test_what_is_in_the_engine_can_reach_nothing_and_leaves_nothing(engine: Engine) -> None:
    place = f"/t-{uuid4().hex}"
    with held(Claim("x", (), place, "postgres:17", ("/var/lib/postgresql/data",)), 5):
        seen = engine.inspect(claims.name_of(place))
        assert (seen["State"]["Status"], seen["Mounts"]) == ("running", [])
        assert list(seen["NetworkSettings"]["Networks"]) in (["none"], [])  # [] is Podman's
        assert seen["Config"]["Cmd"] in (None, [])
    deadline = time.monotonic() + 20
    while True:
        if not engine.client.containers(all=True, filters={"name": claims.name_of(place)}):
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_that_was_created_and_not_started_is_in_nobodys_way(engine: Engine) -> None:
    """A run that was killed between the two calls has left it."""
    claim = Claim("x", (), f"/t-{uuid4().hex}", "postgres:17")
    left = engine.client.create_container_from_config(claims.body(claim), claims.name_of(str(claim.place)))["Id"]
    with held(claim, 20), pytest.raises(docker.errors.NotFound):
        engine.inspect(left)
