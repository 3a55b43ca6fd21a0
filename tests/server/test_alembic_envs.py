"""Every kind of env.py that was found in real projects reaches our database, by what the spec says or by itself."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trees

from provision.alembic.trees import _unwritten, load, remember
from provision.environment import Environment
from provision.errors import MigrationsError, StepFailedError
from provision.model import Secret

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Server


pytestmark = pytest.mark.server

HEAD = "import os\nfrom alembic import context\nfrom sqlalchemy import create_engine, pool\nconfig = context.config\n"
RUN = """
with create_engine({url}, poolclass=pool.NullPool).{connect}() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
ON_CONNECTION = """
context.configure(connection={connection})
with context.begin_transaction():
    context.run_migrations()
"""
ASYNC = """
import asyncio
from sqlalchemy.ext.asyncio import async_engine_from_config

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = async_engine_from_config(config.get_section(config.config_ini_section, {}), prefix="sqlalchemy.",
                                      poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""


def made(url: str, connect: str = "connect") -> str:
    return HEAD + RUN.format(url=url, connect=connect)


def secrets(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


FROM_PARTS = "postgresql+psycopg2://{user}:{password}@{host}:{port}/{database}"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "the URL of the configuration": (made('config.get_main_option("sqlalchemy.url")'), {}),
    "a transaction of its own": (made('config.get_main_option("sqlalchemy.url")', "begin"), {}),
    "an option with another name": (made('config.get_main_option("url")'), {"options": secrets(url="{url}")}),
    "-x": (made('context.get_x_argument(as_dictionary=True)["url"]'), {"x": secrets(url="{url}")}),
    "the command line": (made('dict(a.split("=", 1) for a in config.cmd_opts.x)["url"]'), {"x": secrets(url="{url}")}),
    "an environment variable": (made('os.environ["SHOP_DSN"]'), {"env": secrets(SHOP_DSN=FROM_PARTS)}),
    "a bare URL": (made('os.environ["DSN"].replace("postgresql:", "postgresql+psycopg2:")'),
                   {"env": secrets(DSN="{url}"), "url_driver": "postgresql"}),
    "a connection": (HEAD + ON_CONNECTION.format(connection='config.attributes["connection"]'),
                     {"attributes": {"connection": "connection"}}),
    "an engine": (HEAD + ON_CONNECTION.format(connection='config.attributes["engine"].connect()'),
                  {"attributes": {"engine": "engine"}}),
    "the engine of a connection": (
        HEAD + ON_CONNECTION.format(connection='config.attributes["connection"].engine.connect()'),
        {"attributes": {"connection": "connection"}}),
    "a connection that it has used": (
        HEAD + "from sqlalchemy import text\nc = config.attributes['connection']\nc.execute(text('SELECT 1'))\n"
        + ON_CONNECTION.format(connection="c"), {"attributes": {"connection": "connection"}}),
    "asynchronous": (HEAD + ASYNC, {}),
    "fileConfig without a file": (
        "from logging.config import fileConfig\n" + HEAD + "fileConfig(config.config_file_name)\n"
        + RUN.format(url='config.get_main_option("sqlalchemy.url")', connect="connect"), {}),
    "prints": ("print('x' * 100000)\n" + made('config.get_main_option("sqlalchemy.url")'), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_an_env_py_that_connects_with(name: str, tmp_path: Path, database: Server) -> None:
    if name == "asynchronous":
        pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    env, given = KINDS[name]
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")}, env=env)
    assert trees.run(replace(tree, **given), database.endpoint).after == ("beta",)
    assert trees.run(replace(tree, **given), database.endpoint).revisions == ()


def test_an_outer_transaction_that_a_revision_commits(tmp_path: Path, database: Server) -> None:
    commits = trees.table("alpha") + "\nop.get_bind().commit()"
    raw = trees.table("beta") + '\nop.execute("COMMIT")'
    tree = trees.write(tmp_path, {"alpha": commits, "beta": raw, "gamma": trees.table("gamma")})
    assert trees.run(tree, database.endpoint).after == ("gamma",)


def test_sections_of_one_file_with_the_same_revisions(tmp_path: Path, database: Server) -> None:
    places = {"one": tmp_path / "1", "two": tmp_path / "2"}
    for name, home in places.items():
        trees.write(home, {"001": trees.table(name), "002": "pass"})
    lines = [f"[{name}]\nversion_locations = %(here)s/{home.name}/migrations/versions" for name, home in places.items()]
    ini = tmp_path / "alembic.ini"
    ini.write_text("[DEFAULT]\nscript_location = %(here)s/1/migrations\n" + "\n".join(lines) + "\n")
    tree = replace(trees.write(tmp_path, {}), script_location=None, config=ini)
    for name in places:
        here = replace(tree, section=name, version_table=f"version_{name}")
        assert trees.run(here, database.endpoint).after == ("002",)
        assert database.execute(f"SELECT to_regclass('{name}') IS NOT NULL") == [(True,)]
    with pytest.raises(MigrationsError, match=r"has no section \[three\]") as caught:
        load(replace(tree, section="three"))
    assert caught.value.evidence == ("[one]", "[two]")


def test_several_version_locations_and_a_relative_script_location(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    (tmp_path / "more versions").mkdir()
    (tmp_path / "more versions" / "b.py").write_text(
        "revision, down_revision = 'beta', 'alpha'\ndef upgrade(): pass\ndef downgrade(): pass\n".replace(
            "revision, down_revision = 'beta', 'alpha'", "revision = 'beta'\ndown_revision = 'alpha'"
        )
    )
    ini = tmp_path / "etc" / "alembic.ini"
    ini.parent.mkdir()
    ini.write_text(
        "[alembic]\nscript_location = migrations\nprepend_sys_path = .\n"
        "version_locations = migrations/versions:more versions\nversion_path_separator = :\n"
    )
    tree = replace(tree, script_location=None, config=ini, cwd=tmp_path)
    assert trees.run(tree, database.endpoint).after == ("beta",)


def test_a_tree_inside_a_package(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path / "app" / "db", {"alpha": trees.table("alpha")})
    (tmp_path / "app" / "__init__.py").touch()
    tree = replace(tree, script_location=None, package="app.db:migrations", cwd=tmp_path)
    assert trees.run(tree, database.endpoint).after == ("alpha",)


def test_a_tree_inside_a_package_that_only_the_interpreter_finds(tmp_path: Path) -> None:
    elsewhere = tmp_path / "installed"
    trees.write(elsewhere / "app_that_is_far", {"alpha": "pass"})
    (elsewhere / "app_that_is_far" / "__init__.py").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={elsewhere} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    tree = trees.write(tmp_path, {})
    tree = replace(tree, script_location=None, package="app_that_is_far:migrations", cwd=tmp_path, python=python)
    cache = tmp_path / "cache" / "revisions.json"
    graph, location = load(tree, cache)
    assert graph.heads == ("alpha",)
    assert location.script == elsewhere / "app_that_is_far" / "migrations"
    assert not cache.parent.exists()  # looking writes nothing
    remember(cache.parent)
    python.write_text("#!/bin/sh\nexit 1\n")
    assert load(tree, cache)[1] == location
    (elsewhere / "another_one").touch()  # something was installed: it is asked again
    with pytest.raises(MigrationsError, match="does not find app_that_is_far:migrations"):
        load(tree, cache)


def test_revisions_that_only_running_tells(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "pass"})
    path = tmp_path / "migrations" / "versions" / "beta.py"
    path.write_text(path.read_text().replace("revision = 'beta'\n", "revision = 'be' + str(len('ta'))\n"))
    assert trees.run(tree, database.endpoint).after == ("be2",)
    path.write_text(path.read_text().replace("str(", "surely_not_defined("))
    with pytest.raises(MigrationsError, match="computes `revision`") as caught:
        load(tree)
    assert any("surely_not_defined" in each for each in caught.value.evidence)


def counted(directory: Path, home: Path) -> tuple[Path, Callable[[], int]]:
    """Return an interpreter that counts how often it is started, and that number; ``home`` is on its path."""
    log = directory / "started"
    python = directory / "python"
    python.write_text(f'#!/bin/sh\necho >> {log}\nPYTHONPATH={home} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python, lambda: len(log.read_text().splitlines()) if log.exists() else 0


def test_the_interpreter_is_asked_once_a_run_and_a_run_that_failed_keeps_the_answers(
    tmp_path: Path, database: Server
) -> None:
    home = tmp_path / "installed"
    bodies = {"alpha": trees.table("alpha"), "beta": "raise RuntimeError('not yet')"}
    trees.write(home / "app_far", bodies)
    (home / "app_far" / "__init__.py").touch()
    path = home / "app_far" / "migrations" / "versions" / "beta.py"
    path.write_text(path.read_text().replace("revision = 'beta'\n", "revision = 'be' + str(len('ta'))\n"))
    python, starts = counted(tmp_path, home)
    at = database.endpoint
    spec = tmp_path / "spec.yml"
    spec.write_text(
        f"name: test-asked\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\n"
        f"migrations: {{script_location: 'app_far:migrations', python: {python}}}\n"
    )
    environ = {**os.environ, "PW": at.password.reveal()}
    assert Environment(spec, environ=environ).plan().steps
    assert starts() == 2  # where the package is, and what its revisions state
    assert not (tmp_path / ".provision" / "test-asked" / "cache").exists()
    with pytest.raises(StepFailedError, match=r"be2 .*failed"):
        Environment(spec, environ=environ).apply()
    assert starts() == 3  # the migration alone: what the plan has learned counts for the process
    assert len(list((tmp_path / ".provision" / "test-asked" / "cache").iterdir())) == 2
    _unwritten.clear()  # as in another process
    assert Environment(spec, environ=environ).plan().steps
    assert starts() == 3


def test_a_docstring_is_shown_without_the_value_of_a_variable(tmp_path: Path) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    path = tmp_path / "migrations" / "versions" / "alpha.py"
    path.write_text('"""for acme-4711, and an abc"""\n' + path.read_text().partition("\n")[2])
    graph, _ = load(replace(tree, masked=(Secret("acme-4711"), Secret("ab"), Secret(""))))
    assert graph["alpha"].message == "for ********, and an abc"


# --- An env.py that goes elsewhere, and how to tell it ----------------------------------------------------------

LOST = {
    'os.environ.get("SHOP_DATABASE_URL", "sqlite://")': "env: {SHOP_DATABASE_URL: '{url}'}",
    'config.get_main_option("url") or "sqlite://"': "options: {url: '{url}'}",
    'context.get_x_argument(as_dictionary=True).get("db_url", "sqlite://")': "x: {db_url: '{url}'}",
    '"sqlite://" if config.attributes.get("connection") is None else 0': "attributes: {connection: true}",
}


@pytest.mark.parametrize("url", LOST)
def test_how_an_env_py_can_be_told_is_read_from_it(url: str, tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"}, env=made(url))
    with pytest.raises(StepFailedError, match="would go to another database") as caught:
        trees.run(tree, database.endpoint)
    assert LOST[url] in str(caught.value.next_step)


def test_application_settings_are_named(tmp_path: Path, database: Server) -> None:
    (tmp_path / "app_settings.py").write_text("settings = 'sqlite://'\n")
    tree = trees.write(tmp_path, {"alpha": "pass"}, env="from app_settings import settings\n" + made("settings"))
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    assert "it takes it from app_settings.settings" in str(caught.value.next_step)
