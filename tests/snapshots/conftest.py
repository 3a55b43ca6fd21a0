"""Environments whose data is saved and brought back: one a server for each test, the servers for a module."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.kept import an_applied, drop_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment

SERVERS = [
    pytest.param(("docker", 14), id="docker-14", marks=pytest.mark.docker),
    pytest.param(("docker", 18), id="docker-18", marks=pytest.mark.docker),
    pytest.param(("embedded", 14), id="embedded-14", marks=pytest.mark.server),
    pytest.param(("embedded", 18), id="embedded-18", marks=pytest.mark.server),
]


@pytest.fixture(scope="module", params=SERVERS)
def _applied(request: pytest.FixtureRequest) -> Iterator[Environment]:
    with an_applied(request, *request.param) as made:
        yield made.keep()


@pytest.fixture
def environment(_applied: Environment) -> Iterator[Environment]:
    """One of a server that the tests of a module share, with one row in ``canary`` and no snapshot."""
    yield _applied
    drop_kept(_applied)
    _applied.migrations("userdata", "orders")
    _applied.back()
    _applied.query("CREATE TABLE IF NOT EXISTS canary (n int PRIMARY KEY)")
    _applied.query("DELETE FROM canary")
    _applied.query("INSERT INTO canary VALUES (1)")


@pytest.fixture
def new(request: pytest.FixtureRequest) -> Iterator[Callable[[str, int], Environment]]:
    """Return an environment of its own."""
    with ExitStack() as stack:
        yield lambda runtime, major: stack.enter_context(an_applied(request, runtime, major))
