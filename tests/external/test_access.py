"""Who can use what: what the server answers, and what ``provision access`` says of it."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import jsonschema
import psycopg2
import pytest
from support.checkout import ROOT
from support.foreign import PASSWORD
from support.random_grants import quoted, roles_at_random

from provision.insight import access
from provision.insight.lint import RULES
from provision.insight.paths import Groups
from provision.kinds import Look, catalog
from provision.model import Endpoint, Secret
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment
    from support.foreign import Foreign

MAJORS = (14, 16, 17, 18)
PRIVILEGES = {
    "table": {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"},
    "sequence": {"SELECT", "USAGE", "UPDATE"},
    "function": {"EXECUTE"},
    "type": {"USAGE"},
    "schema": {"USAGE", "CREATE"},
    "database": {"CONNECT", "CREATE", "TEMPORARY"},
}


def schema(name: str) -> Any:
    return json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8"))


@contextmanager
def a_look(server: Foreign, database: str, user: str = "postgres") -> Iterator[Look]:
    spec: Any = SimpleNamespace(server=SimpleNamespace(database=database), databases={})
    query = ReadOnlyQuery(Endpoint("127.0.0.1", server.port, user, Secret(PASSWORD), database))
    inputs: Any = None
    try:
        yield Look(spec, inputs, {}, "", lambda _: None, lambda _: 0, session=query, has_database=True)
    finally:
        query.close()


@pytest.mark.parametrize("major", MAJORS)
def test_what_explains_a_privilege_is_what_the_server_goes_by(servers: Callable[[int], Foreign], major: int) -> None:
    for seed in range(3):
        with roles_at_random(servers(major), seed) as database, a_look(servers(major), database) as look:
            found = access(look)
            cluster = look.once(catalog.cluster)
            held = {
                (id(each.thing), each.role, right.privilege): right.paths
                for each in found.reaches
                if each.after is None
                for right in each.rights
                if not right.columns
            }
            groups = Groups(cluster, database)
            for thing in found.things:
                for role in [None, *[each for each in cluster.roles if not each.startswith("pg_")]]:
                    maintain = {"MAINTAIN"} if thing.of == "table" and major >= 17 else set()
                    for privilege in PRIVILEGES[thing.of] | maintain:
                        ways = groups.paths(role, privilege, thing.kind, thing.owner, thing.acl)
                        assert ways == held.get((id(thing), role, privilege), ()), (seed, role, privilege, thing)
            assert all(right.paths for each in found.reaches for right in each.rights)


@pytest.mark.parametrize("major", MAJORS)
def test_what_is_said_to_work_works(servers: Callable[[int], Foreign], major: int) -> None:
    """Each role tries to read each table: it can where it is said to, and nowhere else."""
    server = servers(major)
    for seed in range(100, 103):
        with roles_at_random(server, seed) as database, a_look(server, database) as look:
            found = access(look)
            able = {
                (each.role, name)
                for each in found.reaches
                if not [lack for lack in each.lacks if lack.startswith("USAGE")]
                for right in each.rights
                if right.privilege == "SELECT" and each.after is None
                for name in each.thing.names
                if each.thing.of == "table" and each.thing.schema == "shop"
            }
            for role in [each for each in look.once(catalog.cluster).roles if not each.startswith("pg_")]:
                for name in ("t", '"T two"', "v", "m"):
                    works = True
                    try:
                        server.execute(f"SET ROLE {quoted(role)}; SELECT FROM shop.{name}", database=database)
                    except psycopg2.errors.InsufficientPrivilege:
                        works = False
                    assert works == ((role, name) in able), (seed, role, name)


DANGERS = (
    "CREATE ROLE {p}_bi", "GRANT pg_read_all_data TO {p}_bi", "CREATE ROLE {p}_ana LOGIN IN ROLE {p}_bi",
    "CREATE ROLE {p}_root LOGIN SUPERUSER", "CREATE ROLE {p}_maker CREATEROLE",
    "CREATE ROLE {p}_files LOGIN", "GRANT pg_write_server_files TO {p}_files",
    "SET password_encryption = md5; CREATE ROLE {p}_old LOGIN PASSWORD 'x' VALID UNTIL '2020-01-02'",
    "CREATE DATABASE {p}",
)  # fmt: skip
INSIDE = (
    "GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE SCHEMA ext", "CREATE EXTENSION citext SCHEMA ext",
    "CREATE EXTENSION pgcrypto SCHEMA ext", "CREATE TABLE t (id int)",
)  # fmt: skip


@pytest.fixture(params=[14, 17])
def endangered(servers: Callable[[int], Foreign], environment: Environment, request: Any) -> Iterator[tuple[Any, str]]:
    """An environment whose server has one of every danger, and what their names begin with."""
    server, prefix = servers(request.param), f"x{uuid4().hex[:6]}"
    many = [f"{prefix}_{number}" for number in range(51)]
    try:
        server.execute(
            *[each.format(p=prefix) for each in DANGERS], *[f"CREATE ROLE {each} LOGIN" for each in many[:12]]
        )
        server.execute(*[f"CREATE ROLE {each}" for each in many[12:]])
        server.execute(*INSIDE, *[f"GRANT SELECT ON t TO {each}" for each in many], database=prefix)
        yield server.declare(environment, database=prefix), prefix
    finally:
        server.execute(f"DROP DATABASE {prefix} WITH (FORCE)")
        names = [name for (name,) in server.execute("SELECT rolname FROM pg_roles") if name.startswith(prefix)]
        server.execute(*[f"DROP ROLE {name}" for name in names])


def test_every_danger_is_found_with_what_to_do(endangered: tuple[Environment, str]) -> None:
    environment, prefix = endangered
    found = environment.run("access", "--lint", "--json", code=1).json()
    jsonschema.validate(found, schema("access-lint"))
    evidence = {each["rule"]: "\n".join([*each["evidence"], each["next"]]) for each in found["findings"]}
    on_14 = environment.document["server"]["image"] == "postgres:14"
    assert list(evidence) == [rule for rule in RULES if on_14 or rule != "createrole"]
    assert f"{prefix}_ana → {prefix}_bi → pg_read_all_data" in evidence["all-data"]
    assert f"REVOKE pg_read_all_data FROM {prefix}_bi" in evidence["all-data"]
    assert evidence["superuser-login"].startswith(f"{prefix}_root\n")
    assert "write `settings: {search_path: [$user, public, ext]}`" in evidence["extension-off-path"]
    assert "SELECT on the table t, for example: " in evidence["same-grants"]
    assert evidence["expired-login"].startswith(f"{prefix}_old since 2020-01-02\n")
    text = environment.run("access", "--lint", *[f"--ignore={rule}" for rule in RULES if rule != "all-data"], code=1)
    assert "all-data: a member of pg_read_all_data reads every table" in text.out
    assert "1 finding in the roles and 1 database, " in text.out
    ignored = environment.run("access", "--lint", *[f"--ignore={rule}" for rule in RULES])
    assert "nothing found in the roles and 1 database, " in ignored.out


def test_a_login_that_is_no_superuser_is_answered_as_well(
    servers: Callable[[int], Foreign], environment: Environment
) -> None:
    server = servers(16)
    role = server.role("CREATEDB")
    server.declare(environment, credentials={"user": role}).migrations("customers").apply()
    found = environment.run("access", "--lint", "--json", code=None).json()
    assert found["unknown"] == ["? md5-password: only a superuser sees how passwords are kept"]
    shown = environment.run("access", "--on", "customers").out
    assert re.search(rf"^  {role} +all +owner$", shown, re.MULTILINE)


def test_who_can_use_a_table_is_a_table_of_80_columns(endangered: tuple[Environment, str]) -> None:
    environment, prefix = endangered
    shown = environment.run("access", "--on", "public.t").out
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(rf"^  {prefix}_ana +select +{prefix}_bi → pg_read_all_data$", shown, re.MULTILINE)
    assert re.search(rf"^  {prefix}_root +all +superuser$", shown, re.MULTILINE)
    found = environment.run("access", "--on", "t", "--role", f"{prefix}_0", "--json").json()
    jsonschema.validate(found, schema("access"))
    (only,) = found["access"]
    way = {"how": "grant", "roles": []}
    assert only["privileges"] == [{"privilege": "SELECT", "columns": [], "through": [way]}]
    assert "did you mean public.t?" in environment.run("access", "--on", "publik.t", code=64).err
    assert "the server has no role" in environment.run("access", "--role", "nemo", code=64).err


def test_names_are_asked_for_as_sql_writes_them(servers: Callable[[int], Foreign], environment: Environment) -> None:
    server = servers(17)
    database = server.declare(environment).document["server"]["database"]
    environment.migrations("customers").apply()
    role = server.role()
    made = ['CREATE SCHEMA "A b"', 'CREATE TABLE "A b"."T ""x" (id int)', f'GRANT SELECT ON "A b"."T ""x" TO {role}']
    server.execute(*made, f'REVOKE CONNECT ON DATABASE "{database}" FROM public', database=database)
    for text in ('"A b"."T ""x"', 'A b."T ""x"', '"T ""x"', f'"{database}"."A b"."T ""x"', '"A b".*'):
        assert '"A b"."T ""x" (table)' in environment.run("access", "--on", text).out
    shown = " ".join(environment.run("access", "--on", '"A b"."T ""x"').out.split())
    assert f'granted; but lacks CONNECT on the database {database}, USAGE on the schema "A b"' in shown
    assert 'did you mean "A b"."T ""x"?' in environment.run("access", "--on", '"A b"."T ""y"', code=64).err
    for name in ("public", "PUBLIC"):
        everybody = environment.run("access", "--role", name).out
        assert "what PUBLIC can do in the database" in everybody
        assert re.search(r"^  PUBLIC +\(database\) +temporary", everybody, re.MULTILINE)


def test_what_decides_about_access_and_is_in_no_spec_is_counted_by_verify(
    servers: Callable[[int], Foreign], environment: Environment
) -> None:
    server = servers(17)
    database = server.declare(environment).document["server"]["database"]
    environment.declare(databases={database: {"schemas": {"public": {}}}}).migrations("customers").apply()
    made = ["ALTER TABLE customers ENABLE ROW LEVEL SECURITY", "CREATE PUBLICATION news"]
    server.execute(*made, *[f"CREATE POLICY {each} ON customers USING (true)" for each in "ab"], database=database)
    assert f"· not managed in {database}: 2 policies, 1 publication" in environment.run("verify").out
    environment.settled()
