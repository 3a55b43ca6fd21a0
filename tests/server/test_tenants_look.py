"""Which tenants a tree has, and where they are: what plan, verify and status say of many databases or schemas."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import trees
from support import program

from provision.environment import Environment
from provision.errors import RefusedError
from provision.reviewed import Reviewed
from provision.system.one_statement import StatementError, ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server

REVISIONS = {"0001": trees.table("one"), "0002": trees.table("two"), "0003": trees.table("three")}
STRANGE = 'it\'s "100%" {tenant}; --'
"""A name that is a danger to what quotes it wrongly."""


class Tenants:
    """A spec beside a tree of three revisions, and the databases or schemas that a test makes."""

    def __init__(self, home: Path, server: Server, prefix: str) -> None:
        self.home, self.server, self.prefix = home, server, prefix
        trees.write(home, REVISIONS)
        self.made: list[str] = []

    def name(self, word: str) -> str:
        """Return the whole name of a database."""
        return f"{self.prefix}{word}"

    def database(self, word: str, *rows: str) -> str:
        """Make a database, at a revision."""
        name = self.name(word)
        self.server.execute(f"CREATE DATABASE {quoted(name)}")
        self.made.append(name)
        self.at(rows, database=name)
        return name

    def schema(self, name: str, *rows: str) -> str:
        """Make a schema, at a revision."""
        self.server.execute(f"CREATE SCHEMA {quoted(name)}")
        self.at(rows, schema=name)
        return name

    def at(self, rows: tuple[str, ...], *, database: str | None = None, schema: str = "public") -> None:
        """Write a version table."""
        table = f"{quoted(schema)}.alembic_version"
        if rows:
            statements = [f"CREATE TABLE IF NOT EXISTS {table} (version_num text)", f"TRUNCATE {table}"]
            statements += [f"INSERT INTO {table} VALUES ('{row}')" for row in rows]  # noqa: S608
            self.server.execute(*statements, database=database)

    def declare(self, tenants: str, *, more: str = "", top: str = "") -> None:
        """Write the spec."""
        here = self.server.endpoint
        (self.home / "spec.yml").write_text(
            f"name: test-tenants\nserver: {{runtime: external, image: 'postgres:18', host: {here.host}, "
            f"port: {here.port}, database: '{here.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\n"
            f"migrations: {{name: app, script_location: migrations, {more}tenants: {{{tenants}}}}}\n{top}"
        )

    def query(self, **more: str) -> None:
        """Write the spec with the query of the databases that begin with the prefix."""
        sql = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{self.prefix}') ORDER BY 1"  # noqa: S608
        self.declare(f'databases: {{query: "{sql}"}}' + "".join(f", {key}: {each}" for key, each in more.items()))

    def run(self, *words: str, code: int = 0) -> program.Ran:
        """Run the program."""
        environ = {**os.environ, "PW": self.server.endpoint.password.reveal()}
        done = program.run(*words, "spec.yml", cwd=self.home, environ=environ)
        assert done.code == code, done.all
        return done


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def tenants(tmp_path: Path, database: Server) -> Iterator[Tenants]:
    made = Tenants(tmp_path, database, f"{database.endpoint.database.removeprefix('test %')}_")
    yield made
    for each in made.made:
        database.execute(f"DROP DATABASE IF EXISTS {quoted(each)} WITH (FORCE)")


def test_databases_are_seen_in_groups(tenants: Tenants) -> None:
    for number in range(4):
        tenants.database(f"head{number}", "0003")
    tenants.database("behind", "0001")
    tenants.database(STRANGE)
    tenants.query()
    told = tenants.run("plan").out
    assert "4 databases at head" in told
    assert f"1 database from 0001 ({tenants.name('behind')}): 0002 make 0002; 0003 make 0003" in told
    assert f"1 database from base ({tenants.name(STRANGE)}): 0001 make 0001;" in told
    assert "head0" not in told
    (found,) = [each for each in tenants.run("verify", "--json").json()["differences"] if "from 0001" in each["text"]]
    assert (found["address"], "at head" in str(found)) == ("migrations/app", False)


def test_nothing_to_do_and_a_query_that_finds_nothing(tenants: Tenants) -> None:
    tenants.query(first="[nobody]")
    told = tenants.run("apply").out
    assert "returns no database, so nothing is migrated" in told
    assert "`first` names nobody, which the query does not return" in told
    tenants.database("a", "0003")
    tenants.query()
    assert "nothing to do" in tenants.run("apply").out
    assert "as declared" in tenants.run("verify").out


def test_schemas_are_seen_with_one_question(tenants: Tenants) -> None:
    tenants.schema("acme", "0003")
    tenants.schema(STRANGE, "0002")
    tenants.schema("empty")
    listed = STRANGE.replace("'", "''")
    tenants.declare(f"schemas: [acme, '{listed}', empty]")
    told = tenants.run("plan").out
    assert "1 schema at head" in told
    assert f"1 schema from 0002 ({STRANGE}): 0003 make 0003" in told
    assert "1 schema from base (empty): 0001 make 0001; 0002 make 0002; 0003 make 0003" in told
    tenants.server.execute("CREATE TABLE empty.two (id int)")
    assert "tables that these migrations create are there already" in tenants.run("plan", code=1).all


def test_what_must_not_be_guessed_is_refused_with_its_tenant(tenants: Tenants) -> None:
    tenants.database("a", "0003")
    foreign = tenants.database("foreign", "9999")
    tenants.query()
    told = tenants.run("plan", code=1).all
    assert "1 of 2 databases: the database is at revision 9999, which this checkout does not have" in told
    assert f"database {foreign}" in told
    assert f"--except {foreign}" in told
    assert "1 of 2 databases: the database is at revision 9999" in tenants.run("verify").out
    tenants.server.execute("TRUNCATE alembic_version", "INSERT INTO alembic_version VALUES ('0003')", database=foreign)
    tenants.declare(f"databases: [{tenants.name('a')}, {foreign}]", more="target: '0002', ")
    told = tenants.run("plan", code=1).all
    assert "2 of 2 databases: the database is ahead of `target: 0002` by a revision" in told
    tenants.declare(f"databases: [{foreign}, {tenants.name('gone')}]")
    told = tenants.run("plan", code=1).all
    assert "1 database of the tenants does not exist" in told
    assert f"database {tenants.name('gone')}" in told
    absent = {"revisions": None, "tenants": [tenants.name("gone")]}
    told = tenants.run("status", "--json", code=1).json()
    assert told["refusal"]["error"] == "1 database of the tenants does not exist"
    assert told["tenants"]["app"] == [{"revisions": ["0003"], "tenants": [foreign]}, absent]
    assert "1 at 0003 (head), 1 absent or closed" in tenants.run("status", code=1).out
    assert tenants.run("migrate", "current", "--json").json()["groups"][-1] == absent
    assert f"absent or closed: 1 tenant ({absent['tenants'][0]})" in tenants.run("migrate", "current").out


def test_a_report_counts_tenants(tenants: Tenants) -> None:
    tenants.database("first", "0001")
    tenants.database("other", "0003")
    tenants.query()
    tenants.run("report", "-o", "report.html")
    told = (tenants.home / "report.html").read_text()
    assert "1 tenant to migrate" in told
    assert "1 at 0001, 1 at 0003 (head)" in told
    assert "revisions pending" not in told


def test_some_are_chosen(tenants: Tenants) -> None:
    first, other = tenants.database("first", "0001"), tenants.database("other", "0002")
    tenants.query()
    told = tenants.run("plan", "--tenant", first).out
    assert f"1 database from 0001 ({first})" in told
    assert "1 database left out" in told
    assert f"next: provision apply spec.yml --tenant {first}" in told
    (step,) = [each for each in tenants.run("plan", "--except", first, "--json").json()["steps"] if "tenants" in each]
    moves = {"direction": "upgrade", "from": ["0002"], "revisions": ["0003"], "tenants": [other]}
    assert step["tenants"] == [moves]
    for verb in ("plan", "apply", "verify", "migrate upgrade"):
        told = tenants.run(*verb.split(), "--tenant", f"{first}s", code=64).all
        assert f"the migrations 'app' have no tenant '{first}s'" in told
        assert f"did you mean '{first}'?" in told
    told = tenants.run("plan", "--tenant", first, "--except", first, code=64).all
    assert f"--tenant {first} and --except {first} exclude each other" in told
    tenants.declare(f"databases: [{first}, {other}]")
    assert f"did you mean '{other}'?" in tenants.run("plan", "--except", f"{other}s", code=64).all
    told = tenants.run("migrate", "downgrade", "-1", code=64).all
    assert f"add --tenant, for example --tenant {first}" in told
    assert tenants.run("migrate", "current", "--tenant", first).out.startswith("0001")
    assert tenants.run("migrate", "current").out.splitlines() == [
        f"0001: 1 tenant ({first})", f"0002: 1 tenant ({other})"
    ]  # fmt: skip
    assert tenants.run("migrate", "current", "--json").json()["groups"][0] == {
        "revisions": ["0001"],
        "tenants": [first],
    }
    assert "tenants  1 at 0001, 1 at 0002" in tenants.run("status").out
    assert tenants.run("migrate", "upgrade", "0002", "--tenant", first).out
    assert tenants.run("status", "--json").json()["tenants"]["app"] == [
        {"revisions": ["0002"], "tenants": [first, other]}
    ]
    assert "CREATE TABLE three" in tenants.run("plan", "--sql").out
    spec = tenants.home / "spec.yml"
    spec.write_text(spec.read_text().split("migrations:")[0])
    assert "have no tenants" in tenants.run("plan", "--tenant", first, code=64).all


def test_a_verb_of_migrate_takes_no_other_database(tenants: Tenants) -> None:
    first, stranger = tenants.database("first", "0001"), tenants.server.endpoint.database
    tenants.query()
    for words in (
        ("current",),
        ("upgrade",),
        ("downgrade", "base", "--yes"),
        ("stamp", "0003"),
        ("sql",),
        ("check",),
    ):
        told = tenants.run("migrate", *words, "--tenant", stranger, code=64).all
        assert f"the migrations 'app' have no tenant '{stranger}'" in told
        assert "next: provision migrate current spec.yml --tree app -v" in told
    assert first in tenants.run("migrate", "current", "--tree", "app", "-v").out
    assert f"did you mean '{first}'?" in tenants.run("migrate", "upgrade", "--tenant", f"{first}s", code=64).all
    assert tenants.server.execute("SELECT to_regclass('alembic_version')") == [(None,)]
    tenants.schema("acme", "0002")
    tenants.declare("schemas: {query: \"SELECT nspname FROM pg_namespace WHERE nspname = 'acme'\"}")
    assert "no tenant 'public'" in tenants.run("migrate", "upgrade", "--tenant", "public", code=64).all
    assert tenants.run("migrate", "current", "--tenant", "acme").out.startswith("0002")
    gone = tenants.name("gone")
    tenants.declare(f"databases: [{first}, {gone}]")
    told = tenants.run("migrate", "upgrade", "--tenant", gone, code=69).all
    assert f"there is no database '{gone}' on the server at" in told
    assert "next: provision plan spec.yml" in told


def test_current_says_why_no_tenant_is_known(tenants: Tenants) -> None:
    tenants.query()
    assert tenants.run("migrate", "current").out == "no tenants\n"
    tenants.declare('databases: {query: "SELECT oops"}')
    assert 'column "oops" does not exist' in tenants.run("migrate", "current", code=1).all
    spec = tenants.home / "spec.yml"
    spec.write_text(spec.read_text().replace(f"port: {tenants.server.endpoint.port}", "port: 1"))
    told = tenants.run("migrate", "current", code=69).all
    assert f"the server at {tenants.server.endpoint.host}:1 cannot be reached" in told
    assert "`server.direct`" in told


def test_a_reviewed_plan_allows_fewer_tenants(tenants: Tenants) -> None:
    first, other = tenants.database("first", "0002"), tenants.database("other", "0002")
    tenants.query()
    saved = tenants.home / "plan.json"
    saved.write_text(tenants.run("plan", "--json").out)
    reviewed = Reviewed.read(saved.read_text(), "plan.json")
    environ = {**os.environ, "PW": tenants.server.endpoint.password.reveal()}
    environment = Environment(tenants.home / "spec.yml", environ=environ)
    tenants.at(("0003",), database=other)
    reviewed.insist(environment.survey())
    tenants.at(("0001",), database=first)
    with pytest.raises(RefusedError, match="does not have"):
        reviewed.insist(environment.survey())


def test_a_database_that_cannot_be_entered_is_named(tenants: Tenants) -> None:
    role, closed = f"{tenants.prefix}login", tenants.database("closed")
    limited = tenants.database("limited")
    tenants.server.execute(f"CREATE ROLE {quoted(role)} LOGIN PASSWORD 'pw'")
    try:
        tenants.server.execute(
            f"REVOKE CONNECT ON DATABASE {quoted(limited)} FROM PUBLIC",
            f"ALTER DATABASE {quoted(closed)} ALLOW_CONNECTIONS false",
        )
        tenants.query()
        spec = tenants.home / "spec.yml"
        spec.write_text(spec.read_text().replace("user: postgres, password: '${PW}'", f"user: {role}, password: pw"))
        told = tenants.run("plan", code=1).all
        assert "2 databases of the tenants cannot be entered" in told
        assert f"database {limited}: permission denied for database" in told
        assert f"database {closed}: it does not accept connections" in told
    finally:
        tenants.server.execute(f"DROP ROLE {quoted(role)}")


def test_several_heads_are_one_place(tenants: Tenants) -> None:
    other = (tenants.home / "migrations" / "versions" / "0003.py").read_text()
    (tenants.home / "migrations" / "versions" / "other.py").write_text(
        other.replace("revision = '0003'", "revision = 'other'").replace("three", "four")
    )
    tenants.database("both", "0003", "other")
    tenants.database("one", "other")
    tenants.query()
    spec = tenants.home / "spec.yml"
    spec.write_text(spec.read_text().replace("name: app,", "name: app, target: heads,"))
    told = tenants.run("plan").out
    assert "1 database at head" in told
    assert "1 database from other (" in told


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT datname, oid FROM pg_database", "it returns 2 columns: datname, oid"),
        ("SELECT NULL::text", "1 of its rows have no name"),
        ("SELECT nothing FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT 'a'; SELECT 'b'", "cannot insert multiple commands into a prepared statement"),
        ("COMMIT", "it returns no rows"),
        ("CREATE TABLE x (y int)", "cannot execute CREATE TABLE in a read-only transaction"),
        ("SELECT pg_read_file('PG_VERSION')", "permission denied for function pg_read_file"),
        ("COPY (SELECT 1) TO PROGRAM 'true'", "permission denied to COPY to or from an external program"),
    ],
)
def test_a_query_only_reads_names(tenants: Tenants, sql: str, told: str) -> None:
    tenants.declare(f'databases: {{query: "{sql}"}}')
    done = tenants.run("plan", code=1).all
    assert told in done
    assert "spec.yml:3" in done


def test_a_query_is_asked_as_the_role_of_the_migrations(database: Server) -> None:
    role = f"role_{database.endpoint.database[-8:]}"
    database.execute(f"CREATE ROLE {role}")
    try:
        assert ask(database.endpoint, "SELECT current_user::text", role=role).rows == ((role,),)
        database.execute(f"GRANT pg_read_server_files TO {role}")
        assert ask(database.endpoint, "SELECT current_user::text", role=role).rows == (("pg_read_all_data",),)
    finally:
        database.execute(f"DROP ROLE {role}")


def test_a_query_is_asked_by_the_login_of_the_migrations(tenants: Tenants) -> None:
    role, first = f"o{tenants.prefix}owner", tenants.database("first", "0003")
    reads = f"CREATE FUNCTION {role}_reads() RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
    tenants.server.execute(
        f"{reads} PERFORM set_config('role', 'none', true); RETURN pg_read_file('PG_VERSION'); END $$"
    )
    query = f"SELECT datname FROM pg_database WHERE datname = '{first}'"  # noqa: S608
    top = f"roles: {{{role}: {{password: first}}}}\n"
    try:
        tenants.declare(f'databases: {{query: "{query}"}}', more=f"as: {role}, ", top=top)
        assert (
            "only the server knows which databases are behind" in tenants.run("plan").out
        )  # the role is still to be made
        tenants.run("apply")
        assert "nothing to do" in tenants.run("plan").out
        tenants.server.execute(f"ALTER ROLE {role} PASSWORD 'another'")
        assert "only the server knows" in tenants.run("plan").out
        tenants.run("apply")
        tenants.declare(f"databases: {{query: SELECT {role}_reads()}}", more=f"as: {role}, ", top=top)
        for words in (("plan",), ("migrate", "upgrade", "--tenant", first)):
            assert "permission denied for function pg_read_file" in tenants.run(*words, code=1).all
    finally:
        tenants.server.execute(f"DROP FUNCTION {role}_reads()", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.long
def test_a_query_ends_after_its_time(database: Server) -> None:
    with pytest.raises(StatementError, match="canceling statement"):
        ask(database.endpoint, "SELECT pg_sleep(60) FROM set_config('statement_timeout', '1', true)", role=None)


def test_no_commands_asks_nothing(tenants: Tenants) -> None:
    tenants.declare("databases: {query: SELECT pg_sleep(100)}")
    done = tenants.run("plan", "--no-commands").all
    assert "?" in done
    assert "migrations/app" in done


def test_tenants_that_an_earlier_tree_names(tenants: Tenants) -> None:
    trees.write(tenants.home / "control", {"c1": trees.table("control")})
    here = tenants.server.endpoint
    (tenants.home / "spec.yml").write_text(
        f"name: test-tenants\nserver: {{runtime: external, image: 'postgres:18', host: {here.host}, "
        f"port: {here.port}, database: '{here.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\n"
        "migrations:\n  - {name: control, script_location: control/migrations, version_table: control_version}\n"
        "  - {name: app, script_location: migrations, tenants: {schemas: {query: TABLE control}}}\n"
    )  # fmt: skip
    told = tenants.run("plan").out
    assert "only the server knows which schemas are behind" in told
