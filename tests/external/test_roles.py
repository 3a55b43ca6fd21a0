"""Roles, memberships and settings of roles converge on each major version, and roles go away without a loss."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from provision.model.sql import identifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment
    from support.foreign import Foreign

MAJORS = [14, 16, 17, 18]
OPTIONS_SINCE = 16
SECRET = "pä ss%@:/'\\word"


@dataclass(frozen=True)
class Cluster:
    """A server, and an environment whose roles nobody else has."""

    server: Foreign
    environment: Environment

    def name(self, name: str) -> str:
        return f"{name}_{self.environment.name[2:]}"

    def declare(self, **roles: dict[str, Any] | None) -> Environment:
        return self.environment.declare(roles={self.name(name): role for name, role in roles.items()})

    def execute(self, *statements: str, **names: str) -> list[tuple[Any, ...]]:
        """Run statements, in which each ``{name}`` stands for a role or a database of the environment."""
        words = {each: identifier(self.name(each)) for each in ("app", "group", "other", "new", "shop", *names)}
        return self.server.execute(*[each.format(**words) for each in statements], database=self.name("shop"))

    def login(self, name: str, password: str = SECRET) -> str:
        """Log in, and return how that ends: in words of the server, or empty."""
        try:
            psycopg2.connect(
                host="127.0.0.1", port=self.server.port, user=self.name(name), password=password, dbname="postgres"
            ).close()
        except psycopg2.OperationalError as error:
            return str(error)
        return ""


@pytest.fixture
def of(servers: Callable[[int], Foreign], environment: Environment) -> Callable[[int], Cluster]:
    def made(major: int) -> Cluster:
        environment.environ["ROLE_PW"] = SECRET
        server = servers(major)
        server.declare(environment)
        return Cluster(server, environment)

    return made


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def membership(cluster: Cluster, **options: bool) -> dict[str, Any]:
    """Declare a membership; before PostgreSQL 16 it has no options but ADMIN."""
    has_options = cluster.server.major >= OPTIONS_SINCE
    return {"role": cluster.name("group"), **{k: v for k, v in options.items() if has_options or k == "admin"}}


@pytest.mark.parametrize("major", MAJORS)
def test_roles_are_made_and_what_others_change_is_changed_back(of: Callable[[int], Cluster], major: int) -> None:
    cluster = of(major)
    environment = cluster.declare(
        app={
            "password": "${ROLE_PW}",
            "connection_limit": 4,
            "valid_until": "2055-01-02T03:04:05+02:00",
            "comment": "it's \\ ours",
            "member_of": [membership(cluster, set=True)],
            "settings": {"work_mem": "8MB", "search_path": ["shop", "My, Schema"], "TimeZone": "utc"},
            "settings_in": {f"shop_{cluster.environment.name[2:]}": {"statement_timeout": "5min", "jit": "default"}},
        },
        group={"createdb": True},
    )
    environment.apply()
    environment.settled()
    assert cluster.login("app") == ""
    facts = "SELECT rolvaliduntil::text, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE oid = '{app}'::regrole"
    assert cluster.execute("SET timezone TO utc", facts) == [("2055-01-02 01:04:05+00", "it's \\ ours")]
    cluster.execute(
        "ALTER ROLE {app} SUPERUSER CREATEROLE CONNECTION LIMIT 9 VALID UNTIL 'infinity' PASSWORD 'known'",
        "ALTER ROLE {app} RESET ALL",
        "ALTER ROLE {app} SET enable_sort TO off",
        "ALTER ROLE {app} IN DATABASE {shop} SET jit TO off",
        "ALTER ROLE {app} SET timezone TO 'Europe/Berlin'",
        "ALTER ROLE {group} NOCREATEDB LOGIN",
        "GRANT {group} TO {app} WITH ADMIN OPTION",
        "COMMENT ON ROLE {app} IS NULL",
    )
    app, group = cluster.name("app"), cluster.name("group")
    planned = lines(environment.run("plan").out)
    for expected in (
        "superuser: on → off",
        "createrole: on → off",
        "connection limit: 9 → 4",
        "valid until: never → 2055-01-02T01:04:05Z",
        (
            f"{app} loses: superuser, createrole; can have 4 connections at a time; "
            "cannot log in with its password from 2055-01-02T01:04:05Z on"
        ),
        "password: another → as declared",
        "comment: '' → it's \\ ours",
        f"{group} loses: login",
        "createdb: off → on",
        f"{app} loses in {group}: admin",
        "TimeZone: Europe/Berlin → utc",
        'search_path: shop, "My, Schema"',
        "jit: off → default",
    ):
        assert expected in planned, expected
    assert planned.index(f"{app} loses in {group}: admin") < planned.index("createdb: off → on"), "rights go first"
    environment.apply()
    environment.settled()
    assert cluster.login("app") == ""
    assert "password authentication failed" in cluster.login("app", "known")
    sort = "SELECT 'enable_sort=off' = ANY(setconfig) FROM pg_db_role_setting"
    sort += " WHERE setrole = '{app}'::regrole AND setdatabase = 0"
    assert cluster.execute(sort) == [(True,)], "what is not written is not managed"


@pytest.mark.parametrize("major", MAJORS)
def test_a_membership_counts_whoever_granted_it(of: Callable[[int], Cluster], major: int) -> None:
    cluster = of(major)
    environment = cluster.declare(app={"member_of": [cluster.name("group")]}, group={}, other={})
    environment.apply()
    cluster.execute("GRANT {group} TO {other} WITH ADMIN OPTION", "SET ROLE {other}; GRANT {group} TO {app}")
    if major >= OPTIONS_SINCE:
        cluster.execute("REVOKE {group} FROM {app} GRANTED BY postgres")
        planned = lines(environment.run("plan").out)
        assert f"{cluster.name('app')} loses in {cluster.name('group')}: set" in planned
    environment.apply()
    environment.settled()
    absent = {"role": cluster.name("group"), "state": "absent"}
    environment = cluster.declare(app={"member_of": [{**absent}]}, other={"member_of": [{**absent}]})
    planned = environment.run("plan").out
    cut = f"; whom it has admitted leaves too: {cluster.name('app')}" if major >= OPTIONS_SINCE else ""
    assert f"{cluster.name('other')} is no longer in {cluster.name('group')}{cut}\n" in planned
    environment.apply()
    environment.settled()
    assert cluster.execute("SELECT count(*) FROM pg_auth_members WHERE roleid = '{group}'::regrole") == [(0,)]


def test_a_role_is_renamed_and_keeps_what_it_has(of: Callable[[int], Cluster]) -> None:
    cluster = of(18)
    role = {"password": "${ROLE_PW}", "member_of": [cluster.name("group")], "settings": {"work_mem": "8MB"}}
    environment = cluster.declare(app=role, group={})
    environment.apply()
    cluster.execute("CREATE TABLE owned (); ALTER TABLE owned OWNER TO {app}", "ALTER ROLE {app} SUPERUSER")
    environment.declare(roles={cluster.name("app"): None})
    cluster.declare(new={**role, "renamed_from": cluster.name("app")})
    assert f"name: {cluster.name('app')} → {cluster.name('new')}" in environment.run("plan").out
    environment.apply()
    environment.settled()
    assert cluster.execute("SELECT relowner::regrole::text FROM pg_class WHERE relname = 'owned'") == [
        (cluster.name("new"),)
    ]
    assert cluster.login("new") == ""
    cluster.execute("CREATE ROLE {app}")
    refused = environment.run("apply", code=1).err
    assert (
        f"the role '{cluster.name('app')}' cannot be renamed to '{cluster.name('new')}', because both exist" in refused
    )


def test_a_role_that_is_made_elsewhere_has_to_be_there(of: Callable[[int], Cluster]) -> None:
    cluster = of(17)
    environment = cluster.declare(app={"external": True}, group={"member_of": [cluster.name("app")]})
    refused = environment.run("apply", code=1).err
    assert f"the role '{cluster.name('app')}' does not exist, and the spec says that it is made elsewhere" in refused
    cluster.server.execute(f"CREATE ROLE {cluster.name('app')} SUPERUSER")
    environment.apply()
    environment.settled()


def test_a_login_that_is_made_needs_a_password_and_one_that_exists_keeps_its_own(of: Callable[[int], Cluster]) -> None:
    cluster = of(17)
    environment = cluster.declare(app={"login": True})
    refused = environment.run("apply", code=1).err
    assert f"nothing says what the password of the role '{cluster.name('app')}' is" in refused
    assert "next: write `password` there: `${NAME}`, `{file: …}`, `{command: […]}` or `none`" in refused
    cluster.server.execute(f"CREATE ROLE {cluster.name('app')} LOGIN PASSWORD 'its own'")
    environment.apply()
    environment.settled()
    assert cluster.login("app", "its own") == ""


# --- without superuser ---


@pytest.mark.parametrize("major", [14, 16, 18])
def test_a_login_without_superuser_makes_roles_and_proves_passwords(of: Callable[[int], Cluster], major: int) -> None:
    cluster = of(major)
    deployer = cluster.server.role("CREATEDB CREATEROLE")
    cluster.server.declare(cluster.environment, credentials={"user": deployer})
    environment = cluster.declare(
        app={"password": "${ROLE_PW}", "settings": {"work_mem": "8MB"}, "member_of": [cluster.name("group")]},
        group={"comment": "a group"},
        other={"login": True, "password": "none"},
        new={"login": True, "password": "${ROLE_PW}", "connection_limit": 0},
    )
    environment.apply()
    settled = environment.run("plan", "--detailed-exitcode").out
    assert f"? role/{cluster.name('other')}: its password; only a superuser sees whether there is one" in settled
    environment.declare(roles={cluster.name("other"): None}).settled()
    assert cluster.login("app") == ""
    for name in ("app", "new"):
        cluster.execute(f"ALTER ROLE {{{name}}} PASSWORD 'known'")
        assert "password: another → as declared" in environment.run("plan").out
        environment.apply()
        environment.settled()
    cluster.execute("ALTER ROLE {app} VALID UNTIL '2001-01-01' PASSWORD 'known'")
    environment.apply()
    environment.settled()
    assert cluster.login("app") == "", "once it is valid again it can be compared"

    cluster.server.execute(f"ALTER DATABASE {cluster.name('shop')} OWNER TO {deployer}")
    rows = "SELECT member::regrole::text, count(*) FROM pg_auth_members WHERE roleid = '{group}'::regrole GROUP BY 1"
    cluster.execute("CREATE TABLE owned (); ALTER TABLE owned OWNER TO {app}")
    before = [each for each in cluster.execute(rows) if each[0] != cluster.name("app")]
    cluster.environment.declare(roles={cluster.name("app"): None})
    cluster.declare(app={"state": "absent", "reassign_to": cluster.name("group")})
    environment.apply()
    environment.settled()
    assert cluster.execute(rows) == before, "it was a member for as long as the transaction only"


# --- removal ---

OWNS = (
    "CREATE SCHEMA sales AUTHORIZATION {app}",
    "CREATE TABLE sales.item (id serial, name text)",
    "INSERT INTO sales.item (name) VALUES ('one')",
    "ALTER TABLE sales.item OWNER TO {app}",
    "CREATE VIEW sales.cheap AS SELECT * FROM sales.item",
    "ALTER VIEW sales.cheap OWNER TO {app}",
    "CREATE FUNCTION sales.twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'",
    "ALTER FUNCTION sales.twice OWNER TO {app}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {app} IN SCHEMA sales GRANT SELECT ON TABLES TO {other}",
    "CREATE TABLE mine (id int); GRANT SELECT ON mine TO {app}",
    "ALTER TABLE mine ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON mine TO {app} USING (id > 1)",
    "GRANT CREATE ON DATABASE {shop} TO {app}",
    "GRANT SELECT ON mine TO {other} WITH GRANT OPTION",
    "SET ROLE {other}; GRANT SELECT ON mine TO {app}",  # DROP OWNED leaves what others than the owner granted
    "RESET ROLE",
)


@pytest.fixture
def owning(of: Callable[[int], Cluster]) -> Callable[[int], Cluster]:
    """A role that owns much in one database, and has a privilege in another."""

    def made(major: int) -> Cluster:
        cluster = of(major)
        cluster.declare(app={"password": "${ROLE_PW}"}, group={}, other={}).apply()
        cluster.execute(*OWNS)
        if major >= OPTIONS_SINCE:
            cluster.execute("GRANT {group} TO {app} WITH ADMIN OPTION", "SET ROLE {app}; GRANT {group} TO {other}")
        cluster.server.execute(f"CREATE TABLE IF NOT EXISTS theirs (); GRANT SELECT ON theirs TO {cluster.name('app')}")
        return cluster

    return made


@pytest.mark.parametrize("major", MAJORS)
def test_a_role_that_owns_something_goes_only_when_its_objects_have_a_new_owner(
    owning: Callable[[int], Cluster], major: int
) -> None:
    cluster = owning(major)
    environment = cluster.environment.declare(roles={cluster.name("app"): None})
    cluster.declare(app={"state": "absent"})
    refused = environment.run("apply", code=1).err
    shop = cluster.name("shop")
    assert f"the role '{cluster.name('app')}' owns 5 objects, so it is not removed" in refused
    for each in ("table sales.item", "view sales.cheap", "sequence sales.item_id_seq", "schema sales"):
        assert f"{shop}: {each}\n" in refused
    assert f"write `reassign_to: ROLE` at `roles.{cluster.name('app')}`" in refused
    cluster.declare(app={"state": "absent", "reassign_to": cluster.name("group")})
    planned = environment.run("plan", "--json").json()
    assert not planned["destroys_data"]
    assert [each["action"] for each in planned["steps"]] == ["update", "remove"]
    with closing(
        psycopg2.connect(
            host="127.0.0.1",
            port=cluster.server.port,
            user=cluster.name("app"),
            password=SECRET,
            dbname="postgres",
            application_name="the shop",
        )
    ) as session:
        refused = environment.run("apply", code=1).err
        assert f"the role '{cluster.name('app')}' is logged in, so it is not removed" in refused
        assert "postgres: the shop " in refused
        cluster.declare(app={"state": "absent", "reassign_to": cluster.name("group"), "sessions": "end"})
        environment.apply()
        with pytest.raises(psycopg2.OperationalError), session.cursor() as cursor:
            cursor.execute("SELECT 1")
    environment.settled()
    assert cluster.execute("SELECT name FROM sales.item") == [("one",)]
    owner = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'sales'::regnamespace"
    assert cluster.execute(owner) == [(cluster.name("group"),)]
    assert "does not exist" in cluster.login("app") or "password authentication failed" in cluster.login("app")


@pytest.mark.parametrize("major", MAJORS)
def test_what_holds_data_is_dropped_only_on_demand(owning: Callable[[int], Cluster], major: int) -> None:
    cluster = owning(major)
    environment = cluster.environment.declare(roles={cluster.name("app"): None})
    cluster.declare(app={"state": "absent", "drop_owned": True})
    refused = environment.run("apply", code=1).err
    assert f"to remove the role '{cluster.name('app')}' with `drop_owned` would destroy data: 2 objects" in refused
    assert f"{cluster.name('shop')}: table sales.item\n" in refused
    assert "next: provision apply --data spec.yml" in refused
    assert cluster.execute("SELECT name FROM sales.item") == [("one",)]
    planned = environment.run("plan", "--data")
    assert f"role/{cluster.name('app')}  DESTROYS DATA" in planned.out
    cluster.execute("CREATE VIEW hangs AS SELECT * FROM sales.item")
    failed = environment.run("apply", "--data", code=1).err
    assert "view hangs depends on table sales.item" in failed, "nothing is dropped with CASCADE"
    assert "is not permitted to log in" in cluster.login("app")
    cluster.execute("DROP VIEW hangs")
    environment.run("apply", "--data")
    environment.settled()
    assert cluster.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'sales'") == [(0,)]
    assert cluster.execute("SELECT count(*) FROM mine") == [(0,)]


def test_who_owns_a_database_needs_an_heir(of: Callable[[int], Cluster]) -> None:
    cluster = of(17)
    cluster.declare(app={}, group={}).apply()
    cluster.execute("ALTER DATABASE {shop} OWNER TO {app}")
    environment = cluster.declare(app={"state": "absent", "drop_owned": True})
    refused = environment.run("apply", "--data", code=1).err
    assert "`drop_owned` does not drop what all databases share" in refused
    assert f"database {cluster.name('shop')}\n" in refused
    environment.declare(roles={cluster.name("app"): None})
    cluster.declare(app={"state": "absent", "reassign_to": cluster.name("group")})
    environment.apply()
    environment.settled()


def test_a_role_without_anything_just_goes(of: Callable[[int], Cluster]) -> None:
    cluster = of(18)
    cluster.declare(app={}, group={"member_of": [cluster.name("app")]}).apply()
    environment = cluster.environment.declare(roles={cluster.name("group"): None})
    cluster.declare(app={"state": "absent"}, group={})
    applied = environment.apply().out
    assert "1 removed" in applied
    environment.settled()
