"""What different versions of Patroni answer with becomes the same cluster."""

from __future__ import annotations

import pytest

from provision.model.cluster import Cluster, Member, parsed

CONFIG = {
    "loop_wait": 10,
    "postgresql": {"parameters": {"max_connections": 100, "Hot_Standby": True, "work_mem": None}},
}


def test_an_answer_of_patroni_4() -> None:
    leader = {
        "name": "db1",
        "role": "leader",
        "state": "running",
        "api_url": "https://db1:8008/patroni",
        "host": "db1",
        "port": 5432,
        "timeline": 3,
        "pending_restart": True,
        "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "200"}},
    }
    standby = {"name": "db2", "role": "sync_standby", "state": "streaming", "replay_lag": 8, "lag": 0}
    found = parsed(
        {"members": [leader, standby], "scope": "shop", "pause": True}, {**CONFIG, "provision": {"shop": ["work_mem"]}}
    )
    first = Member("db1", "leader", "running", "https://db1:8008", "db1", 5432, 3, None, True, ("max_connections",))
    second = Member("db2", "sync_standby", "streaming", "", lag=8)
    parameters = {"max_connections": "100", "hot_standby": "on"}
    assert found == Cluster((first, second), parameters, {"shop": ("work_mem",)}, 10.0, is_paused=True, scope="shop")
    assert found.leader == first


def test_an_answer_of_an_older_patroni() -> None:
    members = [
        {"name": "db1", "role": "master", "state": "running", "pending_restart": True},
        {"name": "db2", "role": "replica", "state": "start failed", "lag": "unknown"},
    ]
    found = parsed({"members": members}, {"postgresql": None})
    assert found.leader == Member("db1", "master", "running", "", is_pending=True)
    assert [each.lag for each in found.members] == [None, None]
    assert [each.is_well for each in found.members] == [True, False]
    assert found.title == "the cluster"


@pytest.mark.parametrize("listed", [[], {}, {"members": [1]}, {"members": [{}]}, "x"])
def test_what_is_no_answer_of_patroni(listed: object) -> None:
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        parsed(listed, {})
