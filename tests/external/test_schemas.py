"""Schemas and extensions of a database: made as declared, changed where they differ, dropped on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.shop import Shop

    Rows = list[tuple[Any, ...]]


def schemas(shop: Shop) -> Rows:
    return shop.run(
        "SELECT nspname, pg_get_userbyid(nspowner), obj_description(oid, 'pg_namespace') FROM pg_namespace"
        " WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') ORDER BY 1"
    )


def extensions(shop: Shop) -> Rows:
    return shop.run(
        "SELECT extname, nspname, extversion FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = extnamespace"
        " WHERE extname <> 'plpgsql' ORDER BY 1"
    )


@pytest.mark.parametrize("major", [14, 16, 17, 18])
def test_both_are_made_as_declared_and_drift_is_mended(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    environment = shop.declare(
        schemas={"shop": {"comment": "it's one"}, "e x": {"owner": shop.other}, "%s": {}},
        extensions=[{"name": "citext", "schema": "e x"}, {"name": "hstore", "version": "latest"}, "pgcrypto"],
        settings={"search_path": ["shop", "e x", "public"]},
    )
    foretold = {each["address"] for each in environment.steps() if not each["effects"]}
    assert f"extension/{shop.name}/citext" in foretold, "it is seen once the database is there"
    environment.apply()
    environment.settled()
    made = [("%s", shop.owner, None), ("e x", shop.other, None), ("shop", shop.owner, "it's one")]
    assert schemas(shop) == made
    there = extensions(shop)
    assert [each[:2] for each in there] == [("citext", "e x"), ("hstore", "shop"), ("pgcrypto", "shop")]

    shop.run(
        f"ALTER SCHEMA shop OWNER TO {shop.other}",
        f'ALTER SCHEMA "e x" OWNER TO {shop.owner}',
        "COMMENT ON SCHEMA shop IS NULL",
        "ALTER EXTENSION citext SET SCHEMA public",
        "DROP EXTENSION hstore",
        "CREATE EXTENSION hstore VERSION '1.6'",
    )
    assert environment.steps()[0]["consequence"] == f"{shop.owner} does not own it any more"
    environment.apply()
    environment.settled()
    assert schemas(shop) == [("%s", shop.owner, None), ("e x", shop.other, None), ("shop", shop.other, "it's one")]
    assert extensions(shop) == there


def test_a_schema_belongs_to_the_owner_of_its_database_whoever_that_is(shop: Shop) -> None:
    shop.environment.apply()
    shop.declare(owner=None, schemas={"a'%b": {}}).apply()
    shop.environment.settled()
    assert schemas(shop) == [("a'%b", shop.owner, None)]


def test_a_schema_is_dropped_only_when_it_is_empty(shop: Shop) -> None:
    environment = shop.declare(schemas={"shop": {"state": "absent"}})
    environment.apply()
    environment.settled()
    shop.run(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.t (a serial PRIMARY KEY)",
        "CREATE FUNCTION shop.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE EXTENSION hstore SCHEMA shop",
    )
    refused = environment.run("apply", code=1)
    lines = [line.strip() for line in refused.err.splitlines()]
    assert lines[2:5] == ["extension hstore", "function shop.f()", "table shop.t"]
    assert 'DROP SCHEMA "shop" CASCADE' in refused.err
    shop.run(
        "DROP TABLE shop.t",
        "DROP FUNCTION shop.f()",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO PUBLIC",
    )
    shop.declare(extensions=[{"name": "hstore", "state": "absent"}]).apply()
    environment.settled()
    assert (schemas(shop), extensions(shop)) == ([], [])


@pytest.mark.parametrize("major", [14, 18])
def test_an_extension_is_dropped_only_when_nothing_depends_on_it(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    shop.declare(extensions=["citext", {"name": "earthdistance", "cascade": True}]).apply()
    shop.run("CREATE TABLE t (a citext, b int CHECK (b::text::citext <> 'x'), c citext[])")
    names = ["cube", "citext", "earthdistance"]
    environment = shop.declare(extensions=[{"name": name, "state": "absent"} for name in names])
    refused = environment.run("apply", code=1)
    for words in ("column a of table t", "column c of table t", "constraint t_b_check on table t"):
        assert words in refused.err
    assert "cube" not in refused.err
    shop.run("DROP TABLE t")
    environment.apply()
    environment.settled()
    assert extensions(shop) == []


def test_what_the_server_cannot_make_is_refused_before_any_step(shop: Shop) -> None:
    environment = shop.declare(extensions=["made_up", {"name": "hstore", "version": "99"}, "earthdistance"])
    refused = environment.run("apply", code=1)
    assert "error: the server cannot make 3 declared extensions" in refused.err
    for words in ("/made_up: the server does not have it", "and 99 is declared", "it requires cube: declare that"):
        assert words in refused.err
    assert (shop.name,) not in shop.server.execute("SELECT datname FROM pg_database")


def test_an_extension_that_its_users_do_not_find_is_a_remark(shop: Shop) -> None:
    keys: dict[str, Any] = {"schemas": {"ext": {}}, "extensions": [{"name": "citext", "schema": "ext"}]}
    environment = shop.declare(**keys)
    words = "schema 'ext' is not on the database's search_path, so its operators are not found"
    assert words in environment.apply().out
    assert words in environment.settled().out
    shop.run(f"ALTER DATABASE {shop.name} SET search_path = public, ext")
    assert words not in environment.settled().out, "what others have set counts"
    shop.declare(settings={"search_path": "default"}).apply()
    assert words in environment.settled().out
    environment.declare(roles={shop.other: {"settings": {"search_path": ["ext"]}, "external": None}}).apply()
    assert words not in environment.settled().out


def test_an_extension_that_needs_its_library_is_a_remark(shop: Shop) -> None:
    environment = shop.declare(extensions=["pg_stat_statements"])
    assert "add 'pg_stat_statements' to `server.settings.shared_preload_libraries`" in environment.apply().out
    environment.settled()
