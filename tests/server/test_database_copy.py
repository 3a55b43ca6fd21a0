"""Databases copied, and put in the place of others, inside one server, while clients hold sessions in them."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg2
import pytest

from provision.errors import RefusedError, StepFailedError, UsageError
from provision.model import OWN_DATABASES, REPLACED, SNAPSHOT, Secret
from provision.system import database_copy
from provision.system.database_copy import New

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Server

pytestmark = pytest.mark.server

_OUTSIDE = """
SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datacl::text, datconnlimit, datallowconn,
    (SELECT array_agg(concat(setrole::regrole, ' ', setconfig) ORDER BY 1) FROM pg_db_role_setting
     WHERE setdatabase = d.oid)
FROM pg_database AS d WHERE datname = %s
"""


@pytest.fixture
def copies(database: Server) -> Iterator[list[str]]:
    made: list[str] = []
    yield made
    for name in made:
        database_copy.drop(database.endpoint, name)


@pytest.fixture
def owner(database: Server) -> Iterator[str]:
    name = f"Owner {uuid4().hex[:6]}"
    database.execute(f"CREATE ROLE \"{name}\" LOGIN CREATEDB PASSWORD 'x'")
    yield name
    database.execute(f'REASSIGN OWNED BY "{name}" TO postgres', f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"')


def outside(server: Server, name: str) -> tuple[object, ...]:
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(_OUTSIDE, (name,))
        ((*found,),) = cursor.fetchall()
        return tuple(found)


def test_a_copy_has_what_a_template_copy_leaves_out(database: Server, copies: list[str], owner: str) -> None:
    name = database.endpoint.database
    database.execute(
        "CREATE TABLE kept AS SELECT 1 AS n",
        f'ALTER DATABASE "{name}" OWNER TO "{owner}"',
        f'ALTER DATABASE "{name}" CONNECTION LIMIT 7',
        f'ALTER DATABASE "{name}" SET search_path = \'a b\', "$user", public',
        f"ALTER DATABASE \"{name}\" SET myapp.note = 'it''s'",
        f'ALTER ROLE "{owner}" IN DATABASE "{name}" SET work_mem = \'5MB\'',
        f"COMMENT ON DATABASE \"{name}\" IS 'the shop''s'",
        f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC',
        f'GRANT CONNECT ON DATABASE "{name}" TO pg_monitor WITH GRANT OPTION',
    )
    copies.append(database_copy.new_name(SNAPSHOT, name))
    done = database_copy.copy(database.endpoint, name, New(copies[0]))
    assert done == ((), ())
    assert outside(database, copies[0]) == outside(database, name)
    assert database.execute("SELECT n FROM public.kept", database=copies[0]) == [(1,)]
    copies.append(database_copy.new_name(SNAPSHOT, name))
    database_copy.copy(database.endpoint, name, New(copies[1], "postgres", "ours", closed=True))
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting"):
        database.connect(copies[1])
    assert outside(database, copies[1])[:2] == ("postgres", "ours")


def test_sessions_are_ended_and_named_and_none_comes_between(database: Server, copies: list[str]) -> None:
    name, over, failures = database.endpoint.database, threading.Event(), []

    def client() -> None:
        while not over.is_set():  # a pool that connects again at once
            with suppress(psycopg2.OperationalError, psycopg2.InterfaceError), closing(database.connect()) as session:
                while not over.is_set():
                    session.cursor().execute("SELECT 1")

    pool = [threading.Thread(target=client) for _ in range(4)]
    for each in pool:
        each.start()
    try:
        for _ in range(5):
            copies.append(database_copy.new_name(SNAPSHOT, name))
            done = database_copy.copy(database.endpoint, name, New(copies[-1]))
            assert len(done.sessions) <= len(pool), failures
            assert all("of postgres" in each for each in done.sessions)
        aside = database_copy.new_name(REPLACED, name)
        ended = database_copy.rename(database.endpoint, [(name, aside), (copies[0], name)])
        copies[0] = aside
        assert ended
    finally:
        over.set()
        for each in pool:
            each.join()


def test_no_login_fails_while_databases_change_their_names(database: Server, copies: list[str]) -> None:
    name, over, refused = database.endpoint.database, threading.Event(), []

    def client() -> None:
        while not over.is_set():
            try:
                with closing(database.connect()):
                    pass
            except psycopg2.OperationalError as error:
                refused.append(str(error))

    copies.append(database_copy.new_name(SNAPSHOT, name))
    database_copy.copy(database.endpoint, name, New(copies[0]))
    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    try:
        for _ in range(10):
            aside = database_copy.new_name(SNAPSHOT, name)
            database_copy.rename(database.endpoint, [(name, aside), (copies[0], name)])
            copies[0] = aside
    finally:
        over.set()
        for each in clients:
            each.join()
    assert [each for each in refused if "does not exist" in each] == []


def test_a_rename_does_not_wait_for_who_reads_the_catalogue(database: Server, copies: list[str]) -> None:
    name = database.endpoint.database
    copies.append(database_copy.new_name(SNAPSHOT, name))
    database_copy.copy(database.endpoint, name, New(copies[0]))
    with closing(database.connect("postgres")) as reader, reader.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database")
        aside = database_copy.new_name(SNAPSHOT, name)
        database_copy.rename(database.endpoint, [(name, aside), (copies[0], name)])
        copies[0] = aside


def test_a_swap_happens_as_a_whole_or_not_at_all(database: Server, copies: list[str]) -> None:
    name = database.endpoint.database
    copies += [database_copy.new_name(SNAPSHOT, name), database_copy.new_name(REPLACED, name)]
    database_copy.copy(database.endpoint, name, New(copies[0], closed=True))
    database.execute("CREATE TABLE later (n int)")
    renames = [(name, copies[1]), (copies[0], name)]
    with pytest.raises(StepFailedError, match="refused"):
        database_copy.rename(database.endpoint, renames, "SELECT 1 / 0")
    assert database.execute("SELECT to_regclass('later') IS NULL") == [(False,)]
    opening = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'
    database_copy.rename(database.endpoint, renames, opening)
    assert database.execute("SELECT to_regclass('later') IS NULL") == [(True,)]
    assert database.execute("SELECT to_regclass('later') IS NULL", database=copies[1]) == [(False,)]


def test_what_does_not_end_is_named_and_the_source_stays_open(database: Server, copies: list[str], owner: str) -> None:
    name = database.endpoint.database
    copies.append(database_copy.new_name(SNAPSHOT, name))
    database.execute(f'ALTER DATABASE "{name}" OWNER TO "{owner}"')
    weak = replace(database.endpoint, user=owner, password=Secret("x"))
    with closing(database.connect()) as session:
        with pytest.raises(StepFailedError, match="is in use") as caught:
            database_copy.copy(weak, name, New(copies[0]), patience=1)
        assert any("of postgres" in line for line in caught.value.evidence)
        session.cursor().execute("SELECT 1")
    assert database.execute("SELECT 1") == [(1,)]
    with closing(psycopg2.connect(host=weak.host, port=weak.port, user=owner, password="x", dbname=name)):
        done = database_copy.copy(weak, name, New(copies[0]))
    assert len(done.sessions) == 1
    assert done.sessions[0].startswith(f"a client of {owner} from 127.0.0.1, process ")


def test_what_may_not_be_copied_is_refused(database: Server, owner: str) -> None:
    weak = replace(database.endpoint, user=owner, password=Secret("x"))
    with pytest.raises(RefusedError, match="may not do this") as caught:
        database_copy.copy(weak, database.endpoint.database, New("provision_clone_x"))
    assert "SET ROLE" in caught.value.evidence[0]
    with pytest.raises(UsageError, match=r"at most 63 bytes, and .* has 64"):
        database_copy.copy(database.endpoint, database.endpoint.database, New("ä" * 32))
    with pytest.raises(StepFailedError, match="there is no database 'nowhere'"):
        database_copy.copy(database.endpoint, "nowhere", New("provision_clone_x"))


def test_the_names_of_all_that_we_make_are_known(database: Server) -> None:
    name = database_copy.new_name(SNAPSHOT, "Größe " * 20)
    assert len(name) <= 63
    (found,) = database.execute(f"SELECT '{name}' ~ '^{OWN_DATABASES}', 'provision_shop' ~ '^{OWN_DATABASES}'")
    assert found == (True, False)


def test_the_server_says_how_much_room_is_left(database: Server) -> None:
    assert (database_copy.free(database.endpoint) or 0) > 1 << 20
