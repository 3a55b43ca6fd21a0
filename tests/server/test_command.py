"""A tree that only its own program can run: what it gets, what is shown while it runs, and what its failure means."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trees
from test_alembic_envs import secrets

from provision.errors import ProvisionError, StepFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.alembic.running.migrate import MigrationEvent
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

PROGRAM = """
import logging, os, sys
from alembic import command
from alembic.config import Config
config = Config()
config.set_main_option("script_location", sys.argv[1])
config.set_main_option("sqlalchemy.url", os.environ["DSN"].replace("%", "%%"))
logging.basicConfig(level=logging.INFO)
print("the target is", sys.argv[2])
command.upgrade(config, sys.argv[2])
"""


def by_program(tree: Migrations, tmp_path: Path, body: str = PROGRAM) -> Migrations:
    program = tmp_path / "program.py"
    program.write_text(body)
    argv = (sys.executable, str(program), str(tree.script_location), "{target}")
    return replace(tree, command=argv, env=secrets(DSN="{url}"), url_driver="postgresql+psycopg2")


def failure(tree: Migrations, database: Server) -> ProvisionError:
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    return caught.value


def test_a_program_of_its_own(tmp_path: Path, database: Server) -> None:
    tree = by_program(trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "pass"}), tmp_path)
    assert trees.run(tree, database.endpoint).after == ("beta",)
    assert trees.run(tree, database.endpoint).revisions == ()


def test_a_program_that_fails_and_one_that_does_nothing(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    error = failure(by_program(tree, tmp_path, "import os; raise SystemExit(os.environ['DSN'])"), database)
    assert error.sentence.endswith("failed with exit code 1")
    assert "********" in error.evidence[0]
    assert database.endpoint.password.reveal() not in str(error.evidence)
    token = "to{ken-7"
    telling = by_program(tree, tmp_path, "import os; raise SystemExit(os.environ['API_TOKEN'])")
    error = failure(replace(telling, env={**telling.env, **secrets(API_TOKEN=token)}), database)
    assert "********" in error.evidence[0]
    error = failure(by_program(tree, tmp_path, "pass"), database)
    assert "does not hold what it should" in error.sentence
    assert "env: {DATABASE_URL: '{url}'}" in str(error.next_step)


def test_a_program_gets_the_target_and_tells_what_it_does(tmp_path: Path, database: Server) -> None:
    slow = trees.table("beta") + "\nimport time\ntime.sleep(2.5)"
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": slow, "gamma": "pass"})
    each_commits = trees.ENV.replace("connection=connection", "connection=connection, transaction_per_migration=True")
    (tmp_path / "migrations" / "env.py").write_text(each_commits)
    tree = by_program(replace(tree, ledger=True), tmp_path)
    events: list[MigrationEvent] = []
    done = trees.run(tree, database.endpoint, "beta", events)
    assert done.after == ("beta",)
    assert [name for name, _ in done.revisions] == ["alpha", "beta"]
    told = [str(each) for each in events]
    assert "the target is beta" in told
    (running,) = [at for at, each in enumerate(told) if "Running upgrade alpha -> beta" in each]
    (applied,) = [at for at, each in enumerate(events) if each.what == "done" and each.subject == "alpha"]
    assert applied > running, "the version table is read while the program runs"
    assert [each.subject for each in events[applied:] if each.what == "done"] == ["alpha", "beta", sys.executable]
    assert database.execute("SELECT revision FROM provision.applied_revisions ORDER BY 1") == [("alpha",), ("beta",)]
    assert trees.run(tree, database.endpoint, events=events).after == ("gamma",)
    assert "the target is head" in [str(each) for each in events]


def test_a_program_that_fails_names_its_revision_and_its_statement(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": 'op.execute("ALTER TABLE nowhere ADD x int")'})
    error = failure(by_program(tree, tmp_path), database)
    assert error.sentence == f"revision beta  make beta failed: {sys.executable} failed with exit code 1"
    assert error.evidence == (
        'relation "nowhere" does not exist',
        "statement: ALTER TABLE nowhere ADD x int",
        f"at {tmp_path}/migrations/versions/beta.py:7",
        "applied now: nothing",
    )
    assert error.next_step == "correct the revision"


def test_a_program_that_waits_for_itself_is_ended(tmp_path: Path, database: Server) -> None:
    locks = 'exec_driver_sql("SELECT pg_advisory_xact_lock({})")'.format
    body = f"op.get_bind().{locks('7')}\nsa.create_engine(op.get_bind().engine.url).connect().{locks('3 + 4')}"
    tree = trees.write(tmp_path, {"alpha": body})
    error = failure(by_program(tree, tmp_path), database)
    assert error.sentence == "revision alpha  make alpha was ended: it waits for a lock that it holds itself"
    assert "waits: SELECT pg_advisory_xact_lock(3 + 4)" in error.evidence[0]
    assert "is idle after: SELECT pg_advisory_xact_lock(7)" in error.evidence[1]


def test_a_program_without_the_driver_that_a_bare_url_means_gets_the_other(tmp_path: Path, database: Server) -> None:
    needs = "import os\nif not os.environ['DSN'].startswith('postgresql+psycopg2:'):\n"
    needs += "    raise ModuleNotFoundError(\"No module named 'psycopg'\", name='psycopg')\n"
    tree = by_program(trees.write(tmp_path, {"alpha": "pass"}), tmp_path, needs + PROGRAM)
    assert trees.run(replace(tree, url_driver=None), database.endpoint).after == ("alpha",)
