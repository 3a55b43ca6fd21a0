"""Privileges of a spec, by the program: around migrations, after drift, and where they cannot be brought about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment
    from support.shop import Shop

MAJORS = [14, 16, 17, 18]


def policy(shop: Shop, **grants: Any) -> Environment:
    """Declare what two roles may do in the schema that migrations write to."""
    schemas = {"public": {"public": "usage", "access": {shop.read: "read", shop.other: "none"}}}
    return shop.declare(schemas=schemas, **grants)


def may(shop: Shop, role: str, table: str, column: str | None = None) -> str:
    """Return the first letters of what a role may do with a table."""
    asked = ("SELECT", "INSERT", "UPDATE") if column else ("SELECT", "INSERT", "UPDATE", "DELETE")
    function, at = ("has_column_privilege", f", '{column}'") if column else ("has_table_privilege", "")
    answers = ", ".join(f"{function}('{role}', '{table}'{at}, '{each}')" for each in asked)
    (row,) = shop.run(f"SELECT {answers}")
    return "".join(each[0] for each, answer in zip(asked, row, strict=True) if answer)


@pytest.mark.parametrize("major", MAJORS)
def test_what_migrations_make_gives_its_privileges_at_birth(shops: Callable[[int], Shop], major: int) -> None:
    shop = shops(major)
    columns = {"to": shop.other, "on": {"table": "public.orders", "columns": ["id"]}, "privileges": ["select"]}
    environment = policy(shop, grants=[columns]).migrations("customers", "orders")
    planned = environment.run("plan").out
    assert "known for certain once the database is there:" in planned
    assert planned.count(f"? grant     read on public to {shop.read}") == 1

    applied = environment.apply().out
    assert "what 2 revisions will make and future ones by " in applied
    assert "the server refused" not in applied
    environment.settled()
    assert (may(shop, shop.read, "orders"), may(shop, shop.other, "orders")) == ("S", "")
    assert (may(shop, shop.other, "orders", "id"), may(shop, shop.other, "orders", "name")) == ("S", "")
    shop.run("CREATE TABLE later (id int)")
    assert may(shop, shop.read, "later") == "S"
    environment.settled()


def test_drift_is_shown_grouped_with_whom_it_cuts_off_and_exactly_in_json(shop: Shop) -> None:
    environment = policy(shop).migrations("customers", "orders")
    environment.apply()
    member = shop.server.role()
    shop.run(
        f"GRANT {shop.read} TO {member}",
        f"GRANT INSERT, UPDATE ON customers, orders, alembic_version TO {shop.read}",
        f"REVOKE SELECT ON orders FROM {shop.read}",  # noqa: S608  # our own names
        f"GRANT SELECT (id) ON orders TO {shop.other}",
        "GRANT SELECT ON customers TO PUBLIC",
    )
    lines = [" ".join(line.split()) for line in environment.run("plan").out.splitlines()]
    at = lines.index(f"- revoke insert, update on public from {shop.read}")
    assert lines[at + 1] == "tables alembic_version, customers, orders"
    assert lines[at + 2].startswith("cuts off ")
    assert {shop.read, member} <= set(lines[at + 2].removeprefix("cuts off ").split(", "))
    assert f"- revoke select on public from {shop.other} (column orders.id)" in lines  # noqa: S608  # no SQL
    assert f"+ grant read on public to {shop.read} (table orders)" in lines
    assert "3 to revoke, 1 to grant" in lines

    first, *_ = [each for each in environment.steps() if each["title"].startswith("insert, update")]
    tables = ", ".join(f'"public".{each}' for each in ("alembic_version", "customers", "orders"))
    assert first["effects"][1:] == [f'REVOKE INSERT, UPDATE ON TABLE {tables} FROM "{shop.read}"']
    found = environment.run("verify", "--json").json()["differences"]
    (surplus,) = [each for each in found if each["field"] == "surplus" and each["address"].endswith(f"/{shop.other}")]
    assert surplus["real"] == "select (id) on table public.orders"
    environment.apply()
    environment.settled()
    assert (may(shop, shop.read, "orders"), may(shop, shop.other, "orders", "id")) == ("S", "")


def test_an_object_that_is_not_there_waits_for_its_revision_or_is_refused(shop: Shop) -> None:
    wanted = {"to": shop.other, "on": {"table": "public.orders"}, "privileges": ["select"]}
    environment = policy(shop, grants=[wanted]).migrations("customers")
    environment.declare(migrations={"target": "base"}).apply(code=1)
    refused = environment.run("plan", code=1)
    assert "name what is not there: 1 object" in refused.err
    assert "spec.yml:" in refused.err
    environment.migrations("customers", "orders").declare(migrations={"target": "head"})
    planned = environment.run("plan").out
    assert f"? grant     select on table public.orders to {shop.other}" in planned
    environment.apply()
    environment.settled()
    assert may(shop, shop.other, "orders") == "S"
