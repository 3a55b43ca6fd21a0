"""``server.hosts``: the primary of a cluster is found, after a switchover and in the middle of a migration, too."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
from support.forty_revisions import SLEEPS, ended, hosts, is_whole, many, until

if TYPE_CHECKING:
    from support.environment import Environment
    from support.patroni import Cluster

_PROGRAM = """
import sys, psycopg2
cursor = psycopg2.connect("").cursor()
cursor.execute(sys.argv[1])
print(*cursor.fetchone())
"""


@pytest.fixture
def several(cluster: Cluster, environment: Environment) -> Environment:
    """The environment with the hosts of the cluster, the primary last."""
    leader = cluster.leader()
    nodes = sorted(cluster.nodes, key=lambda each: each is leader)
    return environment.server(host=None, port=None, hosts=[f"127.0.0.1:{each.port}" for each in nodes])


@pytest.mark.long  # the next primary is found after the failover below, too
def test_the_primary_is_found_and_after_a_switchover_there_is_nothing_to_do(
    cluster: Cluster, several: Environment
) -> None:
    several.migrations("a", "b")
    several.run("apply")
    cluster.switchover()
    cluster.whole()
    assert "nothing to do" in several.run("plan", "--detailed-exitcode").all
    assert "nothing to do" in several.run("apply").all


def test_psql_and_programs_reach_the_primary(cluster: Cluster, several: Environment) -> None:
    several.run("apply")
    asked = "SELECT pg_is_in_recovery(), inet_server_port()"
    primary = f"f|{cluster.leader().port}"
    assert several.run("psql", "spec.yml", "--", "-qAtc", asked, spec=False).out.strip() == primary
    url = several.run("url").out.strip()
    assert url.endswith("?target_session_attrs=read-write")
    assert several.run("run", "spec.yml", "--", sys.executable, "-c", _PROGRAM, asked, spec=False).out == (
        f"False {cluster.leader().port}\n"
    )


def test_a_standby_is_recognised_also_where_it_lacks_the_database(cluster: Cluster, environment: Environment) -> None:
    standby = cluster.standbys()[0]
    environment.server(port=standby.port)
    refused = environment.run("apply", code=1)
    assert f"the server at 127.0.0.1:{standby.port} is a standby, which can only be read" in refused.err
    assert "`server.hosts`" in refused.err


@pytest.mark.parametrize("way", ["hosts", pytest.param("haproxy", marks=pytest.mark.long)])
def test_the_primary_is_killed_in_the_middle_of_revision_20_of_40(
    cluster: Cluster, environment: Environment, way: str
) -> None:
    environment.server(**(hosts(cluster) if way == "hosts" else {}))
    reached, old = many(environment, {20: SLEEPS}), cluster.leader()
    apply = environment.begin()
    until(reached)
    cluster.kill(old)
    (line,) = re.findall(r"(?m)^the server went away.*$", ended(apply))
    where = f"127.0.0.1:{cluster.leader().port if way == 'hosts' else cluster.primary_port}"
    assert re.match(rf"the server went away in revision 0020; {where} takes writes after \d+ s; 0020 runs again", line)
    is_whole(environment, cluster)


def test_alter_system_is_refused_where_standbys_stream(cluster: Cluster, environment: Environment) -> None:
    environment.server(**hosts(cluster), settings_via="alter_system", settings={"work_mem": "7MB"})
    refused = environment.run("plan", code=1).err
    assert "`settings_via: alter_system` changes one server, and standbys stream from this one" in refused
    assert "a standby streams: " in refused
    assert "work_mem differs" in refused
    assert "`settings_via: patroni`" in refused
    environment.server(settings={"work_mem": "4MB"})
    environment.run("apply")


def test_hosts_that_are_all_standbys_are_waited_for_and_named(cluster: Cluster, environment: Environment) -> None:
    hosts = [f"127.0.0.1:{each.port}" for each in cluster.standbys()]
    environment.server(host=None, port=None, hosts=hosts, ready_timeout="1s")
    refused = environment.run("apply", code=69)
    assert f"no server at {', '.join(hosts)} takes writes: each is a standby, or does not answer" in refused.err
    assert "no host takes writes now" in environment.run("plan").out
