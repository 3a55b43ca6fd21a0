"""The project's interpreter needs nothing of ours: the oldest Alembic and SQLAlchemy that work, and the newest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import test_alembic_envs as envs
import trees
from installed import interpreter
from support.embedded import NO_ENGINE, an_open_directory
from support.suite import FIXTURES, Suite

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.trees, pytest.mark.timeout(600)]

KINDS = (
    "the URL of the configuration",
    "a transaction of its own",
    "an engine",
    "a connection that it has used",
    "asynchronous",
)
CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.create_index("ix", "alpha", ["id"], postgresql_concurrently=True)
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_an_env_py_runs_there(name: str, kind: str, tmp_path: Path, database: Any) -> None:
    env, given = envs.KINDS[kind]
    index = "" if kind in {"a transaction of its own", "a connection that it has used"} else CONCURRENTLY
    bodies = {"alpha": trees.table("alpha"), "beta": trees.table("beta") + index}
    tree = replace(trees.write(tmp_path, bodies, env=env), python=interpreter(name), **given)
    assert trees.run(tree, database.endpoint).after == ("beta",)
    assert trees.undo(tree, database.endpoint, "alpha").after == ("alpha",)


@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_a_bare_url_gets_a_driver_that_is_there(name: str, tmp_path: Path, database: Any) -> None:
    url = 'config.get_main_option("sqlalchemy.url")'
    driver = {"oldest": "psycopg2", "newest": "psycopg"}[name]
    tree = trees.write(tmp_path, {"alpha": f"assert op.get_bind().dialect.driver == {driver!r}"}, env=envs.made(url))
    assert trees.run(replace(tree, python=interpreter(name)), database.endpoint).after == ("alpha",)


@pytest.mark.parametrize("name", ["oldest-plugin"])
def test_the_plugin_works_with_the_oldest_that_are_allowed(name: str, request: pytest.FixtureRequest) -> None:
    with an_open_directory() as directory:
        suite = Suite(directory, f"t-{uuid4().hex[:8]}", runtime="embedded", image="postgres:18")
        suite.python = interpreter(name)
        suite.environ |= {"DOCKER_HOST": NO_ENGINE, "PYTHONPATH": str(request.config.rootpath)}
        suite.write("test_fixtures.py", FIXTURES)
        suite.run("-p", "provision.testing.plugin", passed=15)
