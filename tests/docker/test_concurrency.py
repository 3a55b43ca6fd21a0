"""Several runs at once: of one environment, where one works and the others wait, and of several, where none does."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from support.environment import an_environment

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable
    from pathlib import Path

    from support.engine import Engine
    from support.environment import Environment

_MANY = 8
_TIMEOUT = 200


def said(runs: Iterable[subprocess.Popen[str]], code: int = 0) -> list[str]:
    """Wait for all runs, and return what each one printed."""
    texts = []
    for run in runs:
        text, _ = run.communicate(timeout=_TIMEOUT)
        assert run.returncode == code, text
        texts.append(text)
    return texts


def working(environment: Environment) -> subprocess.Popen[str]:
    """Start an apply, and wait until it holds the lock."""
    run, path = environment.begin(), environment.home / "lock"
    deadline = time.monotonic() + _TIMEOUT
    while not (path.exists() and path.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return run


def test_eight_applies_of_one_spec(environment: Environment) -> None:
    environment.migrations("userdata", "orders")
    events = environment.engine.record(environment.name)
    texts = said([environment.begin() for _ in range(_MANY)])
    assert sum("nothing to do" in each for each in texts) == _MANY - 1
    made = [each for each in events.seen() if each.startswith(("container create", "network create"))]
    assert made == [f"container create {environment.name}"]
    environment.settled()


def test_eight_applies_of_eight_specs(engine: Engine, tmp_path: Path) -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(an_environment(engine, tmp_path / f"p{each}")) for each in range(_MANY)]
        said([each.begin() for each in several])
        assert len({each.port for each in several}) == _MANY
        for each in several:
            each.settled()


def test_the_holder_of_the_lock_is_named(environment: Environment) -> None:
    run = working(environment)
    told = environment.run("apply", "--lock-timeout", "0", code=75).err
    assert f"the lock is held by process {run.pid} on " in told
    assert "--lock-timeout" in told
    said([run])
    environment.settled()


def test_interrupted_it_says_what_was_done_and_goes_on_later(environment: Environment) -> None:
    run = working(environment)
    deadline = time.monotonic() + _TIMEOUT
    while not environment.engine.containers(environment.name):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    (text,) = said([run], code=130)
    for each in ("done: ", "not done: ", "error: interrupted", "next: provision apply "):
        assert each in text, text
    environment.apply()
    environment.settled()
