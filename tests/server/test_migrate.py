"""Alembic's verbs on a real server: what is stamped, compared, written and rendered, and what plain Alembic says."""

from __future__ import annotations

import io
import re
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trees
from alembic import command as alembic
from alembic.config import Config

from provision.errors import MigrationsError, StepFailedError
from provision.model import Migrate, Secret
from provision.system.alembic import ask as alembic_ask
from provision.system.alembic.files import load
from provision.system.alembic.migrate import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.spec.model import Migrations
    from provision.system.alembic.ask import Rendering, Written

pytestmark = pytest.mark.server

MODELS = """
import sqlalchemy as sa
from alembic import context
from sqlalchemy import create_engine, pool

target_metadata = sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"})
sa.Table("alpha", target_metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))
"""
CONFIGURED = "target_metadata=target_metadata, include_schemas=True"
ONLINE = MODELS + trees.ENV.replace("connection=connection", f"connection=connection, {CONFIGURED}")
BOTH = f"""{MODELS}
if context.is_offline_mode():
    context.configure(url=context.config.get_main_option("sqlalchemy.url"), {CONFIGURED})
    with context.begin_transaction():
        context.run_migrations()
else:
{textwrap.indent(ONLINE, "    ")}
"""
ASYNC = f"""{MODELS}
import asyncio
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection, {CONFIGURED})
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""


def rows(database: Server, name: str = "alembic_version") -> list[str]:
    return sorted(row[0] for row in database.execute(f"SELECT version_num FROM {name}"))  # noqa: S608


# --- stamp -------------------------------------------------------------------------------------------------------


def stamp(tree: Migrations, database: Server, seen: tuple[str, ...], *target: str) -> tuple[str, ...]:
    effect = Migrate(tree.name, target, "stamp", seen=seen)
    return migrate(tree, load(tree), database.endpoint, effect, lambda _event: None).after


def test_a_stamp_writes_rows_and_runs_nothing(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta")})
    database.execute("CREATE SCHEMA aside")
    tree = replace(tree, version_table_schema="aside")
    assert stamp(tree, database, (), "beta") == ("beta",)
    assert rows(database, "aside.alembic_version") == ["beta"]
    assert stamp(tree, database, ("beta",), "alpha") == ("alpha",)
    assert stamp(tree, database, ("alpha",)) == ()
    assert rows(database, "aside.alembic_version") == []
    assert database.execute("SELECT to_regclass('alpha'), to_regclass('beta')") == [(None, None)]


def test_a_stamp_takes_away_what_nobody_knows(tmp_path: Path, database: Server) -> None:
    tree = replace(trees.write(tmp_path, {"alpha": "pass"}), ledger=True)
    trees.run(tree, database.endpoint)
    assert database.execute("SELECT revision FROM provision.applied_revisions") == [("alpha",)]
    database.execute("UPDATE alembic_version SET version_num = 'gone'")
    assert stamp(tree, database, ("gone",), "alpha") == ("alpha",)
    assert database.execute("SELECT count(*) FROM provision.applied_revisions") == [(0,)]


def test_what_was_decided_on_other_rows_is_not_done(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {name: trees.table(name) for name in ("alpha", "beta")})
    trees.run(tree, database.endpoint)
    with pytest.raises(MigrationsError, match="was at alpha, and somebody has migrated it meanwhile"):
        stamp(tree, database, ("alpha",))
    effect = Migrate(tree.name, (), "downgrade", seen=("alpha",))
    with pytest.raises(MigrationsError, match="meanwhile"):
        migrate(tree, load(tree), database.endpoint, effect, lambda _event: None)
    assert rows(database) == ["beta"]


# --- check and revision ------------------------------------------------------------------------------------------


def compare(tree: Migrations, database: Server) -> tuple[str, ...]:
    return alembic_ask.compare(tree, *load(tree), database.endpoint)


def write(tree: Migrations, database: Server | None = None, **given: object) -> Written | None:
    absent = dict.fromkeys(("branch_label", "version_path", "rev_id", "depends_on"))
    asked = {"message": "new one", "autogenerate": False, "head": "head", "splice": False, **absent, **given}
    empty = bool(asked.pop("allow_empty", False))
    endpoint = database.endpoint if database else None
    return alembic_ask.write(tree, *load(tree), asked, allow_empty=empty, endpoint=endpoint)


@pytest.mark.parametrize("env", [ONLINE, BOTH, ASYNC], ids=["online", "both", "async"])
def test_models_are_compared_without_our_own_schema_and_without_writing(
    tmp_path: Path, database: Server, env: str
) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=env)
    trees.run(replace(tree, ledger=True), database.endpoint)
    database.execute("CREATE TABLE stray (id int)", "CREATE SCHEMA other", "CREATE TABLE other.thing (id int)")
    before = database.execute("SELECT count(*) FROM pg_class")
    assert sorted(compare(tree, database)) == [
        "+ column alpha.name (VARCHAR(20))", "- table other.thing", "- table stray"]  # fmt: skip
    database.execute("ALTER TABLE alpha ADD name varchar(10) NOT NULL", "DROP TABLE stray, other.thing")
    assert compare(tree, database) == ("~ column alpha.name: type VARCHAR(10) → VARCHAR(20), NOT NULL → NULL",)
    database.execute("ALTER TABLE alpha ALTER name TYPE varchar(20), ALTER name DROP NOT NULL")
    assert compare(tree, database) == ()
    database.execute("CREATE TABLE their_versions (version_num text)")
    for schema in (None, "public"):
        assert alembic_ask.compare(tree, *load(tree), database.endpoint, [(schema, "their_versions")]) == ()
    assert alembic_ask.compare(tree, *load(tree), database.endpoint, [("other", "their_versions")]) != ()
    database.execute("DROP TABLE their_versions")
    assert before[0][0] - database.execute("SELECT count(*) FROM pg_class")[0][0] == 2
    assert database.execute("SELECT to_regclass('provision.applied_revisions')::text") != [(None,)]


def test_a_comparison_cannot_write(tmp_path: Path, database: Server) -> None:
    hook = "lambda context, revision, directives: context.connection.exec_driver_sql('CREATE TABLE x ()')"
    env = ONLINE.replace(CONFIGURED, f"{CONFIGURED}, process_revision_directives={hook}")
    with pytest.raises(StepFailedError) as caught:
        compare(trees.write(tmp_path, {}, env=env), database)
    assert "cannot execute CREATE TABLE in a read-only transaction" in caught.value.sentence
    assert database.execute("SELECT to_regclass('x'), to_regclass('alembic_version')") == [(None, None)]


def test_who_migrates_meanwhile_does_not_end_a_comparison(tmp_path: Path, database: Server) -> None:
    waits = (
        f"    import pathlib, time\n    pathlib.Path({str(tmp_path / 'asks')!r}).touch()\n"
        f"    while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n"
        "    connection.exec_driver_sql('SELECT 1')\n    connection.rollback()\n    context.configure("
    )
    connected = "    connection.exec_driver_sql('SELECT 1')\n" + waits
    asking = trees.write(tmp_path / "asking", {}, env=ONLINE.replace("    context.configure(", connected))
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(compare, asking, database)
        while not (tmp_path / "asks").exists():
            assert not found.done(), found.result()
            time.sleep(0.02)
        try:
            other = trees.write(tmp_path / "other", {"alpha": trees.table("beta")})
            trees.run(replace(other, version_table="other_versions"), database.endpoint)
        finally:
            (tmp_path / "go").touch()
        assert "+ table alpha" in found.result()


def test_what_cannot_be_compared_is_said(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    with pytest.raises(StepFailedError, match=r"env\.py names no models") as caught:
        compare(tree, database)
    assert f"{tmp_path}/migrations/env.py" in str(caught.value.next_step)
    url = 'context.config.get_main_option("sqlalchemy.url")'
    other = f'sa.engine.make_url({url}).set(database="postgres")'
    (tmp_path / "migrations/env.py").write_text(ONLINE.replace(url, other))
    with pytest.raises(StepFailedError, match="another database"):
        compare(tree, database)


def test_a_revision_holds_what_was_found_and_none_is_written_of_nothing(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=ONLINE)
    mako = '"""${message}"""\nimport sqlalchemy as sa\nfrom alembic import op\nrevision = ${repr(up_revision)}\n'
    mako += "down_revision = ${repr(down_revision)}\ndef upgrade():\n    ${upgrades if upgrades else 'pass'}\n"
    mako += "def downgrade():\n    ${downgrades if downgrades else 'pass'}\n"
    (tmp_path / "migrations/script.py.mako").write_text(mako)
    trees.run(tree, database.endpoint)
    done = write(tree, database, autogenerate=True, rev_id="beta")
    assert done is not None
    assert done.operations == ("+ column alpha.name (VARCHAR(20))",)
    assert [name for name, _path in done.files] == ["beta"]
    trees.run(tree, database.endpoint)
    assert compare(tree, database) == ()
    files = sorted((tmp_path / "migrations/versions").glob("*.py"))
    assert write(tree, database, autogenerate=True) == alembic_ask.Written((), ())
    assert sorted((tmp_path / "migrations/versions").glob("*.py")) == files
    empty = write(tree, database, autogenerate=True, allow_empty=True, rev_id="gamma")
    assert empty is not None
    assert [name for name, _path in empty.files] == ["gamma"]


def test_files_are_written_without_a_server(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"}, env="raise SystemExit('is not run')\n")
    (tmp_path / "migrations/script.py.mako").write_text(
        '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'
        "def upgrade(): pass\ndef downgrade(): pass\n"
    )
    for name in ("left", "right"):
        assert write(tree, rev_id=name, head="alpha", splice=True) is not None
    assert write(tree, rev_id="joined", head=["left", "right"]) is not None
    graph, _ = load(tree)
    assert graph.heads == ("joined",)
    assert graph["joined"].down == ("left", "right")
    with pytest.raises(StepFailedError, match=r"cannot be written: .*not a head"):
        write(tree, head="alpha")
    ini = tmp_path / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = migrations\nrevision_environment = true\n")
    assert write(replace(tree, script_location=None, config=ini)) is None  # env.py is run, so it needs the server


# --- sql ---------------------------------------------------------------------------------------------------------

HARD = {
    "alpha": trees.table("alpha"),
    "beta": """
        op.add_column("alpha", sa.Column("name", sa.String(20)))
        op.execute("UPDATE alpha SET name = 'a:b' WHERE name LIKE '5%'")
        op.get_bind().execute(sa.text("UPDATE alpha SET name = :new"), {"new": "it's"})
        op.create_unique_constraint(None, "alpha", ["name"])
    """,
    "gamma": 'for row in op.get_bind().execute(sa.text("SELECT 1")): op.execute("SELECT 2")',
    "delta": 'sa.Enum("x", "y", name="kind").create(op.get_bind(), checkfirst=True)',
    "epsilon": 'op.get_bind().scalar(sa.text("SELECT 1"))',
    "zeta": """
        with op.get_context().autocommit_block():
            op.create_index("ix", "alpha", ["name"], postgresql_concurrently=True)
    """,
}


def render(tree: Migrations, first: tuple[str, ...] = (), *, upgrade: bool = True) -> Rendering:
    graph, location = load(tree)
    names = graph.pending(first, graph.heads) if upgrade else graph.downgrades(first, ())
    return alembic_ask.render((tree, graph, location), upgrade=upgrade, rows=first, names=names)


@pytest.mark.parametrize(
    ("env", "without"),
    [(BOTH, None), (ONLINE, "it connects to a database"), (ASYNC, "it connects to a database"),
     (MODELS + "raise RuntimeError('not offline')", "RuntimeError: not offline")],
    ids=["both", "online", "async", "refuses"],
)  # fmt: skip
def test_each_revision_is_rendered_or_says_why_not(tmp_path: Path, env: str, without: str | None) -> None:
    tree = trees.write(tmp_path, HARD, env=env)
    done = render(tree)
    assert done.without_env == without
    assert [each.revision for each in done.revisions] == list(HARD)
    sql = {each.revision: each.sql for each in done.revisions}
    reasons = {each.revision: each.reason for each in done.revisions if each.reason}
    assert reasons == {
        "gamma": "it reads from the database what it does next",
        "epsilon": "it uses the connection (scalar), and there is none while statements are only written down",
    }
    assert all(sql[name] == "" for name in reasons)
    assert "UPDATE alpha SET name = 'a:b' WHERE name LIKE '5%';" in sql["beta"]
    assert "UPDATE alpha SET name = 'it''s';" in sql["beta"]
    assert "ADD CONSTRAINT uq_alpha_name UNIQUE (name)" in sql["beta"]
    assert "-- only where that is still to be done, which cannot be known here:\n\nCREATE TYPE kind" in sql["delta"]
    assert re.search(r"COMMIT;\s+CREATE INDEX CONCURRENTLY ix ON alpha \(name\);\s+BEGIN;", sql["zeta"])
    assert all(text.count("BEGIN;") == text.count("COMMIT;") for text in sql.values())
    place = next(each.place for each in done.revisions if each.revision == "gamma")
    assert place == f"{tmp_path}/migrations/versions/gamma.py:7"


def test_the_sql_is_alembics_and_leads_there(tmp_path: Path, database: Server) -> None:
    plain = {"alpha": trees.table("alpha"), "beta": 'op.add_column("alpha", sa.Column("name", sa.String(20)))'}
    tree = trees.write(tmp_path, {**plain, "zeta": HARD["zeta"]}, env=BOTH)
    done = render(tree)
    ours = "".join([done.prologue, *[each.sql for each in done.revisions], done.epilogue])
    printed = io.StringIO()
    config = Config(output_buffer=printed)
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    config.set_main_option("sqlalchemy.url", "postgresql+psycopg2://nobody@localhost/nowhere")
    alembic.upgrade(config, "base:head", sql=True)
    assert _statements(ours) == _statements(printed.getvalue())
    database.execute(*_statements(ours))
    assert rows(database) == ["zeta"]
    down = render(tree, ("zeta",), upgrade=False)
    assert [each.revision for each in down.revisions] == ["zeta", "beta", "alpha"]
    assert "DELETE FROM alembic_version WHERE alembic_version.version_num = 'alpha'" in down.revisions[-1].sql


def _statements(script: str) -> list[str]:
    plain = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    return [each.strip() for each in plain.split(";") if each.strip() not in {"", "BEGIN", "COMMIT"}]


def test_rendering_connects_to_nothing_and_tells_no_password(tmp_path: Path, database: Server) -> None:
    tree = trees.write(
        tmp_path, {"alpha": 'op.execute("SELECT \'%s\'" % __import__("os").environ["TOKEN"])'}, env=ONLINE
    )
    tree = replace(tree, env={"TOKEN": Secret("top secret"), "DSN": Secret("{url}")})
    graph, location = load(tree)
    done = alembic_ask.render((tree, graph, location), upgrade=True, rows=(), names=("alpha",), at=database.endpoint)
    assert done.revisions[0].sql == ""
    assert done.revisions[0].reason == "its SQL has a secret in it that the spec gives in `env`, `x` or `options`"
    assert "top secret" not in repr(done)
    own = trees.write(tmp_path / "own", {"alpha": "pass"}, env=ONLINE.replace(
        'context.config.get_main_option("sqlalchemy.url")', f'"sqlite:///{tmp_path}/own.db"'))  # fmt: skip
    assert render(own).without_env == "it connects to a database"
    assert not (tmp_path / "own.db").exists()


def test_sql_is_told_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    bodies = {
        "alpha": 'op.execute("SELECT 1 AS products, 2 AS prod_1")',
        "beta": "op.execute(\"SELECT 'prod'\")",
        "gamma": "op.execute(\"SELECT 'xit''s long'\")",
        "delta": 'op.execute("SELECT 3 AS products")',
    }
    tree = replace(
        trees.write(tmp_path, bodies, env=BOTH),
        env={"API_TOKEN": Secret("prod"), "OTHER_TOKEN": Secret("it's long")},
    )
    done = render(tree)
    first, second, third, last = done.revisions
    assert "SELECT 1 AS products, 2 AS prod_1;" in first.sql
    assert "SELECT 1 AS products, 2 AS prod_1" in "".join(text for text, _ in first.pieces)
    assert "SELECT 3 AS products" in last.sql
    for each in (second, third):
        assert (each.sql, each.pieces) == ("", ())
        assert "secret in it" in (each.reason or "")


def test_a_secret_in_what_env_py_writes_leaves_no_revision_that_looks_complete(tmp_path: Path) -> None:
    env = BOTH.replace(
        "context.run_migrations()", "context.execute(\"SET app.token = 'top secret'\"); context.run_migrations()"
    )
    assert env != BOTH
    tree = replace(trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=env), env={"TOKEN": Secret("top secret")})
    done = render(tree)
    assert "top secret" not in repr(done)
    assert (done.prologue, done.epilogue, done.revisions[0].sql) == ("", "", "")
    assert "the SQL around the revisions" in (done.revisions[0].reason or "")


def test_trees_of_one_ini_and_a_version_table_in_a_schema(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=BOTH.replace(
        CONFIGURED, CONFIGURED + ", version_table_schema=context.config.get_main_option('where')"))  # fmt: skip
    ini = tmp_path / "alembic.ini"
    ini.write_text("".join(f"[{name}]\nscript_location = migrations\nwhere = {name}\n" for name in ("one", "two")))
    for name in ("one", "two"):
        done = render(replace(tree, script_location=None, config=ini, section=name, version_table_schema=name))
        assert done.without_env is None
        assert f"{name}.alembic_version (version_num) VALUES ('alpha')" in done.revisions[0].sql
