"""Clones for programs: fresh, migrated, of their own, and never taken for anything that a spec declares."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg2
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision import Environment
from provision.errors import EXIT_UNAVAILABLE, RefusedError, UsageError
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.clones import Clone

pytestmark = pytest.mark.server

SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"


@pytest.fixture(scope="module")
def made() -> Iterator[Embedded]:
    """An environment with a row of its developer in the declared database."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project", database="shop") as each:
        each.migrations("customers")
        each.declare(
            roles={"app": {"login": True}, "reader": {}},
            databases={"shop": {"owner": "app", "settings": {"work_mem": "9MB"}, "connect": ["reader"]}},
            migrations={"as": "app"},
        ).apply()
        each.query("INSERT INTO customers (name) VALUES ('Ada') RETURNING 1")
        yield each
        each.run("clone", "--drop", "--all")


@pytest.fixture
def environment(made: Embedded) -> Environment:
    return Environment(made.spec, environ=made.environ)


@contextmanager
def connected(clone: Clone) -> Iterator[Any]:
    with closing(psycopg2.connect(clone.url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        yield cursor


def test_it_is_as_the_spec_says_and_without_rows(made: Embedded, environment: Environment) -> None:
    with closing(made.connection()), environment.clone() as clone, connected(clone) as cursor:
        cursor.execute("SELECT count(*), current_user, current_setting('work_mem') FROM customers GROUP BY 2, 3")
        assert cursor.fetchall() == []
        cursor.execute("SELECT current_user, current_setting('work_mem'), version_num FROM alembic_version")
        assert cursor.fetchall() == [("app", "9MB", "r1")]
        cursor.execute(
            "SELECT DISTINCT datacl::text, pg_get_userbyid(datdba) FROM pg_database WHERE datname IN ('shop', %s)",
            (clone.name,),
        )
        assert len(cursor.fetchall()) == 1
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(clone.url)


def test_a_server_that_goes_away_meanwhile_is_named() -> None:
    ends = "op.execute(\"COPY (SELECT 1) TO PROGRAM 'kill -QUIT $(head -1 postmaster.pid)'\")"
    with an_open_directory() as directory, an_embedded_environment(directory / "project", ready_timeout="1s") as at:
        at.migrations("customers")
        at.apply()
        at.migrations("customers", "orders")
        at.declare(migrations={"timeout": "2s"})
        revision = at.directory / "migrations" / "versions" / "r2.py"
        revision.write_text(revision.read_text().replace("op.create_table(", f"{ends}\n    op.create_table("))
        assert "once a server takes writes" in at.run("clone", code=EXIT_UNAVAILABLE).all


def test_it_is_never_taken_for_something_unmanaged(made: Embedded, environment: Environment) -> None:
    with environment.clone("orders"):
        made.settled()
        for verb in ("verify", "import", "access", "status"):
            assert "provision_" not in made.run(verb).out.replace(str(made.directory), "")
        assert made.run("psql", "--database", "provision_clone_orders", spec=True).code == 0
    with pytest.raises(UsageError):
        environment.drop_clones(["orders"])


def test_the_command_line(made: Embedded) -> None:
    url = made.run("clone", "--name", "one", "--driver", "asyncpg")
    assert url.out.startswith("postgresql+asyncpg://app:")
    assert url.out.rstrip().endswith("/provision_clone_one")
    again = made.run("clone", "--name", "one", code=1)
    assert "there is a clone 'provision_clone_one' already" in again.err
    assert "provision clone --drop one" in again.err.replace("spec.yml ", "")
    document = made.run("clone", "--json").json()
    listed = made.run("clone", "--list", "--json").json()
    assert [each["database"] for each in listed["clones"]] == ["shop", "shop"]
    for each, name in ((document, "clone"), (listed, "clones")):
        jsonschema.validate(each, json.loads((SCHEMAS / f"{name}.json").read_text()))
        assert "password" not in json.dumps(each)
    assert "2 clones" in made.run("clone", "--list").out
    assert "- provision_clone_one" in made.run("clone", "--drop", "one").out
    assert made.run("clone", "--drop", "--all", "--json").json()["dropped"] == [document["name"]]
    assert made.superuser("SELECT count(*) FROM pg_database WHERE datname ~ '^provision'") == [(0,)]


def test_the_slower_of_two_of_one_name_is_refused_like_a_second_one(made: Embedded) -> None:
    """Both have seen that the name is free, and wait to write it into the catalogue."""
    made.run("clone", "--drop", "--all")
    made.run("clone")
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'pg_database'::regclass AND NOT granted"
    with closing(made.connection(superuser=True)) as holder:
        holder.autocommit = False
        holder.cursor().execute("LOCK TABLE pg_database IN SHARE MODE")
        both = [made.begin("clone", "--name", "one") for _ in range(2)]
        for _ in attempts(30, 0.05):
            if made.superuser(waiting) == [(2,)]:
                break
        holder.rollback()
    said = {run.communicate(timeout=60)[0]: run.returncode for run in both}
    assert sorted(said.values()) == [0, 1]
    again = made.run("clone", "--name", "one", code=1)
    assert again.err in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--name ../x", "cannot be the name of a clone"),
        ("--name test1_x", "cannot be the name of a clone"),
        ("--drop nothing", "there is no clone 'provision_clone_nothing'"),
        ("--all", "write --list, --drop NAME or --drop --all"),
        ("--database orders", "the spec declares no database 'orders'"),
    ],
)
def test_what_makes_no_sense_is_refused(made: Embedded, words: str, said: str) -> None:
    refused = made.run("clone", *words.split(), code=64)
    assert said in refused.err


def test_another_revision_is_another_template(made: Embedded, environment: Environment) -> None:
    environment.clone().drop()
    made.migrations("customers", "orders")
    with Environment(made.spec, environ=made.environ).clone() as clone, connected(clone) as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchall() == [("r2",)]
    assert made.query("SELECT version_num FROM alembic_version") == [("r1",)]
    for number in range(4):
        made.migrations("customers", "orders", f"more{number}")
        Environment(made.spec, environ=made.environ).clone().drop()
    templates = "FROM pg_database WHERE datname ~ '^provision_template'"
    assert made.superuser(f"SELECT count(*) > 3 {templates}") == [(True,)]
    for name, said in made.superuser(f"SELECT datname, shobj_description(oid, 'pg_database') {templates}"):
        comment = json.dumps({**json.loads(said), "made": "2026-01-01T00:00:00+00:00"})
        made.superuser(f"COMMENT ON DATABASE {name} IS '{comment}'")
    made.migrations("customers", "orders", "last")
    Environment(made.spec, environ=made.environ).clone().drop()
    assert made.superuser(f"SELECT count(*) {templates}") == [(3,)]
    (made.directory / "migrations/versions/r3.py").unlink()
    (made.directory / "migrations/versions/r2.py").unlink()


def test_a_file_that_a_revision_reads_makes_another_template(made: Embedded, environment: Environment) -> None:
    templates = "SELECT count(*) FROM pg_database WHERE datname ~ '^provision_template'"
    environment.drop_clones()
    environment.clone().drop()
    file = made.directory / "migrations/versions/functions.sql"
    file.write_text("SELECT 1;")
    environment.clone().drop()
    environment.clone().drop()
    file.unlink()
    assert made.superuser(templates) == [(2,)]
    environment.drop_clones()


def test_what_revisions_read_elsewhere_makes_another_template(made: Embedded) -> None:
    templates = "SELECT count(*) FROM pg_database WHERE datname ~ '^provision_template'"
    revision = made.directory / "migrations/versions/r1.py"
    before, models = revision.read_text(), made.directory / "models.txt"
    revision.write_text(f"import os\nopen({str(models)!r}).read(), os.environ.get('SHOP_SIZE')\n{before}")

    def cloned(**variables: str) -> int:
        Environment(made.spec, environ={**made.environ, **variables}).clone().drop()
        return int(made.superuser(templates)[0][0])

    Environment(made.spec, environ=made.environ).drop_clones()
    models.write_text("one")
    assert [cloned(), cloned()] == [1, 1]
    models.write_text("two")
    assert [cloned(), cloned()] == [2, 2]
    assert [cloned(SHOP_SIZE="2"), cloned(SHOP_SIZE="2"), cloned()] == [3, 3, 3]
    models.write_text("one")
    assert cloned() == 3
    said = made.superuser("SELECT string_agg(shobj_description(oid, 'pg_database'), '') FROM pg_database")[0][0]
    assert "SHOP_SIZE" not in said
    revision.write_text(before)
    Environment(made.spec, environ=made.environ).drop_clones()


def test_a_template_of_which_it_is_not_known_what_was_read_serves_a_minute(made: Embedded) -> None:
    templates = "FROM pg_database WHERE datname ~ '^provision_template'"
    revision = made.directory / "migrations/versions/r1.py"
    before, words = revision.read_text(), made.directory / "words.txt"
    revision.write_text(
        f"from pathlib import Path\nPath({str(words)!r}).write_text(Path({str(words)!r}).read_text())\n{before}"
    )
    words.write_text("one")
    environment = Environment(made.spec, environ=made.environ)
    environment.drop_clones()
    for _ in range(2):
        environment.clone().drop()
    ((name, said),) = made.superuser(f"SELECT datname, shobj_description(oid, 'pg_database') {templates}")
    assert "words.txt, which it had read" in json.loads(said)["unknown"]
    old = json.dumps({**json.loads(said), "made": "2026-01-01T00:00:00+00:00"}).replace("'", "''")
    made.superuser(f"COMMENT ON DATABASE {name} IS '{old}'")
    environment.clone().drop()
    assert made.superuser(f"SELECT count(*) {templates}") == [(2,)]
    revision.write_text(before)
    environment.drop_clones()


def test_a_template_that_was_not_completed_is_made_again(made: Embedded, environment: Environment) -> None:
    environment.clone().drop()
    environment.drop_clones()
    with environment.clone() as clone:
        name = made.superuser("SELECT datname FROM pg_database WHERE datname ~ '^provision_template'")[0][0]
        assert clone.name != name
    building = "provisioning_" + name.split("_")[2]
    made.superuser(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    made.superuser(f"ALTER DATABASE {name} RENAME TO {building}")
    with environment.clone():
        found = made.superuser("SELECT datname FROM pg_database WHERE datname ~ '^provision' AND datname !~ 'clone'")
        assert found == [(name,)]


def test_names_are_not_used_twice(environment: Environment) -> None:
    with environment.clone("twice"), pytest.raises(RefusedError, match="already"):
        environment.clone("twice")


def test_the_secret_is_shown_nowhere(environment: Environment) -> None:
    with environment.clone() as clone:
        password = clone.endpoint.password.reveal()
        assert password in clone.url
        assert password not in repr(clone)
