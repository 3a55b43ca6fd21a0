"""Saves, restores, undos and resets are killed with ``kill -9`` at random moments: no row is lost, nothing is left.

At each moment the database has its name, and the rows of before or of after; the next apply makes it as the spec says.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.kept import an_applied, kept, wait_for_the_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

VERBS = (
    ("snapshot", "save", "new"),
    ("snapshot", "restore", "first", "--yes"),
    ("snapshot", "undo"),
    ("reset", "--yes"),
)
RUNTIMES = (("docker", 18), ("embedded", 18))
_PATIENCE = 60
_UNKNOWN = """
SELECT datname FROM pg_database
WHERE datname ~ '^provision_' AND coalesce(shobj_description(oid, 'pg_database'), '') !~ '^{"provision"'
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = metafunc.config.getoption("--chaos-moments")
    chosen = random.Random(metafunc.config.getoption("--chaos-seed"))  # noqa: S311  # to be had again
    drawn = [(RUNTIMES[number % 2], VERBS[number // 2 % len(VERBS)], chosen.random()) for number in range(count)]
    marks = {"docker": pytest.mark.docker, "embedded": pytest.mark.server}
    found = [
        pytest.param(*each, marks=marks[each[0][0]], id=f"{number:02d}-{each[0][0]}-{each[1][-1]}-{each[2]:.3f}")
        for number, each in sorted(enumerate(drawn), key=lambda one: (one[1][0][0], one[0]))
    ]
    metafunc.parametrize(("runtime", "words", "fraction"), found)


@pytest.fixture(scope="module")
def environments(request: pytest.FixtureRequest) -> Iterator[dict[Any, Environment]]:
    with ExitStack() as stack:
        yield _Made(request, stack)


class _Made(dict[Any, Any]):
    """Environments with 40 MB in them, made when they are first needed; and how long each verb takes."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        super().__init__()
        self._request, self._stack = request, stack
        self.seconds: dict[Any, float] = {}

    def __missing__(self, runtime: tuple[str, int]) -> Environment:
        made: Environment = self._stack.enter_context(an_applied(self._request, *runtime))
        made.query("CREATE TABLE large AS SELECT g, repeat('x', 300) FROM generate_series(1, 100000) AS g")
        made.run("snapshot", "save", "first")
        for words in VERBS:
            began = time.monotonic()
            made.run(*words)
            self.seconds[runtime, words] = time.monotonic() - began
        made.run("snapshot", "restore", "first", "--yes")
        made.run("snapshot", "rm", "new")
        self[runtime] = made
        return made


def rows(environment: Environment) -> list[int] | None:
    """Return the rows of the canary, at once and as a client would; None: there is no such table."""
    if environment.query("SELECT to_regclass('canary')") == [(None,)]:
        return None
    return [number for (number,) in environment.query("SELECT n FROM canary ORDER BY 1")]


def test_killed_and_applied_again(
    environments: Any, runtime: tuple[str, int], words: tuple[str, ...], fraction: float
) -> None:
    made = environments[runtime]
    made.query("INSERT INTO canary SELECT coalesce(max(n), 0) + 1 FROM canary")
    if words[-1] == "undo":
        made.run("snapshot", "restore", "first", "--yes")
        made.query("INSERT INTO canary VALUES (100)")
        possible = [[1, 100], [1, 2]]
    else:
        possible = [[1, 2], {"new": [1, 2], "first": [1]}.get(words[2] if words[0] == "snapshot" else "")]
    run = made.begin(*words)
    time.sleep(fraction * environments.seconds[runtime, words])
    run.kill()
    said = run.communicate(timeout=_PATIENCE)
    try:
        assert rows(made) in possible, said
    except psycopg2.OperationalError as error:
        pytest.fail(f"{error}\n{said}")
    wait_for_the_server(made)
    made.apply()
    made.settled()
    assert rows(made) in possible, said
    assert made.superuser(_UNKNOWN) == []
    assert made.query("SELECT version_num FROM alembic_version") == [("r2",)]
    found = [each["name"] for each in made.run("snapshot", "list", "--json").json()["snapshots"]]
    assert "first" in found
    assert len(kept(made)) <= len(found) + 2
    if "new" in found:
        made.run("snapshot", "rm", "new")
    made.run("snapshot", "restore", "first", "--yes")
    assert rows(made) == [1]
    assert len(kept(made)) == 2
