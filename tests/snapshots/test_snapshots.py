"""Data that is saved, brought back, made again, and put back: on each runtime, with sessions in the database."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg2
import pytest
from support.kept import drop_kept, kept

from provision.environment import Environment as Api
from provision.system.waiting import attempts

if TYPE_CHECKING:
    from support.environment import Environment

ROOT = Path(__file__).parents[2]
DROPS = """
from alembic import op

revision, down_revision = "r{number}", "r{before}"


def upgrade():
    op.execute("ALTER TABLE invoices DROP COLUMN IF EXISTS c{number}")
"""
SHOP = "SELECT array_agg(n ORDER BY n) FROM canary"


def rows(environment: Environment) -> list[int]:
    (((found),),) = environment.query(SHOP)
    return list(found or [])


def document(environment: Environment, *words: str) -> Any:
    """Run a command with ``--json``, and see that its document is as it is described."""
    found = environment.run(*words, "--json").json()
    name = found["schema"].split("/")[1]
    jsonschema.validate(found, json.loads((ROOT / "docs/schema" / f"{name}.json").read_text()))
    return found


def names(environment: Environment) -> list[str]:
    return [each["name"] for each in document(environment, "snapshot", "list")["snapshots"]]


def test_data_is_saved_restored_and_put_back(environment: Environment) -> None:
    saved = environment.run("snapshot", "save", "one")
    assert "1 created" in saved.out
    environment.query("INSERT INTO canary VALUES (2)")
    ran = environment.run("snapshot", "list")
    assert ran.out.splitlines()[0].split() == ["NAME", "DATABASE", "AGE", "SIZE", "REVISION"]
    assert ran.out.splitlines()[1].split()[:2] == ["one", "shop"]
    assert ran.out.split()[-1] == "r2"
    done = document(environment, "snapshot", "restore", "one", "--yes")
    assert done["changes_pending"] is False
    assert rows(environment) == [1]
    environment.settled()
    assert [each["by"] for each in document(environment, "snapshot", "list")["replaced"]] == ["restore"]
    assert [each.partition("_shop")[0] for each in kept(environment)] == ["provision_replaced", "provision_snapshot"]
    environment.query("INSERT INTO canary VALUES (3)")
    environment.run("snapshot", "undo")
    assert rows(environment) == [1, 2]
    environment.run("snapshot", "undo")
    assert rows(environment) == [1, 3]
    environment.run("snapshot", "rm", "one")
    assert names(environment) == []
    assert len(kept(environment)) == 1


def test_what_a_copy_leaves_out_is_there_after_a_restore(environment: Environment) -> None:
    outside = """SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datacl::text, datconnlimit,
        datallowconn, datistemplate, (SELECT array_agg(concat(setrole::regrole, setconfig) ORDER BY 1)
        FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database AS d WHERE datname = 'shop'"""
    for each in (
        "CREATE ROLE clerk",
        "ALTER DATABASE shop OWNER TO clerk",
        "ALTER DATABASE shop SET search_path = 'a b', \"$user\", public",
        "ALTER DATABASE shop CONNECTION LIMIT 40",
        "ALTER DATABASE shop IS_TEMPLATE true",
        "ALTER ROLE clerk IN DATABASE shop SET work_mem = '5MB'",
        "COMMENT ON DATABASE shop IS 'it''s \"mine\"'",
        "REVOKE TEMPORARY ON DATABASE shop FROM PUBLIC",
    ):
        environment.superuser(each)
    before = environment.superuser(outside)
    try:
        environment.run("snapshot", "save", "one")
        assert environment.superuser(outside) == before
        environment.superuser("COMMENT ON DATABASE shop IS NULL")
        environment.superuser("ALTER DATABASE shop RESET search_path")
        environment.run("snapshot", "restore", "one", "--yes")
        assert environment.superuser(outside) == before
        environment.run("snapshot", "undo")
        assert environment.superuser(outside)[0][1] is None
        environment.run("snapshot", "restore", "one", "--yes")
        assert environment.superuser(outside) == before
    finally:
        environment.superuser("ALTER DATABASE shop IS_TEMPLATE false")
        environment.superuser("ALTER DATABASE shop RESET ALL")
        environment.superuser("ALTER DATABASE shop CONNECTION LIMIT -1")
        environment.superuser("GRANT TEMPORARY ON DATABASE shop TO PUBLIC")
        environment.superuser("COMMENT ON DATABASE shop IS NULL")
        for name in kept(environment):
            environment.superuser(f'DROP DATABASE "{name}"')
        environment.superuser("ALTER ROLE clerk IN DATABASE shop RESET ALL")
        environment.superuser("ALTER DATABASE shop OWNER TO CURRENT_USER")
        environment.superuser("DROP ROLE clerk")


def test_sessions_are_ended_and_named(environment: Environment) -> None:
    with closing(environment.connection(superuser=True)) as one, closing(environment.connection(superuser=True)) as two:
        one.cursor().execute("SET application_name = 'a worker'")
        two.cursor().execute("SELECT 1")  # in a transaction
        done = document(environment, "snapshot", "save", "one")
        ended = [each for each in done["notes"] if each.startswith("ended: ")]
        assert len(ended) == 2
        assert any("a worker of" in each for each in ended)
        with pytest.raises(psycopg2.OperationalError):
            one.cursor().execute("SELECT 1")
    ran = environment.run("snapshot", "restore", "one", "--yes")
    assert rows(environment) == [1]
    assert "snapshot undo" in ran.out


def test_a_restored_revision_is_a_normal_plan(environment: Environment) -> None:
    environment.run("snapshot", "save", "at-r2")
    environment.migrations("userdata", "orders", "invoices").apply()
    environment.run("snapshot", "save", "at-r3")
    ran = environment.run("snapshot", "restore", "at-r2", "--yes")
    assert "provision apply" in ran.out
    assert environment.actions() == ["migrate migrations/alembic"]
    environment.apply()
    environment.settled()
    assert "provision apply" not in environment.run("snapshot", "restore", "at-r3", "--yes").out
    environment.run("snapshot", "restore", "at-r2", "--yes")
    (environment.directory / "migrations" / "versions" / "r3.py").unlink()
    environment.settled()


def test_a_reset_is_a_first_apply(environment: Environment) -> None:
    environment.query("INSERT INTO canary VALUES (2)")
    ran = environment.run("reset", "--yes")
    assert "2 revisions applied" in ran.out, ran.all
    assert environment.query("SELECT to_regclass('canary') IS NULL, to_regclass('orders') IS NULL") == [(True, False)]
    environment.settled()
    environment.run("snapshot", "undo")
    assert rows(environment) == [1, 2]
    environment.settled()


def test_a_reset_that_fails_is_continued_by_apply(environment: Environment) -> None:
    """Another reset would remove what the first one has kept."""
    environment.migrations("userdata", "orders", "invoices")
    revision = environment.directory / "migrations" / "versions" / "r3.py"
    text = revision.read_text()
    revision.write_text(text.replace("def upgrade():", "def upgrade():\n    raise ValueError('no such luck')"))
    ran = environment.run("reset", "--yes", code=1)
    assert "provision snapshot undo" in ran.err
    assert "run provision apply" in ran.err
    assert "the same command" not in ran.err
    revision.write_text(text)
    environment.apply()
    environment.run("snapshot", "undo")
    assert rows(environment) == [1]
    revision.unlink()
    environment.settled()


def test_a_question_is_asked_and_nothing_is_done_without_an_answer(environment: Environment) -> None:
    environment.run("snapshot", "save", "one")
    environment.query("INSERT INTO canary VALUES (2)")
    for words in (("snapshot", "restore", "one"), ("reset",)):
        ran = environment.run(*words, code=64)
        assert "no terminal to confirm" in ran.err
        assert f"provision {' '.join(words[:2])} --yes" in ran.err.replace(f"{environment.spec.name} ", "")
        assert "MB" in ran.err or words == ("reset",)
    assert rows(environment) == [1, 2]
    assert len(kept(environment)) == 1


def test_what_cannot_be_done_is_refused_with_a_reason(environment: Environment) -> None:
    environment.run("snapshot", "save", "one")
    ran = environment.run("snapshot", "save", "one", code=1)
    assert "there is a snapshot 'one'" in ran.err
    assert "provision snapshot rm" in ran.err
    assert "did you mean one?" in environment.run("snapshot", "restore", "ones", "--yes", code=64).err
    ran = environment.run("snapshot", "rm", "two", code=64)
    assert "there is no snapshot 'two'; only one" in ran.err
    assert "provision snapshot list" in ran.err
    assert "is no name of a snapshot" in environment.run("snapshot", "save", "a b", code=64).err
    assert "is no name of a snapshot" in environment.run("snapshot", "save", "../a", code=64).err
    assert "is no name of a snapshot" in environment.run("snapshot", "save", "one.complete", code=64).err
    assert "which snapshot?" in environment.run("snapshot", "save", code=64).err
    ran = environment.run("snapshot", "save", "two", "other.yml", code=64, spec=False)
    assert ran.err.splitlines()[-1].endswith(" two"), ran.err
    assert "has no database 'other'" in environment.run("snapshot", "list", "--database", "other", code=64).err
    assert "nothing is kept" in environment.run("snapshot", "undo", code=1).err
    environment.run("stop")
    try:
        ran = environment.run("snapshot", "save", "two", code=69)
        assert "is stopped" in ran.err
        assert "provision start" in ran.err
    finally:
        environment.run("start")


def test_a_slot_stands_in_the_way(environment: Environment) -> None:
    environment.server(settings={"wal_level": "logical"}).apply()
    environment.query("SELECT pg_create_logical_replication_slot('here', 'pgoutput')")
    try:
        ran = environment.run("snapshot", "save", "one", code=1)
        assert "it has the replication slot here" in ran.err
    finally:
        environment.query("SELECT pg_drop_replication_slot('here')")
        environment.server(settings=None).apply()


def test_what_a_killed_run_has_left_is_removed_by_the_next(environment: Environment) -> None:
    for removing in (("apply",), ("snapshot", "save", "one")):
        environment.superuser("CREATE DATABASE provision_snapshot_shop_0a1b2c3d TEMPLATE shop ALLOW_CONNECTIONS false")
        assert environment.actions() == ["remove database/provision_snapshot_shop_0a1b2c3d"]
        ran = environment.run(*removing)
        assert "removed" in ran.out
        assert "provision_snapshot_shop_0a1b2c3d" not in kept(environment)
    environment.settled()
    assert "provision_snapshot" not in environment.run("import").out


def test_what_a_newer_version_keeps_and_what_a_person_made_is_not_removed(environment: Environment) -> None:
    newer, made = "provision_snapshot_shop_newer_0a1b2c3d", "provision_snapshot_of_mine"
    for name in (newer, made):
        environment.superuser(f"CREATE DATABASE {name} TEMPLATE shop")
    environment.superuser(f"""COMMENT ON DATABASE {newer} IS '{{"provision": 2, "database": "shop"}}'""")
    environment.settled()
    environment.run("snapshot", "save", "one")
    assert {newer, made} <= set(kept(environment))


def test_a_program_does_the_same(environment: Environment) -> None:
    api = Api(environment.spec, environ=environment.environ)
    done = api.snapshot("one")
    assert [str(each.step.address) for each in done.outcomes] == ["snapshot/shop/one"]
    (found,) = api.snapshots()
    assert (found.name, found.database, dict(found.revisions)) == ("one", "shop", {"alembic": ["r2"]})
    assert found.size > 1 << 20
    environment.query("INSERT INTO canary VALUES (2)")
    api.restore("one")
    assert rows(environment) == [1]
    api.reset()
    assert environment.query("SELECT to_regclass('canary')") == [(None,)]


def test_an_apply_saves_the_data_before_a_revision_that_destroys_some(environment: Environment) -> None:
    versions = environment.directory / "migrations" / "versions"
    before = names(environment)
    try:
        environment.migrations("userdata", "orders", "invoices").run("apply", "--snapshot")
        assert names(environment) == before  # it only makes a table
        for number in range(4, 9):
            (versions / f"r{number}.py").write_text(DROPS.format(number=number, before=number - 1))
            ran = environment.run("apply", "--snapshot")
            assert f"r{number} destroys data: ALTER TABLE invoices DROP COLUMN" in ran.out
            assert f"create snapshot/shop/before-r{number}-" in ran.out
        found = [each.rpartition("-")[0].rpartition("-")[0] for each in names(environment)]
        assert found == ["before-r8", "before-r7", "before-r6"]
        environment.run("snapshot", "restore", names(environment)[0], "--yes")
        assert environment.actions() == ["migrate migrations/alembic"]
        environment.run("stop")
        assert "provision start" in environment.run("apply", "--snapshot", code=69).err
        environment.run("start")
    finally:
        for number in range(3, 9):
            (versions / f"r{number}.py").unlink(missing_ok=True)
        environment.run("reset", "--yes")


def test_several_databases_are_saved_and_brought_back_as_one(environment: Environment) -> None:
    environment.declare(
        roles={"app": {"login": True, "password": "x"}, "reader": {}},
        databases={"shop": {"owner": "app", "connect": ["app"], "settings": {"work_mem": "5MB"}}, "audit": {}},
    ).apply()
    try:
        with closing(environment.connection("audit", superuser=True)) as audit:
            audit.cursor().execute("CREATE TABLE seen AS SELECT 1 AS n")
            audit.commit()
        done = document(environment, "snapshot", "save", "both")
        assert [each["address"] for each in done["steps"]] == ["snapshot/shop/both", "snapshot/audit/both"]
        environment.superuser("INSERT INTO canary VALUES (2)")
        done = document(environment, "snapshot", "restore", "both", "--yes")
        assert done["steps"][-1]["address"] == "database/shop audit"
        environment.settled()
        done = document(environment, "reset", "--database", "audit", "--yes")
        assert "database/audit" in [each["address"] for each in done["steps"]]
        environment.settled()
        with closing(environment.connection("audit", superuser=True)) as audit, audit.cursor() as cursor:
            cursor.execute("SELECT to_regclass('seen')")
            assert cursor.fetchall() == [(None,)]
        document(environment, "reset", "--yes")
        environment.settled()
        may = (
            "SELECT r, has_database_privilege(r, 'shop', 'CONNECT') FROM unnest('{app,reader}'::text[]) AS r ORDER BY 1"
        )
        allowed = environment.superuser(may)
        assert allowed == [("app", True), ("reader", False)]
    finally:
        drop_kept(environment)
        environment.back()
        for each in (
            "DROP DATABASE audit",
            "ALTER DATABASE shop OWNER TO CURRENT_USER",
            "ALTER DATABASE shop RESET ALL",
            "GRANT CONNECT ON DATABASE shop TO PUBLIC",
            "DROP OWNED BY app",
            "DROP ROLE app",
            "DROP ROLE reader",
        ):
            environment.superuser(each)


def test_a_role_in_a_snapshot_is_not_removed(environment: Environment) -> None:
    environment.declare(roles={"clerk": {}}).apply()
    try:
        environment.superuser("ALTER TABLE canary OWNER TO clerk")
        environment.run("snapshot", "save", "one")
        environment.superuser("ALTER TABLE canary OWNER TO CURRENT_USER")
        ran = environment.declare(roles={"clerk": {"state": "absent"}}).run("apply", code=1)
        assert "the role 'clerk' in a snapshot" in ran.err
        assert "provision snapshot list" in ran.err
        environment.run("snapshot", "rm", "one")
        environment.apply()
    finally:
        drop_kept(environment)


def test_a_save_waits_for_an_apply(environment: Environment) -> None:
    slow = environment.directory / "migrations" / "versions" / "r3.py"
    environment.migrations("userdata", "orders", "invoices")
    slow.write_text(slow.read_text().replace("def upgrade():", "def upgrade():\n    op.execute('SELECT pg_sleep(3)')"))
    try:
        applying = environment.begin()
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()"
        for _ in attempts(60, 0.05):
            if environment.superuser(sleeping):
                break
        ran = environment.run("snapshot", "save", "after")
        said, _ = applying.communicate(timeout=60)
        assert applying.returncode == 0, said
        assert "waiting for process" in ran.all
        (found,) = document(environment, "snapshot", "list")["snapshots"]
        assert found["revisions"] == {"alembic": ["r3"]}
    finally:
        slow.unlink()
        environment.run("reset", "--yes")


def test_a_database_that_a_role_has_planted_is_not_brought_back(environment: Environment) -> None:
    environment.run("snapshot", "save", "one")
    (real,) = kept(environment)
    ask = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    ((comment,),) = environment.superuser(ask, real)
    environment.superuser("CREATE ROLE planter CREATEDB")
    try:
        environment.superuser("CREATE DATABASE provision_snapshot_planted OWNER planter")
        environment.superuser(f"COMMENT ON DATABASE provision_snapshot_planted IS '{comment.replace('one', 'two')}'")
        assert names(environment) == ["one"]
        environment.settled()
    finally:
        environment.superuser("DROP DATABASE provision_snapshot_planted")
        environment.superuser("DROP ROLE planter")
