"""The primary is killed while something other than a migration runs: the same apply goes on with the next one."""

from __future__ import annotations

import random
import re
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.forty_revisions import ended, hosts
from support.patroni import SUPERUSER_PASSWORD

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.environment import Environment
    from support.patroni import Cluster

ROUNDS = 10
_LINE = r"(?m)^the server went away during .*$"


def until(cluster: Cluster, what: str) -> None:
    """Wait until one session of the primary is in a state."""
    asked, leader = f"SELECT count(*) FROM pg_stat_activity WHERE {what}", cluster.leader()  # noqa: S608
    for _ in attempts(60, 0.05):
        if cluster.execute(asked, node=leader) == [(1,)]:
            return
    raise AssertionError(what)


@contextmanager
def held(cluster: Cluster, database: str, statement: str) -> Iterator[None]:
    """Have a transaction on the primary that another one has to wait for."""
    with closing(cluster.connect(node=cluster.leader(), database=database)) as connection:
        connection.autocommit = False
        connection.cursor().execute(statement)
        yield


def reader(environment: Environment) -> dict[str, Any]:
    """Return the keys of a spec with a role that reads the tables."""
    database, role = environment.document["server"]["database"], f"r_{environment.name[2:]}"
    environment.environ["READER"] = SUPERUSER_PASSWORD
    grants = [{"to": role, "on": {"tables": "public.*"}, "privileges": ["select"]}]
    return {"roles": {role: {"login": True, "password": "${READER}"}}, "databases": {database: {"grants": grants}}}


@pytest.mark.parametrize("way", ["hosts", pytest.param("haproxy", marks=pytest.mark.long)])
def test_a_failover_during_grants(cluster: Cluster, environment: Environment, way: str) -> None:
    environment.server(**(hosts(cluster) if way == "hosts" else {})).migrations("one").run("apply")
    environment.declare(**reader(environment))
    with held(cluster, environment.document["server"]["database"], "GRANT SELECT ON one TO pg_monitor"):
        apply = environment.begin()
        until(cluster, "wait_event_type = 'Lock'")
        cluster.kill(cluster.leader())
        (line,) = re.findall(_LINE, ended(apply))
    port = cluster.leader().port if way == "hosts" else cluster.primary_port
    assert re.search(rf"; 127\.0\.0\.1:{port} answers after \d+ s, and is looked at again$", line)
    environment.settled()


@pytest.mark.long
def test_a_failover_while_a_database_is_created(cluster: Cluster, environment: Environment) -> None:
    environment.server(**hosts(cluster)).migrations("one")
    with closing(cluster.connect(node=cluster.leader(), database="template1")):
        apply = environment.begin()  # nobody may be in the template
        until(cluster, "query LIKE 'CREATE DATABASE%'")
        cluster.kill(cluster.leader())
    ended(apply)
    environment.settled()


@pytest.mark.long
def test_a_failover_during_a_seed(cluster: Cluster, environment: Environment) -> None:
    seed, database = environment.directory / "seed.sql", environment.document["server"]["database"]
    environment.server(**hosts(cluster)).migrations("one")
    seed.write_text("SELECT pg_sleep(60) WHERE NOT pg_try_advisory_xact_lock(77); INSERT INTO one VALUES (1);")
    environment.declare(seeds=[{"sql": "seed.sql", "run": "once"}])
    environment.run("apply")
    with held(cluster, database, "SELECT pg_advisory_xact_lock(77)"):
        apply = environment.begin("apply", "--seed")
        until(cluster, "wait_event = 'PgSleep'")
        cluster.kill(cluster.leader())
        assert len(re.findall(_LINE, ended(apply))) == 1
    assert cluster.execute("SELECT count(*) FROM one", node=cluster.leader(), database=database) == [(1,)]


@pytest.mark.long
@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_primary_is_killed_at_any_moment_of_an_apply(
    cluster: Cluster, environment: Environment, number: int
) -> None:
    chance = random.Random(number)  # noqa: S311
    environment.server(**(hosts(cluster) if number % 2 else {})).migrations("one", "two", "three")
    environment.declare(**reader(environment), migrations={"timeout": "2m"})
    old = cluster.leader()
    apply = environment.begin()
    time.sleep(3.0 * chance.random())
    cluster.kill(old)
    ended(apply)
    cluster.whole()
    environment.run("apply")  # what was committed last may be lost once the apply has ended
    environment.settled()


@pytest.mark.long
def test_no_server_that_takes_writes_in_time(cluster: Cluster, environment: Environment) -> None:
    environment.server(**hosts(cluster), ready_timeout="2s").migrations("one").run("apply")
    environment.declare(**reader(environment))
    old = cluster.leader()
    cluster.pause()
    try:
        with held(cluster, environment.document["server"]["database"], "GRANT SELECT ON one TO pg_monitor"):
            apply = environment.begin()
            until(cluster, "wait_event_type = 'Lock'")
            cluster.kill(old)
            said = ended(apply, code=69)
    finally:
        cluster.ask("PATCH", "/config", {"pause": None}, node=next(each for each in cluster.nodes if each is not old))
    assert "and none took writes within 2 s (`ready_timeout`)" in said
    cluster.whole()
    environment.run("apply")


@pytest.mark.long
def test_tenants_that_lose_their_server_continue(cluster: Cluster, environment: Environment, tmp_path: Path) -> None:
    names = [f"t{number}_{environment.name[2:]}" for number in range(6)]
    slow = tmp_path / "slow"
    environment.server(**hosts(cluster)).migrations("one")
    (version,) = (environment.directory / "migrations" / "versions").glob("*.py")
    sleeps = f'    if not __import__("os").path.exists({str(slow)!r}): op.execute("SELECT pg_sleep(60)")\n'
    version.write_text(version.read_text().replace("def upgrade():\n", f"def upgrade():\n{sleeps}"))
    environment.declare(databases={each: {} for each in names})
    environment.declare(migrations={"tenants": {"databases": names, "workers": 1}, "timeout": "2m"})
    apply = environment.begin()
    until(cluster, "wait_event = 'PgSleep'")
    slow.touch()
    cluster.kill(cluster.leader())
    said = ended(apply)
    assert len(re.findall(r"the server went away in revision", said)) == 1, said
    environment.settled()
