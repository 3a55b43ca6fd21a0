"""A spec that gives the migrations to a role: what it takes over, who logs in, and trees of several databases."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg2
import pytest
from support.embedded import IMAGE, Embedded, an_embedded_environment, an_open_directory
from support.env_files import asynchronous
from support.installation import an_installation

from provision import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

pytestmark = pytest.mark.server

ROLES = {
    "app": {"login": True, "member_of": [{"role": "boss", "set": True}]},
    "boss": {},
    "reader": {"login": True, "password": "re ader"},
}
MADE = """
CREATE EXTENSION citext; CREATE SCHEMA apart; CREATE SCHEMA "A b"; CREATE TABLE "A b"."T x" (id serial, name citext);
CREATE TABLE parts (id int) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9);
CREATE VIEW seen AS SELECT 1; CREATE MATERIALIZED VIEW kept AS SELECT 1; CREATE SEQUENCE free;
CREATE TYPE mood AS ENUM ('ok'); CREATE TYPE pair AS (a int, b int); CREATE DOMAIN word AS text;
CREATE TYPE span AS RANGE (subtype = int);
CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE act(INOUT a text[]) LANGUAGE sql AS 'SELECT a';
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int);
CREATE AGGREGATE counted(*) (sfunc = int8inc, stype = int8, initcond = '0');
CREATE COLLATION own FROM "C"; CREATE OPERATOR ### (leftarg = int, rightarg = int, function = int4pl);
CREATE TABLE wide (a int, b int); CREATE STATISTICS both_of ON a, b FROM wide;
CREATE TEXT SEARCH DICTIONARY dict (template = simple);
CREATE TEXT SEARCH CONFIGURATION conf (parser = "default");
CREATE OPERATOR FAMILY family USING btree; CREATE UNLOGGED TABLE apart.other (id int);
CREATE SCHEMA stays; CREATE TABLE stays.there (id int)
"""
NOT_BOSS = """
SELECT i.type, i.identity, pg_get_userbyid(owner) FROM (
    SELECT 'pg_class'::regclass, oid, relnamespace, relowner FROM pg_class WHERE relkind NOT IN ('i', 'I', 't', 'c')
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, proowner FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace, typowner FROM pg_type WHERE typcategory <> 'A'
    UNION ALL SELECT 'pg_namespace'::regclass, oid, oid, nspowner FROM pg_namespace WHERE nspname <> 'public'
    UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace, collowner FROM pg_collation
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace, oprowner FROM pg_operator
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace, opfowner FROM pg_opfamily
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxnamespace, stxowner FROM pg_statistic_ext
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace, dictowner FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace, cfgowner FROM pg_ts_config
) AS o (class, id, space, owner), pg_identify_object(class, id, 0) AS i
WHERE space::regnamespace::text !~ '^(pg_|information_schema|stays)' AND pg_get_userbyid(owner) <> 'boss'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = class AND d.objid = id AND deptype = 'e')
"""


@pytest.fixture(scope="module", params=[14, 18])
def earlier(request: pytest.FixtureRequest) -> Iterator[Embedded]:
    """An environment that the superuser has migrated, with objects of every kind; its spec now names a role."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        programs = None if request.param == 18 else str(an_installation(request.param, directory))
        made.server(image=f"postgres:{request.param}", bin_dir=programs).migrations("users").apply()
        made.superuser(MADE)
        roles = ROLES if request.param == 18 else {**ROLES, "app": {"login": True, "member_of": ["boss"]}}
        made.declare(roles=roles, databases={"shop": {"owner": "boss", "schemas": {"stays": {"owner": "reader"}}}})
        yield made.declare(migrations={"as": "app", "role": "boss"})


def test_what_earlier_migrations_made_is_named_refused_and_taken(earlier: Embedded) -> None:
    remark = "ownership/shop: migrations run as 'boss', which does not own what earlier ones made: "
    assert remark in earlier.run("plan").out
    earlier.apply()  # nothing is pending, so nothing is taken
    verified = earlier.run("verify", "--detailed-exitcode").out
    assert "as declared" in verified
    assert remark in verified

    earlier.migrations("users", "orders")
    refused = earlier.run("apply", code=1).all
    assert "error: the migrations run as 'boss', and their version table belongs to 'postgres'" in refused
    assert "next: provision apply --take-ownership spec.yml" in refused
    assert earlier.superuser("SELECT to_regclass('orders') IS NULL") == [(True,)]

    taken = earlier.run("apply", "--take-ownership").all
    assert "update ownership/shop: done" in taken
    assert earlier.superuser(NOT_BOSS) == []
    assert earlier.superuser("SELECT relowner::regrole::text FROM pg_class WHERE oid = 'stays.there'::regclass") == [
        ("postgres",)
    ]
    assert earlier.superuser("SELECT extowner::regrole::text FROM pg_extension WHERE extname = 'citext'") == [
        ("postgres",)
    ]
    assert "·" not in earlier.settled().out
    assert earlier.query("SELECT current_user, version_num FROM alembic_version") == [("app", "r2")]


def test_what_another_role_has_migrated_is_named_and_taken(environment: Embedded) -> None:
    environment.migrations("users").server(database=None)
    environment.declare(roles={"old": {"login": True}}, databases={"shop": {"owner": "old"}}, migrations={"as": "old"})
    environment.apply()
    environment.declare(roles={**ROLES, "old": {"login": None, "state": "absent", "reassign_to": "boss"}})
    environment.declare(databases={"shop": {"owner": "boss"}}, migrations={"as": "app", "role": "boss"})
    environment.migrations("users", "orders")
    assert "next: provision apply --take-ownership" in environment.run("apply", code=1).all
    planned = environment.run("plan", "--take-ownership").out
    assert "to boss: 6 objects (schema provision, table provision.applied_revisions, " in planned
    environment.run("apply", "--take-ownership")
    environment.settled()
    assert environment.superuser(NOT_BOSS) == []

    environment.superuser("ALTER TABLE users OWNER TO reader")
    body = "from alembic import op\nrevision, down_revision = 'r3', 'r2'\n"
    body += "def upgrade():\n    op.execute('ALTER TABLE users ADD n int')\n"
    (environment.directory / "migrations" / "versions" / "r3.py").write_text(body, encoding="utf-8")
    assert 'or as an administrator: ALTER TABLE users OWNER TO "boss"' in environment.run("apply", code=1).all


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "asyncpg"])
def test_then_every_driver_migrates_as_the_role(earlier: Embedded, driver: str) -> None:
    if earlier.superuser(NOT_BOSS):
        earlier.run("apply", "--take-ownership")
    tables = ["users", "orders", "psycopg2", "psycopg", "asyncpg"]
    earlier.migrations(*tables[: tables.index(driver) + 1])
    if driver == "asyncpg":
        env = asynchronous("transaction_per_migration=True")
        (earlier.directory / "migrations" / "env.py").write_text(env, encoding="utf-8")
    earlier.declare(migrations={"url_driver": f"postgresql+{driver}"}).apply()
    assert earlier.superuser(NOT_BOSS) == []
    assert earlier.superuser("SELECT relowner::regrole::text FROM pg_class WHERE relname = %s", driver) == [("boss",)]
    earlier.settled()


@pytest.fixture
def environment(directory: Path) -> Iterator[Embedded]:
    with an_embedded_environment(directory / "project", image=IMAGE) as made:
        yield made


def user_of(url: str) -> tuple[str | None, str]:
    parts = urlsplit(url.strip())
    return parts.username, parts.path.removeprefix("/")


def test_the_three_lines(environment: Embedded) -> None:
    environment.migrations("users").server(database=None)
    environment.declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}}, migrations={"as": "app"})
    environment.apply()
    environment.settled()
    assert environment.query("SELECT current_user, current_setting('is_superuser')") == [("app", "off")]
    assert environment.superuser("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname IN"
                                 " ('users', 'alembic_version', 'applied_revisions')") == [("app",)]  # fmt: skip
    status = environment.run("status").out
    assert "url         postgresql://app:********@" in status
    assert environment.run("status", "--json").json()["endpoint"]["user"] == "app"


def test_who_logs_in(environment: Embedded) -> None:
    roles = {**ROLES, "group": {}, "part": {"member_of": ["group"]}, "reader": {"login": True, "member_of": ["part"]}}
    environment.migrations("users").declare(roles=roles, databases={"shop": {"owner": "app"}, "other": {}})
    environment.server(database="shop").declare(migrations={"as": "app"}).apply()
    for words, expected in (
        ((), ("app", "shop")),
        (("--superuser",), ("postgres", "shop")),
        (("--role", "reader"), ("reader", "shop")),
        (("--role", "postgres"), ("postgres", "shop")),
        (("--database", "other"), ("postgres", "other")),
        (("--database", "other", "--role", "app"), ("app", "other")),
    ):
        url = environment.run("url", *words).out.strip()
        assert user_of(url) == expected
        psycopg2.connect(url).close()
        said = environment.run(
            "psql", *words, *(environment.spec.name, "--", "-Atc"), "SELECT current_user", spec=False
        )
        assert said.out == f"{expected[0]}\n"
    for words, code, expected_words in (
        (("--role", "group"), 64, "'group' does not log in\n    members that log in: reader\nnext: --role reader"),
        (("--role", "none-such"), 64, "declares no role 'none-such'\n    roles that log in: app, reader\n"),
        (("--database", "none-such"), 64, "error: the spec declares no database 'none-such'\n    shop\n    other\n"),
        (("--role", "app", "--superuser"), 64, "--superuser and --role exclude each other"),
    ):  # fmt: skip
        assert expected_words in environment.run("url", *words, code=code).all
    api = Environment(environment.spec, environ=environment.environ)
    assert (api.endpoint.user, api.superuser.user, api.login(role="reader").user) == ("app", "postgres", "reader")
    assert user_of(api.url(database="other", role="reader")) == ("reader", "other")


def test_a_password_that_is_not_known_is_said_so(environment: Embedded) -> None:
    environment.apply()
    environment.superuser("CREATE ROLE app LOGIN PASSWORD 'theirs'")
    environment.migrations("users").declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}})
    environment.declare(migrations={"as": "app"})
    for verb in ("url", "psql"):
        said = environment.run(verb, code=1).all
        assert "error: the password of the role 'app' is not known\n    `roles.app` has no `password`" in said
        assert "or log in as the superuser: add --superuser" in said
    environment.declare(roles={"app": {"password": "theirs"}}).apply()
    assert environment.query("SELECT current_user") == [("app",)]


def test_a_tree_in_each_of_several_databases(environment: Embedded) -> None:
    tree: dict[str, Any] = {"script_location": "./migrations", "as": "app"}
    environment.migrations("users").declare(migrations=None).server(database="first")
    environment.declare(
        roles={"app": {"login": True, "password": "x y"}},
        databases={name: {"owner": "app", "migrations": dict(tree)} for name in ("first", "second")},
    )
    plan = environment.run("plan").out
    assert plan.count("r1  make users") == 2, plan
    environment.apply()
    environment.settled()
    environment.migrations("users", "orders").declare(migrations=None)
    environment.run("migrate", "upgrade", "--tree", "second")
    status = environment.run("status").out
    assert "migrations first   revision r1, 1 revision behind head" in status
    assert "migrations second  revision r2" in status
    assert "≠ migrations/first\n      revision: r1, declared r2" in environment.run("verify").out
    assert environment.run("migrate", "current", "--tree", "second").out.startswith("r2 (head)")
    assert environment.run("migrate", "current", "--tree", "first").out.startswith("r1")
    assert "(current)" in environment.run("migrate", "history", "-i", "--tree", "second").out.splitlines()[0]
    environment.run("migrate", "stamp", "--tree", "second", "r1")
    environment.run("migrate", "stamp", "--tree", "second", "r2")
    environment.superuser("UPDATE pg_database SET datallowconn = false WHERE datname = 'second'")
    assert "migrations/second" in environment.run("verify").out
    environment.superuser("DROP DATABASE second")
    actions = environment.actions()
    assert actions == ["create database/second", "migrate migrations/first", "migrate migrations/second"]
    environment.apply()
    environment.settled()


def test_a_path_that_others_changed_hides_no_revision_from_the_plan(environment: Embedded) -> None:
    environment.migrations("users").server(database=None)
    settings = {"search_path": ["$user", "A b"]}
    shop = {"owner": "app", "schemas": {"A b": {"owner": "app"}, "apart": {}}, "settings": settings}
    environment.declare(roles={"app": {"login": True}}, databases={"shop": shop}, migrations={"as": "app"}).apply()
    environment.settled()
    environment.superuser("ALTER DATABASE shop SET search_path = apart")
    assert environment.actions() == ["update database/shop"]
    assert "1 updated  " in environment.apply().out.splitlines()[-2]
    environment.settled()

    environment.superuser("ALTER ROLE app IN DATABASE shop SET search_path = apart")
    for words, code in ((("plan",), 1), (("apply",), 1)):
        refused = environment.run(*words, code=code).all
        assert "error: the version table is in the schema A b, where the migrations of 'app' do not find it" in refused
    assert "✗ apply refuses: the version table is in the schema A b" in environment.run("verify").out
    environment.declare(roles={"app": {"settings_in": {"shop": {"search_path": ["$user", "A b"]}}}})
    assert environment.actions() == ["update role_setting/app/shop"]
    environment.apply()
    environment.settled()


def test_trees_that_run_as_different_roles_take_nothing_of_each_other(environment: Embedded) -> None:
    environment.migrations("users").apply()
    trees = [
        {"name": "one", "script_location": "./migrations", "as": "app"},
        {"name": "two", "script_location": "./migrations", "version_table": "two"},
    ]
    environment.declare(roles={"app": {"login": True}}, databases={"shop": {"owner": "app"}}, migrations=None)
    environment.declare(migrations=trees[:1]).migrations("users", "orders")
    environment.document["migrations"] = trees
    environment.declare()
    said = environment.run("apply", "--take-ownership", code=1).all
    assert 'so as \'postgres\': ALTER TABLE "alembic_version" OWNER TO "app"' in said


def test_scratch_databases_are_like_the_declared_one(environment: Embedded) -> None:
    environment.migrations("users").server(database="shop").apply()
    versions = environment.directory / "migrations" / "versions"
    body = (
        "def upgrade():\n"
        "    op.execute('CREATE TABLE apart.mails (mail ext.citext)')\n"
        "    op.execute(\"DO $$ BEGIN ASSERT current_user = 'boss' AND session_user = 'app' END $$\""
        ".replace(' END', '; END'))\n"
        "    op.execute('CREATE TEMPORARY TABLE t (id int) ON COMMIT DROP')\n"
        "def downgrade():\n    op.execute('DROP TABLE apart.mails')\n"
    )
    (versions / "r2.py").write_text(
        f'"""mails"""\nfrom alembic import op\nrevision = "r2"\ndown_revision = "r1"\n{body}', encoding="utf-8"
    )
    environment.superuser("CREATE SCHEMA ext")
    environment.superuser("CREATE SCHEMA apart")
    environment.superuser("CREATE EXTENSION citext SCHEMA ext")
    schemas = {"apart": {"owner": "boss"}, "ext": {"owner": "boss"}}
    shop = {"owner": "boss", "schemas": schemas, "extensions": [{"name": "citext", "schema": "ext"}]}
    environment.declare(
        roles=ROLES, databases={"shop": {**shop, "connect": ["app"]}}, migrations={"as": "app", "role": "boss"}
    )
    environment.declare(migrations={"target": "r1"}).run("apply", "--take-ownership")
    environment.superuser("ALTER SCHEMA apart OWNER TO boss")
    environment.superuser("GRANT USAGE ON SCHEMA ext TO boss")
    environment.declare(migrations={"target": "head"})
    tested = environment.run("migrate", "test").out
    assert "✓ empty → head    2 revisions" in tested
    assert "✓ up → down → up  2 revisions" in tested
    traced = environment.run("migrate", "lint", "--trace", code=None).all
    assert "traced on a clone of the database" in traced
    assert "failed" not in traced
    assert environment.superuser("SELECT count(*) FROM pg_database WHERE datname ~ 'scratch'") == [(0,)]
    environment.apply()
    environment.settled()
    with closing(psycopg2.connect(environment.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM apart.mails")
