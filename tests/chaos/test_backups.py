"""Restores of a backup are killed with ``kill -9`` at random moments: neither database is lost, and nothing is left."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.kept import an_applied, kept, wait_for_the_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

RUNTIMES = (("docker", 16), ("embedded", 18))
_PATIENCE = 60


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fraction" not in metafunc.fixturenames:
        return
    count = metafunc.config.getoption("--chaos-moments")
    chosen = random.Random(metafunc.config.getoption("--chaos-seed"))  # noqa: S311  # to be had again
    fractions = sorted(chosen.random() for _ in range(max(1, count // 4)))  # on each of two runtimes
    metafunc.parametrize("fraction", fractions, ids=[f"{each:.3f}" for each in fractions])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(RUNTIMES[0], id="docker", marks=pytest.mark.docker),
        pytest.param(RUNTIMES[1], id="embedded", marks=pytest.mark.server),
    ],
)
def saved(request: pytest.FixtureRequest) -> Iterator[tuple[Environment, str, float]]:
    """An environment with 30 MB, a backup of it with one row less than it has, and how long a restore takes."""
    with an_applied(request, *request.param) as made:
        made.query("CREATE TABLE large AS SELECT g, repeat('x', 300) FROM generate_series(1, 80000) AS g")
        (found,) = made.run("backup", "make", "--json").json()["backups"]
        name = Path(found["file"]).name
        began = time.monotonic()
        made.run("backup", "restore", name, "--yes")
        yield made, name, time.monotonic() - began


def rows(environment: Environment) -> list[int]:
    return [number for (number,) in environment.query("SELECT n FROM canary ORDER BY 1")]


def test_killed_and_applied_again(saved: tuple[Environment, str, float], fraction: float) -> None:
    made, name, seconds = saved
    made.query("INSERT INTO canary VALUES (2)")
    run = made.begin("backup", "restore", name, "--yes")
    time.sleep(fraction * seconds)
    run.kill()
    said = run.communicate(timeout=_PATIENCE)
    assert rows(made) in ([1, 2], [1]), said
    wait_for_the_server(made)
    made.apply()
    made.settled()
    found = rows(made)
    assert found in ([1, 2], [1]), said
    assert made.query("SELECT count(*) FROM large") == [(80000,)]
    assert len(kept(made)) == 1, "the database that a restore has replaced, and no copy"
    if found == [1]:
        made.run("snapshot", "undo")
        assert rows(made) == [1, 2], "what was replaced"
    made.run("backup", "restore", name, "--yes")
    assert rows(made) == [1]
