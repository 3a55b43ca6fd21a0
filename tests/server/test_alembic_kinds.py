"""What trees that others wrote have taught: where their files are, what their env.py wants, and what is said of it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import test_alembic_envs as envs
import trees
from support.planning import migration

from provision.alembic.trees import load
from provision.errors import MigrationsError, ProvisionError, RefusedError, StepFailedError
from provision.kinds import migrations as kind
from provision.model import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

DIVIDE = 'op.execute("SELECT 1 / 0")'


def failure(tree: Migrations, database: Server) -> ProvisionError:
    with pytest.raises(StepFailedError) as caught:
        trees.run(tree, database.endpoint)
    return caught.value


def options(**values: str) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}


# --- Where the files are ------------------------------------------------------------------------------------------


def test_a_directory_that_env_py_chooses_itself_is_not_taken_for_an_empty_tree(
    tmp_path: Path, database: Server
) -> None:
    chosen = "context.script.version_locations = [context.config.get_main_option('here') + '/postgresql']\n"
    tree = trees.write(
        tmp_path, {"alpha": trees.table("alpha")}, env="from alembic import context\n" + chosen + trees.ENV
    )
    versions = tmp_path / "migrations" / "versions"
    for dialect in ("mysql", "postgresql"):
        (versions / dialect).mkdir()
        shutil.copy(versions / "alpha.py", versions / dialect)
    (versions / "alpha.py").unlink()
    with pytest.raises(MigrationsError, match="there is no revision in") as caught:
        load(tree)
    assert caught.value.evidence == (f"1 in {versions}/mysql", f"1 in {versions}/postgresql")
    assert f"version_locations: '{versions}/postgresql'" in str(caught.value.next_step)
    given = options(version_locations=f"{versions}/postgresql", path_separator="newline", here=str(versions))
    assert trees.run(replace(tree, options=given), database.endpoint).after == ("alpha",)


def test_an_empty_tree_is_one(tmp_path: Path) -> None:
    graph, _ = load(trees.write(tmp_path, {}))
    assert len(graph) == 0


def test_revisions_below_the_directory_when_an_option_says_so(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "pass"})
    versions = tmp_path / "migrations" / "versions"
    (versions / "2026").mkdir()
    (versions / "beta.py").rename(versions / "2026" / "beta.py")
    assert trees.run(tree, database.endpoint).after == ("alpha",)
    tree = replace(tree, options=options(recursive_version_locations="true"))
    assert trees.run(tree, database.endpoint).after == ("beta",)


def test_a_program_that_reads_more_directories_than_were_declared(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": "pass"})
    versions = tmp_path / "migrations" / "versions"
    (versions / "2026").mkdir()
    (versions / "beta.py").rename(versions / "2026" / "beta.py")
    insert = "CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('beta')"
    program = (
        f"import os, psycopg2\nc = psycopg2.connect(os.environ['DSN'])\nc.cursor().execute({insert!r})\nc.commit()"
    )
    tree = replace(tree, command=(sys.executable, "-c", program), env=options(DSN="{url}"))
    error = failure(tree, database)
    assert f"not read: {versions}/2026" in error.evidence
    assert "options: {recursive_version_locations: 'true'}" in str(error.next_step)
    graph, _ = load(tree)
    with pytest.raises(RefusedError, match="which this checkout does not have") as caught:
        migration(tree, graph, kind.Revisions(("beta",)))
    assert "options: {recursive_version_locations: 'true'}" in str(caught.value.next_step)
    assert f"not read: {versions}/2026" in caught.value.evidence


def test_an_ini_file_deeper_than_where_alembic_is_called_from(tmp_path: Path, database: Server) -> None:
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    ini = tmp_path / "app" / "etc" / "alembic.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text("[alembic]\nscript_location = migrations\n")
    assert trees.run(replace(tree, script_location=None, config=ini), database.endpoint).after == ("alpha",)
    ini.write_text("[alembic]\nscript_location = nowhere\n")
    with pytest.raises(MigrationsError, match=r"it has no env\.py") as caught:
        load(replace(tree, script_location=None, config=ini))
    assert "`migrations.cwd`" in str(caught.value.next_step)


def test_a_tree_in_a_package_whose_modules_have_the_names_of_others(tmp_path: Path, database: Server) -> None:
    package = tmp_path / "shop"
    imports = "import psutil, shop.models, only_here\nassert psutil.Process and shop.models.A and only_here.B\n"
    tree = trees.write(package, {"alpha": trees.table("alpha")}, env=imports + trees.ENV)
    for name, text in {"__init__": "", "psutil": "raise RuntimeError", "models": "A = 1", "only_here": "B = 1"}.items():
        (package / f"{name}.py").write_text(text)
    assert trees.run(tree, database.endpoint).after == ("alpha",)
    ini = package / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = migrations\nprepend_sys_path = .\n")
    database.execute("DROP TABLE alpha, alembic_version")
    assert trees.run(replace(tree, script_location=None, config=ini), database.endpoint).after == ("alpha",)


# --- What env.py does ---------------------------------------------------------------------------------------------


def test_a_url_that_env_py_puts_into_the_configuration_as_it_is(tmp_path: Path, database: Server) -> None:
    puts = (
        "import os\nfrom alembic import context\n"
        "context.config.set_main_option('sqlalchemy.url', os.environ['SHOP_URL'])\n"
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=puts + trees.ENV)
    assert "%" in database.endpoint.password.reveal()
    assert trees.run(replace(tree, env=options(SHOP_URL="{url}")), database.endpoint).after == ("alpha",)


TENANT = """
tenant = context.get_x_argument(as_dictionary=True)["tenant"]
with engine.connect() as connection:
    connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{tenant}"')
    connection.exec_driver_sql(f'SET search_path TO "{tenant}"')
    connection.commit()
    context.configure(connection=connection, version_table_schema=tenant)
"""


def test_a_schema_for_each_tenant(tmp_path: Path, database: Server) -> None:
    head, _, tail = trees.ENV.partition("with engine")
    env = head + TENANT + tail.partition("(connection=connection)\n")[2]
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")}, env=env)
    for tenant in ("acme", "über @:"):
        here = replace(tree, name=tenant, x=options(tenant=tenant), version_table_schema=tenant)
        assert trees.run(here, database.endpoint).after == ("beta",)
        assert trees.run(here, database.endpoint).revisions == ()
        assert database.execute(f"SELECT to_regclass('\"{tenant}\".beta') IS NOT NULL") == [(True,)]


PARTS = "postgresql+{driver}://{{user}}:{{password}}@{{host}}:{{port}}/{{database}}"
ASYNC = envs.HEAD + envs.ASYNC.replace(
    "async_engine_from_config(", "create_async_engine(os.environ['DSN'], #", 1
).replace('prefix="sqlalchemy.",', "").replace("import async_engine_from_config", "import create_async_engine")


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_names_with_every_odd_character(driver: str, tmp_path: Path, database: Server) -> None:
    name, user = "dä@b:/ %x?#[]'\"", "ü ser%@:/"
    quoted = {each: '"' + each.replace('"', '""') + '"' for each in (name, user)}
    password = database.endpoint.password.reveal().replace("'", "''")
    database.execute(
        f"CREATE ROLE {quoted[user]} LOGIN PASSWORD '{password}'",
        f"CREATE DATABASE {quoted[name]} OWNER {quoted[user]}",
    )
    endpoint = replace(database.endpoint, user=user, database=name)
    env = envs.made("os.environ['DSN']") if driver == "psycopg2" else ASYNC
    try:
        tree = trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=env)
        tree = replace(tree, env=options(DSN=PARTS.format(driver=driver)))
        assert trees.run(tree, endpoint).after == ("alpha",)
    finally:
        database.execute(f"DROP DATABASE {quoted[name]} WITH (FORCE)", f"DROP ROLE {quoted[user]}")


USED = "    connection.exec_driver_sql('SELECT 1')\n    context.configure("
OPEN = {"begin": trees.ENV.replace(".connect()", ".begin()"), "used": trees.ENV.replace("    context.configure(", USED)}


@pytest.mark.parametrize("kind", OPEN)
def test_an_autocommit_block_inside_a_transaction_of_env_py(kind: str, tmp_path: Path, database: Server) -> None:
    body = 'with op.get_context().autocommit_block():\n    op.execute("SELECT 1")'
    error = failure(trees.write(tmp_path, {"alpha": body}, env=OPEN[kind]), database)
    assert "`engine.connect()` in place of `engine.begin()`, and `connection.commit()`" in str(error.next_step)
    assert "applied now: nothing" in error.evidence


PREPARE = "prepare: prepare.py"
UNPREPARED = {
    "import sys\nprint('please use shop-db-manage')\nsys.exit(1)": (PREPARE, "please use shop-db-manage"),
    "from alembic import context\ncontext.config.shop_config": (PREPARE, "applied now: nothing"),
    "raise RuntimeError('Working outside of application context.')": (PREPARE, "applied now: nothing"),
    "raise KeyError('x')": ("correct env.py or what it needs", "applied now: nothing"),
}


@pytest.mark.parametrize("env", UNPREPARED)
def test_an_env_py_that_needs_what_its_program_prepares_is_told_so(env: str, tmp_path: Path, database: Server) -> None:
    advice, evidence = UNPREPARED[env]
    error = failure(trees.write(tmp_path, {"alpha": "pass"}, env=env), database)
    assert error.sentence.startswith("env.py failed")
    assert advice in str(error.next_step)
    assert evidence in error.evidence


def test_a_first_revision_that_expects_the_tables_of_the_application(tmp_path: Path, database: Server) -> None:
    error = failure(trees.write(tmp_path, {"alpha": 'op.add_column("users", sa.Column("x", sa.Integer))'}), database)
    assert 'relation "users" does not exist' in error.evidence
    assert "have `migrations.prepare` make these tables" in str(error.next_step)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sqlmodel.Field()", "add `import sqlmodel` to the file; then run the same command again"),
        ("1 / 0", "correct the revision and run the same command again"),
        (
            'op.execute("CREATE DATABASE other")',
            "run the statement inside `with op.get_context().autocommit_block():`; then run the same command again",
        ),
        (
            "raise KeyError('APP_CONFIG')",
            "have `migrations.prepare` prepare something if the program of its application does so",
        ),
    ],
)
def test_what_a_revision_raises_decides_the_advice(body: str, told: str, tmp_path: Path, database: Server) -> None:
    error = failure(trees.write(tmp_path, {"alpha": body}), database)
    assert told in str(error.next_step)


def test_the_file_of_a_revision_is_named_wherever_it_is_installed(tmp_path: Path, database: Server) -> None:
    home = tmp_path / "versions" / "lib" / "site-packages" / "shop"
    body = "import contextlib\n@contextlib.contextmanager\ndef library():\n    yield\nwith library():\n    " + DIVIDE
    tree = trees.write(home, {"alpha": body})
    (home / "migrations" / "versions").rename(home / "migrations" / "versions_shop")
    tree = replace(tree, options=options(version_locations="migrations/versions_shop"))
    assert f"at {home}/migrations/versions_shop/alpha.py:12" in failure(tree, database).evidence
