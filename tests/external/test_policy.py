"""The policy of docs/access.md, tried by its logins: what each may do, and what it may not."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import yaml
from psycopg2.errors import InsufficientPrivilege
from support.checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment
    from support.foreign import Foreign

LOGINS = ("shop_app", "shop_ci", "shop_report", "shop_migrator")
PASSWORD = "of a login"
APP, CI, REPORT, MIGRATOR = LOGINS
ALL, WRITERS, OWNERS = {*LOGINS}, {APP, CI, MIGRATOR}, {MIGRATOR}
MAY = {
    "SELECT FROM customers": ALL,
    "SELECT FROM later": ALL,  # a later revision has made it
    "INSERT INTO customers (email) VALUES ('c@x')": WRITERS,
    "UPDATE later SET id = 2": WRITERS,
    "DELETE FROM customers": WRITERS,
    "SELECT nextval('customers_id_seq')": WRITERS,
    "TRUNCATE customers": OWNERS,
    "CREATE TABLE shop.mine (id int)": OWNERS,
    "DROP TABLE customers": OWNERS,
    "ALTER TABLE later ADD COLUMN a int": OWNERS,
    "SET ROLE shop_owner": OWNERS,
    "SELECT shop.secret()": OWNERS,
    "CREATE SCHEMA mine": OWNERS,
    "SELECT FROM pg_authid": set(),
    "SET ROLE shop_write": set(),
}
"""Each statement, and who may run it."""
OF_14 = {**MAY, "SET ROLE shop_write": {APP, CI}}
"""Before PostgreSQL 16, each member may."""
REVISION = """from alembic import op

revision, down_revision = {number!r}, {before!r}


def upgrade():
    op.execute({sql!r})
"""
FIRST = """
CREATE TABLE customers (id serial PRIMARY KEY, email citext);
INSERT INTO customers (email) VALUES ('a@x');
CREATE FUNCTION secret() RETURNS int LANGUAGE sql AS 'SELECT 42'
"""


def policy(major: int) -> dict[str, Any]:
    page = (ROOT / "docs" / "access.md").read_text(encoding="utf-8")
    (block,) = [
        each for each in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if each.startswith("roles:\n  shop_owner")
    ]
    assert block in (ROOT / "specs" / "access.yml").read_text(encoding="utf-8")
    assert len(block.splitlines()) <= 20
    found: dict[str, Any] = yaml.safe_load(block.replace(", set: true", "") if major < 16 else block)
    for name in (*LOGINS, "shop_other"):
        found["roles"].setdefault(name, {"login": True})["password"] = "${LOGIN}"
    found["databases"]["shop"]["migrations"]["script_location"] = "./migrations"
    return found


def revision(environment: Environment, number: int, sql: str) -> None:
    text = REVISION.format(number=f"r{number}", before=f"r{number - 1}" if number > 1 else None, sql=sql)
    (environment.directory / "migrations" / "versions" / f"r{number}.py").write_text(text)


@pytest.fixture(params=[14, 16, 17, 18])
def shop(servers: Callable[[int], Foreign], environment: Environment, request: Any) -> Iterator[tuple[Foreign, Any]]:
    """The policy, on a server of this version; its tables are made in two steps."""
    server = servers(request.param)
    environment.environ["LOGIN"] = PASSWORD
    environment.migrations()
    server.declare(environment, database=None).declare(migrations=None, **policy(server.major))
    try:
        revision(environment, 1, FIRST)
        environment.apply()
        revision(environment, 2, "CREATE TABLE later (id int)")
        environment.apply()
        yield server, environment
    finally:
        server.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        server.execute(*[f"DROP ROLE IF EXISTS {name}" for name in policy(server.major)["roles"]])


def login(server: Foreign, name: str, database: str = "shop") -> Any:
    return psycopg2.connect(host="127.0.0.1", port=server.port, user=name, password=PASSWORD, dbname=database)


def may(connection: Any, statement: str) -> bool:
    """Whether a login may run a statement; nothing of it stays."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except InsufficientPrivilege:
        return False
    finally:
        connection.rollback()
    return True


def test_each_login_may_do_what_the_page_says_and_nothing_else(shop: tuple[Foreign, Environment]) -> None:
    server, environment = shop
    environment.settled()
    for name in LOGINS:
        with closing(login(server, name)) as connection, connection.cursor() as cursor:
            found = {statement for statement in MAY if may(connection, statement)}
            allowed = OF_14 if server.major < 16 else MAY
            assert found == {statement for statement, names in allowed.items() if name in names}, name
            cursor.execute("SELECT count(*) FROM customers WHERE email = 'A@X'")
            assert cursor.fetchone() == (1,)  # as citext compares
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("5min" if name == REPORT else "0",)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        login(server, "shop_other")
    login(server, "shop_other", "postgres").close()

    roles = environment.document["roles"]
    environment.declare(roles={CI: {"valid_until": "2020-01-01T00:00:00Z"}, APP: {"connection_limit": 1}}).apply()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        login(server, CI)
    with closing(login(server, APP)), pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
        login(server, APP)
    environment.declare(roles={CI: {"valid_until": roles[CI]["valid_until"]}}).apply()
    login(server, CI).close()
