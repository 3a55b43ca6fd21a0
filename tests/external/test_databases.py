"""Databases of a server: made as declared, changed where they differ, never dropped by chance."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.foreign import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign
    from support.shop import Shop

MAJORS = [14, 16, 17, 18]


@pytest.mark.parametrize("major", MAJORS)
def test_it_is_made_as_declared_and_drift_is_mended(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    keys = {"owner": shop.owner, "connect": [shop.read], "temporary": ["public"], "comment": "it's a shop"}
    settings = {"search_path": ["shop", "a b"], "timezone": "utc", "myapp.note": "x"}
    environment = shop.declare(**keys, settings=settings, connection_limit=7)
    environment.apply()
    environment.settled()
    assert shop.row("datdba::regrole::text") == shop.owner
    assert shop.row("datconnlimit") == 7
    assert environment.setting("search_path") == 'shop, "a b"'
    assert [shop.may_connect(each) for each in (shop.owner, shop.read, shop.other)] == [True, True, False]

    shop.server.execute(
        f"ALTER DATABASE {shop.name} OWNER TO {shop.other}",
        f"GRANT CONNECT ON DATABASE {shop.name} TO {shop.owner} WITH GRANT OPTION",
        f"SET ROLE {shop.owner}",
        f"GRANT CONNECT ON DATABASE {shop.name} TO {shop.read}, PUBLIC",
        "RESET ROLE",
        f"ALTER DATABASE {shop.name} RESET search_path",
        f"ALTER DATABASE {shop.name} SET timezone = 'UTC'",
        f"COMMENT ON DATABASE {shop.name} IS NULL",
    )
    first, second = environment.steps()
    assert first["consequence"] == f"{shop.other} does not own it any more; PUBLIC cannot connect to it any more"
    assert [each.get("field") for each in second["why"]] == ["comment", "settings search_path"]
    environment.apply()
    environment.settled()
    assert shop.row("datdba::regrole::text") == shop.owner
    assert [shop.may_connect(each) for each in (shop.owner, shop.read, shop.other)] == [True, True, False]


def test_what_is_not_declared_is_left_alone(shop: Shop) -> None:
    environment = shop.declare(owner=None, connection_limit=9)
    environment.apply()
    shop.server.execute(
        f"ALTER DATABASE {shop.name} OWNER TO {shop.other}",
        f"ALTER DATABASE {shop.name} SET work_mem = '9MB'",
        f"REVOKE CONNECT ON DATABASE {shop.name} FROM PUBLIC",
        f"COMMENT ON DATABASE {shop.name} IS 'mine'",
    )
    environment.settled()
    shop.declare(connection_limit="none", settings={"work_mem": "default"}, comment="none").apply()
    environment.settled()
    assert (shop.row("datconnlimit"), environment.setting("work_mem")) == (-1, "4MB")


@pytest.mark.parametrize("major", [14, 18])
def test_a_run_that_was_killed_leaves_it_closed_and_the_next_one_opens_it(
    shops: Callable[[int], Shop], major: int
) -> None:
    shop = shops(major)
    environment = shop.declare(owner=shop.owner, connect=[shop.read])
    shop.server.execute(f"CREATE DATABASE {shop.name} TEMPLATE template0 ALLOW_CONNECTIONS false CONNECTION LIMIT 0")
    environment.apply()
    environment.settled()
    assert (shop.row("datallowconn"), shop.row("datconnlimit")) == (True, -1)
    assert [shop.may_connect(each) for each in (shop.read, shop.other)] == [True, False]


def test_one_that_others_have_closed_is_opened_only_where_that_is_declared(shop: Shop) -> None:
    environment = shop.declare(owner=shop.owner)
    environment.apply()
    shop.server.execute(f"ALTER DATABASE {shop.name} ALLOW_CONNECTIONS false")
    refused = environment.run("apply", code=1)
    assert "does not accept connections, and the spec does not say whether it should" in refused.err
    shop.declare(allow_connections=True).apply()
    environment.settled()
    shop.declare(allow_connections=False).apply()
    environment.settled()
    assert shop.row("datallowconn") is False


def test_what_only_a_new_one_could_have_is_refused(shop: Shop) -> None:
    environment = shop.declare(encoding="utf-8", locale="C")
    environment.apply()
    environment.settled()
    refused = shop.declare(encoding="LATIN1").run("apply", code=1)
    assert "what it was made with cannot be changed" in refused.err
    assert "encoding: it has UTF8, and LATIN1 is declared" in refused.err
    assert "pg_dump -Fc" in refused.err


@pytest.mark.parametrize("major", [16, 18])
def test_a_locale_of_icu(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    environment = shop.declare(provider="icu", icu_locale="en-US")
    ran = environment.run("apply", code=None)
    if ran.code and "ICU is not supported in this build" in ran.err:
        pytest.skip("this build has no ICU")
    environment.settled()
    collate = shop.row("datcollate")
    shop.declare(locale=collate)
    environment.settled()
    assert (
        "provider: it has icu, and libc is declared"
        in shop.declare(provider="libc", icu_locale=None, locale=None).run("apply", code=1).err
    )


# --- the end of one


@pytest.mark.parametrize("major", MAJORS)
def test_it_is_dropped_only_on_demand_and_when_nothing_is_in_the_way(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    environment, old = shop.declare(owner=shop.owner), f"{shop.name}_old"
    shop.declare(old, state="absent").apply()
    environment.settled()
    shop.server.execute(f"CREATE DATABASE {old}")
    shop.server.execute('CREATE TABLE "B c" ()', database=old)
    refused = environment.run("apply", code=1)
    assert 'public."B c"' in refused.err
    assert "next: to drop it: provision apply --data" in refused.err
    with closing(_session(shop.server, old)) as session:
        refused = environment.run("apply", "--data", code=1)
        assert "1 session of postgres (a client)" in refused.err
        assert "sessions: end" in refused.err
        shop.declare(old, state="absent", sessions="end")
        (step,) = environment.run("plan", "--data", "--json").json()["steps"]
        assert (step["action"], step["destroys_data"]) == ("remove", True)
        assert step["consequence"] == "these sessions end: 1 session of postgres (a client)"
        environment.run("apply", "--data")
        with pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert shop.row("datname", old) is None
    environment.settled()


def test_what_keeps_a_database_from_being_dropped_is_named_with_the_way_around(
    engine: Engine, environment: Environment
) -> None:
    from support.foreign import a_foreign_server

    arguments = ("-c", "fsync=off", "-c", "wal_level=logical", "-c", "max_prepared_transactions=2")
    with a_foreign_server(engine, 16, arguments=arguments) as server:
        server.declare(environment).declare(databases={"gone": {"state": "absent", "sessions": "end"}}).apply()
        server.execute("CREATE DATABASE gone IS_TEMPLATE true")
        server.execute("SELECT pg_create_logical_replication_slot('s1', 'pgoutput')", database="gone")
        server.execute("BEGIN; CREATE TABLE a (); PREPARE TRANSACTION 'it''s'", database="gone")
        server.execute(
            "CREATE SUBSCRIPTION s2 CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)", database="gone"
        )
        refused = environment.run("apply", "--data", code=1)
        for words in (
            'ALTER DATABASE "gone" IS_TEMPLATE false',
            "in that database: ROLLBACK PREPARED 'it''s'",
            "SELECT pg_drop_replication_slot('s1')",
            'in that database: DROP SUBSCRIPTION "s2"',
        ):
            assert words in refused.err


def _session(server: Foreign, database: str, user: str = "postgres") -> Any:
    return psycopg2.connect(
        host="127.0.0.1",
        port=server.port,
        user=user,
        password=PASSWORD,
        dbname=database,
        application_name="a client",
    )


# --- a new one, while it is made


@pytest.mark.parametrize("major", [14, 18])
def test_a_new_one_lets_only_those_in_who_are_declared_also_when_the_run_is_killed(
    shops: Callable[[int], Shop], major: int
) -> None:
    shop = shops(major)
    environment = shop.declare(owner=shop.owner, connect=[shop.read])
    over, entered = threading.Event(), list[str]()

    def look() -> None:
        while not over.is_set():
            with suppress(psycopg2.OperationalError):
                _session(shop.server, shop.name, shop.other).close()
                entered.append(shop.other)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for delay in (0, 0.005, 0.02, 0.05):
            with environment.begin() as run:
                while shop.row("datname") is None and run.poll() is None:
                    time.sleep(0.002)
                time.sleep(delay)
                run.kill()
            environment.apply()
            environment.settled()
            assert [shop.may_connect(each) for each in (shop.read, shop.other)] == [True, False]
            shop.server.execute(f"DROP DATABASE {shop.name} WITH (FORCE)")
    finally:
        over.set()
        watcher.join()
    assert entered == []
