"""One cluster of three nodes a session, and environments for it, each with a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support.embedded import NO_ENGINE
from support.environment import Environment
from support.patroni import a_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.patroni import Cluster


@pytest.fixture(scope="session")
def running() -> Iterator[Cluster]:
    """The session's cluster."""
    with a_cluster() as made:
        yield made


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """The cluster, with all its members."""
    return running.whole()


@pytest.fixture
def environment(cluster: Cluster, tmp_path: Path) -> Environment:
    """An environment of this test: declared with the address of HAProxy, not applied."""
    made = Environment(None, tmp_path / "project", f"t-{uuid4().hex[:8]}")  # type: ignore[arg-type]  # no engine here
    made.environ["DOCKER_HOST"] = NO_ENGINE
    return cluster.declare(made)
