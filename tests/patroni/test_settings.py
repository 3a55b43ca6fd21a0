"""Settings of a cluster are changed through Patroni's REST API, on every member, and taken out again."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.environment import Environment
    from support.patroni import Cluster


@contextmanager
def declared(cluster: Cluster, environment: Environment, **settings: Any) -> Iterator[Environment]:
    """Declare settings of the cluster, and take them out again afterwards."""
    before = parameters(cluster)
    environment.server(settings_via="patroni", patroni=cluster.patroni(), settings=settings)
    try:
        yield environment
    finally:
        names = parameters(cluster).keys() - before.keys()
        change = {**before, **dict.fromkeys(names)}
        cluster.ask("PATCH", "/config", {"postgresql": {"parameters": change}, "provision": None, "pause": None})


def parameters(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.ask("GET", "/config")["postgresql"]["parameters"]
    return found


def on_all(cluster: Cluster, name: str) -> set[str]:
    return {str(cluster.execute(f"SHOW {name}", node=node)[0][0]) for node in cluster.nodes}


def test_a_setting_reaches_every_member_and_is_taken_out_again(cluster: Cluster, environment: Environment) -> None:
    with declared(cluster, environment, work_mem="9MB", max_connections=60):  # the cluster has 60 already
        planned = environment.steps()[-2]
        assert (planned["address"], planned["action"]) == ("settings/server", "reload")
        assert [each["field"] for each in planned["why"]] == ["work_mem"]
        environment.apply()
        assert on_all(cluster, "work_mem") == {"9MB"}
        assert cluster.ask("GET", "/config")["provision"] == {environment.name: ["work_mem"]}
        environment.server(settings={"work_mem": None, "max_connections": None})
        environment.apply()
        assert on_all(cluster, "work_mem") == {"4MB"}
        found = cluster.ask("GET", "/config")
        assert "provision" not in found
        assert found["postgresql"]["parameters"]["max_connections"] == 60  # it did not come from this spec
        environment.settled()


def test_what_the_api_answers_with_is_an_error_that_says_what_to_do(cluster: Cluster, environment: Environment) -> None:
    with declared(cluster, environment, work_mem="9MB"):
        refused = environment.run("apply", code=1, PATRONI_PW="wrong")
        assert f"Patroni refuses '{cluster.patroni()['user']}'" in refused.err
        assert "answered 401" in refused.err
        assert "wrong" not in refused.all.replace("wrong password", "")
        environment.server(patroni={"cert": None, "key": None})
        refused = environment.run("apply", code=1)
        assert "answered 403" in refused.err
        assert "as `server.patroni.cert` and `key`" in refused.err
        environment.server(patroni={**cluster.identity, "key": str(cluster.ca)})
        assert "are no certificate with its key" in environment.run("plan", code=1).err
        environment.server(patroni={**cluster.identity, "ca": None})
        unknown = environment.run("plan", code=69)
        assert "no certificate of Patroni's REST API is trusted" in unknown.err
        assert "`server.patroni.ca`" in unknown.err
        environment.server(patroni={"api": ["http://127.0.0.1:9"], "ca": str(cluster.ca)})
        assert "http://127.0.0.1:9: Connection refused" in environment.run("plan", code=69).err
        environment.server(patroni={"api": [f"http://127.0.0.1:{cluster.nodes[0].port}", *cluster.patroni()["api"]]})
        assert environment.actions() == [
            "reload settings/server",
            "create database/" + environment.name.replace("t-", "shop_"),
        ]
        assert "work_mem" not in parameters(cluster)


def test_a_paused_cluster_is_left_alone(cluster: Cluster, environment: Environment) -> None:
    with declared(cluster, environment, work_mem="9MB"):
        cluster.pause()
        refused = environment.run("apply", code=1)
        assert "is paused" in refused.err
        assert "patronictl resume shop-ha" in refused.err
        assert "paused" in environment.run("status", code=1).out
        assert "work_mem" not in parameters(cluster)


def test_status_shows_the_members(cluster: Cluster, environment: Environment) -> None:
    environment.server(patroni=cluster.patroni()).apply()
    leader = cluster.leader()
    shown = environment.run("status", "--json").json()["cluster"]
    assert (shown["scope"], shown["leader"], shown["paused"]) == ("shop-ha", leader.name, False)
    assert {each["name"]: each["role"] for each in shown["members"]} == {
        each.name: "leader" if each is leader else "replica" for each in cluster.nodes
    }
    assert {each["timeline"] for each in shown["members"]} == {shown["timeline"]}
    assert [each["lag"] is None for each in shown["members"]] == [each is leader for each in cluster.nodes]
    text = environment.run("status").out
    assert f"the cluster 'shop-ha': the leader is {leader.name}, timeline" in text


def test_with_no_commands_the_api_is_not_asked(cluster: Cluster, environment: Environment) -> None:
    environment.server(patroni={**cluster.patroni(), "api": ["http://127.0.0.1:9"]}, settings_via="patroni")
    assert "did not log in" in environment.run("plan", "--no-commands").out


@pytest.mark.long
def test_a_member_with_a_value_of_its_own_is_named(cluster: Cluster, environment: Environment) -> None:
    node = cluster.leader()
    with declared(cluster, environment, work_mem="9MB"):
        environment.apply()
        cluster.execute("ALTER SYSTEM SET work_mem = '7MB'", "SELECT pg_reload_conf()", node=node)
        try:
            failed = environment.run("apply", code=1)
            assert f"work_mem is '7MB' on {node.name}, and '9MB' is declared: ALTER SYSTEM" in failed.all
        finally:
            cluster.execute("ALTER SYSTEM RESET work_mem", "SELECT pg_reload_conf()", node=node)


@pytest.mark.long
@pytest.mark.parametrize("number", [70, 50])
def test_what_needs_a_restart_waits_until_it_is_asked_for(
    cluster: Cluster, environment: Environment, number: int
) -> None:
    with declared(cluster, environment, max_connections=number):
        ran = environment.apply()
        assert "node1, node2 and node3 wait for a restart (max_connections)" in ran.out
        assert on_all(cluster, "max_connections") == {"60"}
        assert "nothing to do" in environment.run("plan", "--detailed-exitcode", code=2).out
        assert all(each["pending_restart"] for each in environment.run("status", "--json").json()["cluster"]["members"])
        environment.run("apply", "--restart-cluster")
        assert on_all(cluster, "max_connections") == {str(number)}
        environment.settled()
        cluster.switchover()
        environment.settled()
        environment.server(settings={"max_connections": 60})
        environment.run("apply", "--restart-cluster")
        assert on_all(cluster, "max_connections") == {"60"}


def test_a_migration_waits_for_the_standbys(cluster: Cluster, environment: Environment) -> None:
    environment.migrations("userdata").declare(migrations={"max_replica_lag": "1k", "timeout": "2s"})
    standby = cluster.standbys()[0]
    with cluster.behind(standby):
        late = environment.run("apply", code=75)
        assert f"{standby.name} is" in late.err
        assert "bytes behind (1,024 are allowed)" in late.err
    environment.declare(migrations={"timeout": "60s"}).apply()


def test_a_migration_does_not_wait_for_an_archive(cluster: Cluster, environment: Environment, tmp_path: Path) -> None:
    environment.migrations("userdata").declare(migrations={"max_replica_lag": "16m", "timeout": "5s"})
    with cluster.archiving(tmp_path) as archiver:
        environment.apply()
        assert archiver.poll() is None


def test_a_migration_waits_until_commits_do(cluster: Cluster, environment: Environment) -> None:
    environment.migrations("userdata").declare(migrations={"require_synchronous": True, "timeout": "1s"})
    assert "no standby is synchronous" in environment.run("apply", code=75).err
    cluster.ask("PATCH", "/config", {"synchronous_mode": True})
    try:
        environment.declare(migrations={"timeout": "60s"}).apply()
    finally:
        cluster.ask("PATCH", "/config", {"synchronous_mode": None})
