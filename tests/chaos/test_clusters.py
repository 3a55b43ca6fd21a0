"""Saves, restores and undos of the whole cluster are killed with ``kill -9`` at random moments.

The next apply has a server with the rows of before or of after, and nothing is left that nothing uses.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support.kept import an_applied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

VERBS = (("save", "new", "--all"), ("restore", "first", "--all", "--yes"), ("undo", "--all"))
RUNTIMES = (("docker", 18), ("embedded", 18))
_PATIENCE = 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = metafunc.config.getoption("--chaos-moments")
    chosen = random.Random(metafunc.config.getoption("--chaos-seed"))  # noqa: S311  # to be had again
    marks = {"docker": pytest.mark.docker, "embedded": pytest.mark.server}
    found = []
    for runtime in RUNTIMES:
        for number in range(-(-count // 3)):
            words, fraction = VERBS[number % len(VERBS)], chosen.random()
            name = f"{number:02d}-{runtime[0]}-{words[0]}-{fraction:.3f}"
            found.append(pytest.param(runtime, words, fraction, marks=marks[runtime[0]], id=name))
    metafunc.parametrize(("runtime", "words", "fraction"), found)


@pytest.fixture(scope="module")
def environments(request: pytest.FixtureRequest) -> Iterator[dict[Any, Environment]]:
    with ExitStack() as stack:
        yield _Made(request, stack)


class _Made(dict[Any, Any]):
    """Environments with a snapshot of one row, made when they are first needed; and how long each verb takes."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        super().__init__()
        self._request, self._stack = request, stack
        self.seconds: dict[Any, float] = {}

    def __missing__(self, runtime: tuple[str, int]) -> Environment:
        made: Environment = self._stack.enter_context(an_applied(self._request, *runtime))
        made.run("snapshot", "save", "first", "--all")
        for words in VERBS:
            began = time.monotonic()
            made.run("snapshot", *words)
            self.seconds[runtime, words] = time.monotonic() - began
        made.run("snapshot", "rm", "new", "--all")
        self[runtime] = made
        return made


def rows(environment: Environment) -> list[int]:
    return [number for (number,) in environment.query("SELECT n FROM canary ORDER BY 1")]


def test_killed_and_applied_again(
    environments: Any, runtime: tuple[str, int], words: tuple[str, ...], fraction: float
) -> None:
    made = environments[runtime]
    made.run("snapshot", "restore", "first", "--all", "--yes")
    made.query("INSERT INTO canary VALUES (2)")
    before, after = [1, 2], [1] if words[0] == "restore" else [1, 2]
    if words[0] == "undo":
        made.run("snapshot", "restore", "first", "--all", "--yes")
        made.query("INSERT INTO canary VALUES (100)")
        before = [1, 100]
    run = made.begin("snapshot", *words)
    time.sleep(fraction * environments.seconds[runtime, words])
    run.kill()
    said = run.communicate(timeout=_PATIENCE)
    made.apply()
    made.settled()
    found = rows(made)
    assert found in (before, after), said
    clusters = made.run("snapshot", "list", "--json").json()
    names = [each["name"] for each in clusters["clusters"]]
    assert "first" in names
    made.run("snapshot", "undo", "--all")  # what is kept is the other one
    if words[0] != "save":
        other = rows(made)
        kept = [each["by"] for each in clusters["replaced_clusters"]]
        is_done = kept == [words[0]] and found == after
        assert other == before if is_done else other != found or words[0] == "restore", (said, found, other)
        made.run("snapshot", "undo", "--all")
        assert rows(made) == found
    if "new" in names:
        made.run("snapshot", "rm", "new", "--all")
    nothing_is_left(made, runtime)


def nothing_is_left(environment: Environment, runtime: tuple[str, int]) -> None:
    """See that only what counts is there."""
    if runtime[0] == "embedded":
        place = environment.home / "data-snapshots"
        assert sorted(each.name for each in place.iterdir()) == [".replaced", "first", "provision.snapshots"]
        assert sorted(each.name for each in (place / ".replaced").iterdir()) == ["about.json", "data"]
        return
    found = environment.engine.client.volumes(filters={"label": f"provision.environment={environment.name}"})["Volumes"]
    kinds = sorted((each["Labels"].get("provision.snapshot", "data")) for each in found)
    assert kinds == ["complete", "complete", "data", "replaced", "snapshot"]
    helpers = environment.engine.client.containers(all=True, filters={"name": f"{environment.name}.*snapshot"})
    assert helpers == []
