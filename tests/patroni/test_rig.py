"""What the other tests of this folder build on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.environment import Environment
    from support.patroni import Cluster


@pytest.mark.long  # the tests of failovers build on it every day
def test_the_cluster_fails_over_and_is_whole_again(cluster: Cluster, environment: Environment) -> None:
    environment.migrations("userdata").apply()
    old = cluster.leader()
    cluster.kill(old)
    new = cluster.leader()
    assert cluster.whole().leader() is new is not old
    environment.settled()
