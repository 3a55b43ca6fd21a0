"""The primary is killed while a migration runs: it waits for the next one, and continues from what that one has."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from support.forty_revisions import ASKS, HALF, REVISIONS, SLEEPS, ended, hosts, is_whole, many, until

if TYPE_CHECKING:
    from support.environment import Environment
    from support.patroni import Cluster

pytestmark = pytest.mark.long

ROUNDS = 10


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_primary_is_killed_at_any_moment(cluster: Cluster, environment: Environment, number: int) -> None:
    chance = random.Random(number)  # noqa: S311
    environment.server(**(hosts(cluster) if number % 2 else {}))
    slow = "    pathlib.Path({path!r}).touch()\n    time.sleep(0.05)\n"
    reached, old = many(environment, dict.fromkeys(range(1, REVISIONS + 1), slow)), cluster.leader()
    environment.declare(migrations={"timeout": "2m"})
    apply = environment.begin()
    until(reached)
    time.sleep(1.9 * chance.random())  # forty revisions take two seconds
    cluster.kill(old)
    said = ended(apply)
    assert len(re.findall(r"(?m)^the server went away", said)) == 1, said
    is_whole(environment, cluster)


def test_a_committed_revision_that_the_failover_lost_is_named_and_runs_again(
    cluster: Cluster, environment: Environment
) -> None:
    environment.server(**hosts(cluster))
    reached, old = many(environment, {18: ASKS, 20: SLEEPS}), cluster.leader()
    apply = environment.begin()
    until(reached.with_name("reached-asks"))
    time.sleep(0.5)  # what is committed by now is with the standbys
    senders = [each for each in psutil.process_iter(["cmdline"]) if _is_sender(each, old.port)]
    assert len(senders) == 2
    for each in senders:
        each.suspend()
    reached.with_name("reached-answer").touch()
    until(reached)
    cluster.kill(old)
    (line,) = re.findall(r"(?m)^the server went away.*$", ended(apply))
    assert "0020 runs again; the failover lost 0018 and 0019, which were committed: they run again" in line
    is_whole(environment, cluster)


def test_what_else_the_failover_lost_is_done_again_by_the_same_apply(
    cluster: Cluster, environment: Environment
) -> None:
    environment.server(**hosts(cluster)).run("apply")
    role, old = f"r_{environment.name[2:]}", cluster.leader()
    for each in [each for each in psutil.process_iter(["cmdline"]) if _is_sender(each, old.port)]:
        each.suspend()
    environment.declare(roles={role: {}})
    reached = many(environment, {20: SLEEPS})
    apply = environment.begin()
    until(reached)
    cluster.kill(old)
    said = ended(apply)
    assert "the failover lost 19 revisions, 0001 to 0019, which were committed: they run again" in said
    counted = f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'"  # noqa: S608
    assert cluster.execute(counted, node=cluster.leader()) == [(1,)]
    is_whole(environment, cluster)


def _is_sender(process: psutil.Process, port: int) -> bool:
    words = " ".join(process.info["cmdline"] or ())
    if "walsender" not in words:
        return False
    return any(each.laddr and each.laddr.port == port for each in process.net_connections())


def test_a_revision_that_committed_a_part_of_itself_is_not_repeated(cluster: Cluster, environment: Environment) -> None:
    environment.server(**hosts(cluster))
    reached, old = many(environment, {20: HALF + SLEEPS}), cluster.leader()
    apply = environment.begin()
    until(reached)
    time.sleep(0.5)
    cluster.kill(old)
    said = ended(apply, code=1)
    assert "the server went away in revision 0020, and a part of what has to run again was committed by itself" in said
    assert "committed by 0020 all the same: INSERT INTO t0001 VALUES (2)" in said
    assert "applied now: 0019" in said
    # Not through HAProxy: the apply ends as soon as the new primary takes writes, which that notices a check later.
    cleaned = ("DROP TABLE IF EXISTS t0020", "DELETE FROM t0001 WHERE id = 2")
    cluster.execute(*cleaned, node=cluster.leader(), database=environment.document["server"]["database"])
    environment.run("apply")


def test_a_migration_waits_for_a_primary_no_longer_than_it_may_take(cluster: Cluster, environment: Environment) -> None:
    environment.server(**hosts(cluster))
    reached, old = many(environment, {20: SLEEPS}), cluster.leader()
    environment.declare(migrations={"timeout": "8s"})
    cluster.pause()
    try:
        apply = environment.begin()
        until(reached)
        cluster.kill(old)
        said = ended(apply, code=69)
    finally:
        cluster.ask("PATCH", "/config", {"pause": None}, node=next(each for each in cluster.nodes if each is not old))
    assert "the server went away in revision 0020, and none took writes within the time of the migration" in said
    environment.run("apply")
    is_whole(environment, cluster)
