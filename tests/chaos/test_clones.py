"""Clones and their templates, killed with ``kill -9`` while they are made: the next one works, and nothing is left."""

from __future__ import annotations

import random
import time

import psycopg2
import pytest
from support.kept import an_applied, wait_for_the_server

_OURS = "SELECT datname FROM pg_database WHERE datname ~ '^provision' ORDER BY 1"
_PATIENCE = 60


@pytest.mark.parametrize(
    "runtime", [pytest.param("docker", marks=pytest.mark.docker), pytest.param("embedded", marks=pytest.mark.server)]
)
def test_killed_and_made_again(request: pytest.FixtureRequest, runtime: str) -> None:
    chosen = random.Random(request.config.getoption("--chaos-seed"))  # noqa: S311  # to be had again
    with an_applied(request, runtime, 18) as made:
        began = time.monotonic()
        made.run("clone")
        seconds = time.monotonic() - began
        made.run("clone", "--drop", "--all")
        for number in range(-(-request.config.getoption("--chaos-moments") // 2)):
            run = made.begin("clone")
            time.sleep(chosen.random() * seconds)
            run.kill()
            said = run.communicate(timeout=_PATIENCE)
            wait_for_the_server(made)
            made.settled()
            assert made.query("SELECT n FROM canary") == [(1,)], said
            url = made.run("clone").out.split()[0]
            psycopg2.connect(url).close()
            if number % 2:  # the others are killed while only a copy is made
                made.run("clone", "--drop", "--all")
                assert made.superuser(_OURS) == [], said
