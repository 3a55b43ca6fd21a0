"""The tool is killed while it changes who may do what: the next apply converges, and meanwhile no one gains a right.

Two policies take turns. Whatever a run was doing when it was killed, each role has at every moment only rights that
the policy before or the one after gives.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing, contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.embedded import an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.embedded import Embedded

pytestmark = pytest.mark.server

Right = tuple[str, str, str, str]
DATABASES, GROUPS, LOGINS = 5, 10, 24
LEAVER = "leaver"
_LIMIT = 120
_RIGHTS = """
SELECT current_database(), r.rolname, o.name, p.privilege
FROM pg_roles AS r,
    (SELECT oid, oid::regclass::text AS name FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r')
        AS o, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p (privilege)
WHERE r.rolname ~ '^(owner|group|login|leaver)' AND has_table_privilege(r.oid, o.oid, p.privilege)
UNION ALL
SELECT current_database(), r.rolname, 'schema app', p.privilege
FROM pg_roles AS r, unnest(ARRAY['USAGE', 'CREATE']) AS p (privilege)
WHERE r.rolname ~ '^(owner|group|login|leaver)' AND has_schema_privilege(r.oid, 'app', p.privilege)
UNION ALL
SELECT current_database(), r.rolname, 'database', p.privilege
FROM pg_roles AS r, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) AS p (privilege)
WHERE r.rolname ~ '^(owner|group|login|leaver)' AND has_database_privilege(r.oid, current_database(), p.privilege)
"""


def policy(number: int) -> dict[str, Any]:
    """One of the two policies: 40 roles and 5 databases; the second has moved everything, and let one role go."""
    roles: dict[str, Any] = {f"owner{each}": {} for each in range(DATABASES)}
    roles |= {f"group{each}": {} for each in range(GROUPS)}
    for each in range(LOGINS):
        group, other = f"group{(each + 3 * number) % GROUPS}", f"group{(each + 3 - 3 * number) % GROUPS}"
        roles[f"login{each}"] = {"login": True, "member_of": [group, {"role": other, "state": "absent"}]}
    gone = {"state": "absent", "reassign_to": "owner0"}
    roles[LEAVER] = gone if number else {"login": True, "member_of": ["group0"]}
    databases = {}
    for each in range(DATABASES):
        reader, writer = f"group{each}", f"group{each + DATABASES}"
        words = {reader: "write", writer: "none"} if number else {reader: "read", writer: "write"}
        databases[f"shop{each}"] = {
            "owner": f"owner{(each + number) % DATABASES}",
            "connect": [writer if number else reader, f"group{(each + 1) % GROUPS}"],
            "schemas": {"app": {"public": "none", "access": words}},
        }
    return {"roles": roles, "databases": databases, "server": {"database": "shop0"}}


def declare(environment: Embedded, number: int) -> Embedded:
    """Declare one of the policies in place of what was declared before."""
    environment.declare(roles=None, databases=None).declare(policy(number))
    return environment


def rights(connections: list[Any]) -> set[Right]:
    """Who may do what now, in every database."""
    found: set[Right] = set()
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute(_RIGHTS)
            found |= set(cursor.fetchall())
    return found


class Watch(threading.Thread):
    """Looks all the time who may do what, and keeps what neither policy allows."""

    def __init__(self, connections: list[Any], allowed: set[Right]) -> None:
        super().__init__(daemon=True)
        self.connections, self.allowed = connections, allowed
        self.wrong: set[Right] = set()
        self.looks = 0
        self.ends = threading.Event()

    def run(self) -> None:
        while not self.ends.is_set():
            try:
                self.wrong |= rights(self.connections) - self.allowed
                self.looks += 1
            except psycopg2.Error:  # a role that goes away while the server looks at it
                continue


@contextmanager
def watched(connections: list[Any], allowed: set[Right]) -> Iterator[Watch]:
    watch = Watch(connections, allowed)
    watch.start()
    yield watch
    watch.ends.set()
    watch.join()


def connected(environment: Embedded) -> list[Any]:
    found = [environment.connection(f"shop{each}") for each in range(DATABASES)]
    for each in found:
        each.autocommit = True
    return found


def test_no_one_gains_a_right_that_neither_policy_gives(pytestconfig: pytest.Config) -> None:
    moments = pytestconfig.getoption("--chaos-moments")
    chosen = random.Random(pytestconfig.getoption("--chaos-seed"))  # noqa: S311  # to be had again, not to be secret
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as environment:
        states: list[set[Right]] = []
        seconds = 0.0
        for number in (0, 1, 0):
            began = time.monotonic()
            declare(environment, number).apply()
            seconds = time.monotonic() - began
            with closing_all(connected(environment)) as connections:
                if not states:
                    make_tables(connections)
                    environment.apply()
                states.append(rights(connections))
        assert states[0] == states[2] != states[1]
        allowed = states[0] | states[1]
        for moment in range(moments):
            number = (moment + 1) % 2
            declare(environment, number)
            with closing_all(connected(environment)) as connections, watched(connections, allowed) as watch:
                run = environment.begin("apply")
                time.sleep(seconds * chosen.random())
                run.kill()
                run.communicate(timeout=_LIMIT)
                environment.apply()
                assert rights(connections) == states[number], f"moment {moment}"
            assert watch.looks
            assert not watch.wrong, f"moment {moment}: {sorted(watch.wrong)[:5]}"
            environment.settled()


@contextmanager
def closing_all(connections: list[Any]) -> Iterator[list[Any]]:
    try:
        yield connections
    finally:
        for each in connections:
            with closing(each):
                pass


def make_tables(connections: list[Any]) -> None:
    for number, connection in enumerate(connections):
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE owner{number}; CREATE TABLE app.item (id int); CREATE TABLE app.bill (id int)")


def test_a_new_database_admits_no_one_before_its_connect_is_set() -> None:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as environment:
        environment.declare(
            roles={"app": {"login": True}, "other": {"login": True, "password": "another-4711"}}
        ).apply()
        entered: list[str] = []
        ends = threading.Event()
        port = environment.connection().info.port

        def knock() -> None:
            while not ends.is_set():
                for name in ("fresh0", "fresh1"):
                    try:
                        psycopg2.connect(
                            host="127.0.0.1", port=port, user="other", password="another-4711", dbname=name
                        ).close()
                    except psycopg2.OperationalError:
                        continue
                    entered.append(name)

        visitor = threading.Thread(target=knock, daemon=True)
        visitor.start()
        made = {"owner": "app", "connect": ["app"], "schemas": {"app": {}}}
        environment.declare(databases={name: deepcopy(made) for name in ("fresh0", "fresh1")}).apply()
        ends.set()
        visitor.join()
        assert entered == []
