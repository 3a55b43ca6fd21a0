"""A setting that keeps the server from starting, also where the run that brought it was killed in the middle."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

WRONG = {"memory": {"shared_buffers": "400GB"}, "library": {"shared_preload_libraries": "no_such_library"}}
TOLD = {"memory": "could not map anonymous shared memory", "library": 'could not access file "no_such_library"'}


@pytest.fixture(scope="module", params=["postgres:14", "postgres:18", "embedded"])
def good(request: pytest.FixtureRequest) -> Iterator[Environment]:
    """An environment that was applied and holds a row."""
    with an_open_directory() as directory:
        if request.param == "embedded":
            context: Any = an_embedded_environment(directory / "project")
        else:
            context = an_environment(request.getfixturevalue("engine"), directory / "project")
        with context as made:
            if request.param != "embedded":
                made.server(image=request.param)
            made.server(settings={"work_mem": "5MB"}).apply()
            made.query("CREATE TABLE kept AS SELECT 42 AS answer")
            yield made


def runs_as_before(environment: Environment) -> None:
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    assert environment.setting("work_mem") == "5MB"
    assert "work_mem = 5MB" in (environment.home / "config" / "postgresql.conf").read_text()


@pytest.mark.parametrize("what", WRONG)
def test_the_last_good_configuration_comes_back(good: Environment, what: str) -> None:
    declared = good.document
    good.server(settings={"work_mem": "6MB", **WRONG[what]})
    failed = good.run("apply", code=1)
    assert TOLD[what] in failed.err
    assert "the last good configuration is back, and the server runs with it" in failed.err
    assert "undone: update file/config/postgresql.conf\n" in failed.err
    assert "done: 1 updated" not in failed.err
    (name,) = WRONG[what]
    line = next(n for n, text in enumerate(good.spec.read_text().splitlines(), 1) if f"{name}:" in text)
    assert f"next: correct `{name}` (spec.yml:{line})" in failed.err
    runs_as_before(good)
    good.document = declared
    good.declare().settled()


def test_after_a_kill_in_the_middle_it_comes_back_too(good: Environment) -> None:
    declared = good.document
    good.server(settings={"work_mem": "6MB", **WRONG["library"]})
    conf = good.home / "config" / "postgresql.conf"
    with good.begin() as process:
        while "no_such_library" not in conf.read_text():
            assert process.poll() is None, "it has ended, and the setting never was in the file"
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert "no_such_library" in conf.read_text()
    good.server(settings={"work_mem": "7MB"})
    failed = good.run("apply", code=1)
    assert TOLD["library"] in failed.err
    assert "the last good configuration is back" in failed.err, failed.all
    runs_as_before(good)
    good.document = declared
    good.declare().settled()
