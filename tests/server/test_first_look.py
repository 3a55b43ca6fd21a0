"""An apply acts on its first look where no other run can have changed anything since."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from provision.system import lock

if TYPE_CHECKING:
    from support.embedded import Embedded

A_LOOK = "FROM pg_db_role_setting"  # once in each whole survey


def looks(environment: Embedded, skip: int) -> int:
    return sum(A_LOOK in line for line in environment.log()[skip:])


def logging(environment: Embedded) -> int:
    """Apply a server that logs its statements, and return the number of lines so far."""
    environment.server(settings={"log_statement": "all"}).apply()
    time.sleep(0.2)  # longer than clocks may differ
    lines = len(environment.log())
    environment.server(settings={"work_mem": "8MB"})
    return lines


def test_an_apply_of_settings_looks_twice(environment: Embedded) -> None:
    lines = logging(environment)
    environment.apply()
    assert looks(environment, lines) == 2, "before the change, and after it"
    assert environment.setting("work_mem") == "8MB"


def test_an_apply_that_waited_for_another_run_looks_again(environment: Embedded) -> None:
    lines = logging(environment)
    with lock.hold(environment.home / "lock", timeout=10, waiting=lambda _: None):
        process = environment.begin()
        deadline = time.monotonic() + 30
        while not looks(environment, lines):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert looks(environment, lines) == 3


def test_an_apply_that_another_run_made_needless_shows_no_fact_of_its_first_look(environment: Embedded) -> None:
    lines = logging(environment)
    with lock.hold(environment.home / "lock", timeout=10, waiting=lambda _: None):
        runs = [environment.begin(), environment.begin()]
        deadline = time.monotonic() + 30
        while looks(environment, lines) < len(runs):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
    printed = [run.communicate(timeout=60)[0] for run in runs]
    assert sum("1 reloaded" in each for each in printed) == 1
    (needless,) = [each for each in printed if "1 reloaded" not in each]
    assert "nothing to do" in needless
    assert "nothing to do (" not in needless, "its version and revisions are older than the other run"


def test_a_run_that_came_between_is_noticed(environment: Embedded) -> None:
    environment.apply()
    path = environment.home / "lock"
    os.utime(path)  # as if it ended now, however long this machine took since
    began = time.time()

    def hold(since: float) -> bool:
        with lock.hold(path, timeout=10, waiting=lambda _: None, since=since) as is_calm:
            return is_calm

    assert not hold(began), "the run of a moment before may have ended after the look began"
    time.sleep(0.2)
    assert hold(time.time())
    path.write_text('{"pid": 1, "host": "another", "since": "now"}')
    time.sleep(0.2)
    assert not hold(time.time()), "a run that was killed may have held it until now"
    path.unlink()
    assert hold(time.time()), "there was no other run yet"
