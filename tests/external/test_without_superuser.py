"""A login with CREATEDB and CREATEROLE and no superuser: what it may do is done, what it may not is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment
    from support.foreign import Foreign
    from support.program import Ran

MAJORS = [14, 16, 18]
LOGIN = {"login": True, "password": "${PW}"}
_ALLOWED = "an administrator can allow it (in psql):"


class Managed:
    """A server as a cloud service gives it: the login of the spec is no superuser."""

    def __init__(self, server: Foreign, environment: Environment, *options: str) -> None:
        self.server, self.environment = server, environment
        self.login = server.role(*options)
        server.declare(environment, credentials={"user": self.login}, database=None)
        self.mark = uuid4().hex[:6]
        self.shop = self.name("shop")

    def name(self, word: str) -> str:
        """Return a name that no other test has."""
        return f"{word}_{self.mark}"

    def declare(self, roles: dict[str, Any], **database: Any) -> Environment:
        return self.environment.declare(
            roles={self.name(each): keys for each, keys in roles.items()}, databases={self.shop: database}
        )

    def memberships(self) -> list[tuple[Any, ...]]:
        """Return the roles that the login is a member of in some way."""
        query = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member::regrole::text = '{}'"
        return self.server.execute(query.format(self.login))

    def may(self, function: str, *arguments: str) -> bool:
        text = ", ".join(f"'{each}'" for each in arguments)
        return bool(self.server.execute(f"SELECT {function}({text})", database=self.shop)[0][0])

    def allow(self, refused: Ran) -> list[str]:
        """Do exactly what the error says, as an administrator with psql would, and return it."""
        lines = [line.strip() for line in refused.err.splitlines()]
        script = lines[lines.index(_ALLOWED) + 1 : next(n for n, line in enumerate(lines) if line.startswith("next:"))]
        database = "postgres"
        for line in script:
            if line.startswith("\\connect "):
                database = line.split('"')[1]
            else:
                self.server.execute(line, database=database)
        return script


@pytest.fixture
def managed(servers: Callable[[int], Foreign], environment: Environment) -> Callable[..., Managed]:
    return lambda major, *options: Managed(servers(major), environment, *options)


@pytest.mark.parametrize("major", MAJORS)
def test_the_three_lines(managed: Callable[..., Managed], major: int) -> None:
    shop = managed(major, "CREATEDB", "CREATEROLE")
    environment = shop.declare({"app": LOGIN}, owner=shop.name("app"))
    environment.migrations("customers").declare(migrations={"as": shop.name("app")})
    planned = environment.run("plan", "-v").out
    assert ("meanwhile" in planned) is (major < 16), "from 16 on it is a member of the roles that it makes"
    environment.apply()
    environment.settled()
    rows = "SELECT datdba::regrole::text, tableowner FROM pg_database, pg_tables WHERE datname = current_database()"
    rows += " AND tablename = 'customers'"
    assert shop.server.execute(rows, database=shop.shop) == [(shop.name("app"), shop.name("app"))]
    assert bool(shop.memberships()) is (major >= 16), "nothing is left of what was for a while"


@pytest.mark.parametrize("major", MAJORS)
def test_the_policy(managed: Callable[..., Managed], major: int) -> None:
    shop = managed(major, "CREATEDB", "CREATEROLE")
    owner, read, write, migrator, app = [shop.name(each) for each in ("owner", "read", "write", "migrator", "app")]
    owning = {"role": owner, "set": True} if major >= 16 else owner
    environment = shop.declare(
        {
            "owner": {},
            "read": {},
            "write": {"member_of": [read]},
            "migrator": {**LOGIN, "member_of": [owning]},
            "app": {**LOGIN, "member_of": [write], "connection_limit": 40},
            "report": {**LOGIN, "member_of": [read], "settings": {"statement_timeout": "5min"}},
        },
        owner=owner,
        connect=[read, migrator],
        settings={"search_path": ["shop", "ext"]},
        schemas={
            "shop": {"public": "none", "access": {read: "read", write: "write"}},
            "ext": {"access": {read: "usage"}},
        },
        extensions=[{"name": "citext", "schema": "ext"}],
    )
    environment.migrations("customers").declare(migrations={"as": migrator, "role": owner})
    environment.apply()
    environment.settled()
    assert shop.may("has_table_privilege", app, "shop.customers", "INSERT")
    assert not shop.may("has_table_privilege", shop.name("report"), "shop.customers", "INSERT")
    assert shop.may("has_table_privilege", shop.name("report"), "shop.customers", "SELECT")

    shop.server.execute(
        f"REVOKE CONNECT ON DATABASE {shop.shop} FROM {read}", f"GRANT CONNECT ON DATABASE {shop.shop} TO PUBLIC"
    )
    shop.server.execute(
        f"ALTER SCHEMA shop OWNER TO {migrator}", f"GRANT ALL ON shop.customers TO {read}", database=shop.shop
    )
    environment.declare(databases={shop.shop: {"schemas": {"shop": {"owner": owner}}}}).apply()
    environment.settled()
    assert shop.may("has_database_privilege", read, shop.shop, "CONNECT")
    assert not shop.may("has_table_privilege", read, "shop.customers", "DELETE")


@pytest.mark.parametrize("major", MAJORS)
def test_what_it_may_not_do_is_said_at_once_with_what_allows_it(managed: Callable[..., Managed], major: int) -> None:
    shop = managed(major)
    theirs, app, owner = shop.server.role(), shop.name("app"), shop.name("owner")
    environment = shop.declare(
        {
            "owner": {},
            "app": {"member_of": [theirs, "pg_monitor"], "bypassrls": True, "settings": {"log_statement": "ddl"}},
        },
        owner=owner,
        settings={"log_min_duration_statement": "1s"},
        schemas={"theirs": {"owner": theirs}, "public": {"access": {app: "usage"}}, "ext": {}},
        extensions=[{"name": "pg_stat_statements", "schema": "ext"}, "citext"],
    )
    environment.declare(roles={theirs: {"external": True}})
    refused = environment.run("apply", code=1)
    assert f"error: '{shop.login}' may not do all that this needs" in refused.err
    databases = shop.server.execute("SELECT datname FROM pg_database")
    assert (shop.shop,) not in databases, "nothing was done"
    script = shop.allow(refused)
    assert script[0] == f'ALTER ROLE "{shop.login}" CREATEDB CREATEROLE;'
    environment.apply()
    environment.settled()
    assert shop.may("has_schema_privilege", app, "public", "USAGE")


@pytest.mark.parametrize("major", MAJORS)
def test_a_database_of_others_is_taken_over_and_dropped(managed: Callable[..., Managed], major: int) -> None:
    shop = managed(major, "CREATEDB", "CREATEROLE")
    old, other, app = shop.name("old"), shop.server.role(), shop.name("app")
    shop.server.execute(f"CREATE DATABASE {shop.shop}", f"CREATE DATABASE {old} OWNER {other}")
    environment = shop.declare({"app": LOGIN}, owner=app, connect=[app], schemas={"shop": {}})
    environment.declare(databases={old: {"state": "absent"}}, roles={other: {"external": True}})
    refused = environment.run("apply", "--data", code=1)
    script = shop.allow(refused)
    assert f'ALTER DATABASE "{shop.shop}" OWNER TO "{app}";' in script
    environment.run("apply", "--data")
    environment.settled()
    assert (old,) not in shop.server.execute("SELECT datname FROM pg_database")


def test_a_membership_of_its_own_stays_as_it_was(managed: Callable[..., Managed]) -> None:
    shop = managed(17, "CREATEDB", "CREATEROLE")
    app = shop.name("app")
    shop.server.execute(f"CREATE ROLE {app}", f"GRANT {app} TO {shop.login} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    shop.server.execute(
        f"SET SESSION AUTHORIZATION {shop.login}", f"GRANT {app} TO {shop.login} WITH INHERIT FALSE, SET TRUE"
    )
    rows = "SELECT grantor::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members"
    rows += f" WHERE member::regrole::text = '{shop.login}' ORDER BY 1"
    before = shop.server.execute(rows)
    environment = shop.declare({"app": {}}, owner=app, schemas={"shop": {}})
    assert f"meanwhile {shop.login} is a member of {app}" in environment.run("plan").out
    environment.apply()
    environment.settled()
    assert shop.server.execute(rows) == before
