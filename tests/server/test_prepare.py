"""What a tree needs before its env.py: `prepare`, and the Flask application that Flask-Migrate's env.py asks for."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import test_alembic_envs as envs
import trees
from rehearsals import tried

from provision.alembic.running.ask import ask_comparison, ask_sql
from provision.alembic.trees import load
from provision.errors import ProvisionError, StepFailedError

if TYPE_CHECKING:
    from conftest import Server

    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

READY = 'import shop\nassert shop.ready\nassert shop.verb in ("history", "upgrade", "downgrade", "check", "sql")\n'
ENV = READY + envs.made('config.get_main_option("sqlalchemy.url")').replace(
    "connection=connection", "connection=connection, target_metadata=shop.metadata"
)
SHOP = """
from sqlalchemy import Column, Integer, MetaData, Table

ready, verb, metadata = False, "upgrade", MetaData()
Table("alpha", metadata, Column("id", Integer, primary_key=True))
"""
WITH_CONFIG = """
import shop

def attach(config):
    shop.ready = bool(config.get_main_option("sqlalchemy.url"))
    shop.verb = config.attributes["provision_verb"]
"""
IN_A_THREAD = """
import threading
import shop

def attach(config, run):
    shop.ready = True
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
"""
BODIES = {
    "of a file": ("import shop\nshop.ready = True\n", ""),
    "a function without arguments": ("import shop\ndef attach(name='x'):\n    shop.ready = True\n", ":attach"),
    "a function that takes the Config": (WITH_CONFIG, ":attach"),
    "a function that runs env.py in a thread": (IN_A_THREAD, ":attach"),
}


def prepared(home: Path, body: str, function: str = "") -> Migrations:
    """Write a tree whose env.py, and whose revisions, need what a file prepares."""
    tree = trees.write(home, {"alpha": trees.table("alpha"), "beta": trees.table("beta")}, env=ENV)
    first = home / "migrations" / "versions" / "alpha.py"
    first.write_text("import shop\nassert shop.ready\n" + first.read_text())
    (home / "shop.py").write_text(SHOP)
    (home / "made_ready.py").write_text(body)
    return replace(tree, prepare=f"{home / 'made_ready.py'}{function}")


def failure(tree: Migrations, database: Server) -> ProvisionError:
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    return caught.value


@pytest.mark.parametrize("name", BODIES)
def test_prepare_runs_before_env_py(name: str, tmp_path: Path, database: Server) -> None:
    tree = prepared(tmp_path, *BODIES[name])
    events: list[trees.MigrationEvent] = []
    assert trees.run(tree, database.endpoint, events=events).after == ("beta",)
    assert [each.subject for each in events if each.what == "done"] == ["alpha", "beta"]
    assert trees.undo(tree, database.endpoint, "alpha").after == ("alpha",)


def test_a_function_of_a_module_and_every_question(tmp_path: Path, database: Server) -> None:
    body, _ = BODIES["a function that takes the Config"]
    tree = replace(prepared(tmp_path, body), prepare="made_ready:attach")
    first = tmp_path / "migrations" / "versions" / "alpha.py"
    first.write_text(first.read_text().replace("revision = 'alpha'", "revision = 'al' + 'pha'"))  # asks the interpreter
    graph, location = load(tree)
    laws = tried(tmp_path, database, tree)
    assert {law.outcome for law in laws.values()} == {"passed", "failed"}
    assert "table beta" in str(laws["models"].evidence)
    trees.run(tree, database.endpoint)
    assert ask_comparison(tree, graph, location, database.endpoint).differences == ("- table beta",)
    rendered = ask_sql((tree, graph, location), upgrade=True, rows=(), names=("alpha", "beta"))
    assert [bool(each.sql) for each in rendered.revisions] == [True, True]


FAILURES = {
    "raise LookupError('no shop here')": ("", "failed: LookupError: no shop here", "correct what `prepare` runs"),
    "import os\nos.environ['SHOP_DSN']": ("", "KeyError: 'SHOP_DSN'", "env: {SHOP_DSN: …}"),
    "import nowhere_at_all": ("", "No module named 'nowhere_at_all'", "set `migrations.python`"),
    "async def attach(): ...": (":attach", "is a coroutine function", "correct what `prepare` runs"),
    "def attach(config, run): ...": (":attach", "without calling the function that runs env.py", "correct what"),
    "def other(): ...": (":attach", "no attribute 'attach'", "correct what `prepare` runs"),
}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("body", FAILURES)
def test_a_preparation_that_fails_is_told_with_its_place(body: str, tmp_path: Path, database: Server) -> None:
    function, told, advice = FAILURES[body]
    error = failure(prepared(tmp_path, body, function), database)
    assert error.sentence.startswith(f"`prepare: {tmp_path}/made_ready.py{function}` failed: ")
    assert told in error.sentence
    assert advice in str(error.next_step)
    assert "nothing was migrated" in error.evidence


def test_a_failure_of_env_py_is_not_one_of_the_preparation(tmp_path: Path, database: Server) -> None:
    tree = prepared(tmp_path, *BODIES["a function that runs env.py in a thread"])
    first = tmp_path / "migrations" / "versions" / "alpha.py"
    first.write_text(first.read_text().replace("    op.create_table", "    1 / 0\n    op.create_table"))
    assert failure(tree, database).sentence == "revision alpha failed"


APP = """
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()

class Basket(db.Model):
    id = db.Column(db.Integer, primary_key=True)
"""
FACTORY = """
def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    Migrate(app, db)
    return app
"""
INSTANCE = """
app = Flask(__name__)
app.config.from_mapping(SQLALCHEMY_DATABASE_URI=os.environ.get("APP_DB") or "sqlite:///:memory:")
db.init_app(app)
Migrate(app, db)
"""
FLASKS: dict[str, dict[str, str]] = {
    "a factory in a package": {"shop/__init__.py": APP + FACTORY},
    "app.py": {"app.py": APP + INSTANCE, "other.py": "def create_app():\n    raise RuntimeError\n"},
    "a module, and one that imports it": {"shop.py": APP + INSTANCE, "run.py": "from shop import app\napp = app\n"},
}


def flask_tree(home: Path, files: dict[str, str]) -> Migrations:
    """Write a project, with the env.py that `flask db init` writes."""
    found = importlib.util.find_spec("flask_migrate")
    assert found is not None
    assert found.origin is not None
    tree = trees.write(home, {"basket": trees.table("basket")})
    template = Path(found.origin).parent / "templates" / "flask"
    shutil.copy(template / "env.py", home / "migrations" / "env.py")
    shutil.copy(template / "alembic.ini.mako", home / "migrations" / "alembic.ini")
    for name, text in files.items():
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(text)
    return tree


@pytest.mark.parametrize("name", FLASKS)
def test_flask_migrate_needs_nothing_written_by_hand(name: str, tmp_path: Path, database: Server) -> None:
    tree = flask_tree(tmp_path, FLASKS[name])
    assert trees.run(tree, database.endpoint).after == ("basket",)
    assert ask_comparison(tree, *load(tree), database.endpoint).differences == ()
    assert trees.undo(tree, database.endpoint, "base").after == ()


def test_a_flask_application_that_holds_its_tree(tmp_path: Path, database: Server) -> None:
    tree = flask_tree(tmp_path / "shop", {"__init__.py": APP + FACTORY, "app.py": "raise RuntimeError\n"})
    assert trees.run(tree, database.endpoint).after == ("basket",)
    tree = replace(tree, env=envs.secrets(FLASK_APP="shop:create_app"))
    assert trees.undo(tree, database.endpoint, "base").after == ()


def test_several_flask_applications_are_named(tmp_path: Path, database: Server) -> None:
    tree = flask_tree(tmp_path, {f"{name}.py": APP + INSTANCE for name in ("shop", "staff")})
    error = failure(tree, database)
    assert error.sentence == "env.py asks for the Flask application, and several modules make one: shop, staff"
    assert "env: {FLASK_APP: NAME}" in str(error.next_step)
    assert trees.run(replace(tree, env=envs.secrets(FLASK_APP="staff")), database.endpoint).after == ("basket",)
