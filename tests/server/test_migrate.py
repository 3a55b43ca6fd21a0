"""Alembic's verbs on a real server: what is stamped, compared, written and rendered, and what plain Alembic says."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trees
from alembic import command as alembic
from alembic.config import Config
from environments import ASYNC, BOTH, CONFIGURED, MODELS, ONLINE

from provision.alembic.running.ask import ask_sql
from provision.alembic.running.migrate import migrate
from provision.alembic.trees import load
from provision.errors import MigrationsError
from provision.model import Secret
from provision.model.effects import Migrate

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.alembic.running.ask import Rendering
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server


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
    with pytest.raises(MigrationsError, match="was at alpha, and another run has migrated it since"):
        stamp(tree, database, ("alpha",))
    effect = Migrate(tree.name, (), "downgrade", seen=("alpha",))
    with pytest.raises(MigrationsError, match="has migrated it since"):
        migrate(tree, load(tree), database.endpoint, effect, lambda _event: None)
    assert rows(database) == ["beta"]


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
    return ask_sql((tree, graph, location), upgrade=upgrade, rows=first, names=names)


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
        "epsilon": "it uses the connection (scalar), which does not exist while statements are only written down",
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
    done = ask_sql((tree, graph, location), upgrade=True, rows=(), names=("alpha",), at=database.endpoint)
    assert done.revisions[0].sql == ""
    assert (
        done.revisions[0].reason
        == "its SQL has a secret in it, or the value of a variable, that the spec gives in `env`, `x` or `options`"
    )
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
