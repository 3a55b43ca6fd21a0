"""Several trees in one spec."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trees
from support import program

from provision.errors import StepFailedError

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server


def test_trees_run_in_the_order_of_the_list(tmp_path: Path, database: Server) -> None:
    bodies = {"private": {"one": trees.table("one")}, "alpha": {"two": 'op.execute("INSERT INTO one VALUES (1)")'}}
    for name, revisions in bodies.items():
        env = trees.ENV.replace("connection=connection", f'connection=connection, version_table="{name}_version"')
        trees.write(tmp_path / name, revisions, env=env)
    at = database.endpoint
    lines = [
        f"  - {{name: {each}, script_location: {each}/migrations, version_table: {each}_version}}" for each in bodies
    ]
    spec = tmp_path / "spec.yml"
    spec.write_text(
        f"name: test-list\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\nmigrations:\n"
        + "\n".join(lines)
    )  # fmt: skip
    out = provision(spec, database, "apply")
    assert out.index("migrations/private") < out.index("migrations/alpha")
    assert database.execute("SELECT id FROM one") == [(1,)]


TENANTS = """
from alembic import context
from sqlalchemy import create_engine, pool

schemas = context.get_x_argument(as_dictionary=True)["schemas"].split(",")
with create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool).connect() as connection:
    for schema in schemas:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.exec_driver_sql(f"SET search_path TO {schema}")
        connection.commit()
        connection.dialect.default_schema_name = schema
        context.configure(connection=connection, version_table_schema=schema)
        with context.begin_transaction():
            context.run_migrations()
"""


def provision(spec: Path, database: Server, *words: str, code: int = 0) -> str:
    environ = {**os.environ, "PW": database.endpoint.password.reveal()}
    done = program.run(*words, spec.name, cwd=spec.parent, environ=environ)
    assert done.code == code, done.all
    return done.out


def test_every_schema_of_a_run_is_seen(tmp_path: Path, database: Server) -> None:
    trees.write(tmp_path, {"alpha": trees.table("alpha"), "beta": trees.table("beta")}, env=TENANTS)
    at, spec = database.endpoint, tmp_path / "spec.yml"
    text = (
        f"name: test-tenants\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\nmigrations:\n"
        "  {script_location: migrations, version_table_schema: acme, ledger: true, x: {schemas: 'acme,globex'}}\n"
    )
    spec.write_text(text)
    provision(spec, database, "apply")
    assert database.execute("SELECT version_num FROM globex.alembic_version") == [("beta",)]
    told = provision(spec, database, "verify")
    assert "as declared (" not in told.partition("\n")[0]
    assert "acme.alembic_version, globex.alembic_version" in told

    database.execute("DROP SCHEMA globex CASCADE")
    assert "pending: alpha  make alpha  (globex.alembic_version)" in provision(spec, database, "verify")
    assert "beta  make beta  (globex.alembic_version)" in provision(spec, database, "plan")
    provision(spec, database, "apply")
    assert database.execute("SELECT version_num FROM globex.alembic_version") == [("beta",)]

    spec.write_text(text.replace("acme,globex", "acme,globex,initech"))
    assert "nothing known to do" in provision(spec, database, "apply")
    assert "2 revisions in other version tables" in provision(spec, database, "migrate", "upgrade")
    provision(spec, database, "migrate", "downgrade", "alpha", "--yes")
    for schema in ("acme", "globex", "initech"):
        rows = database.execute(f"SELECT version_num FROM {schema}.alembic_version")  # noqa: S608
        assert rows == [("alpha",)]
    assert "make beta" in provision(spec, database, "apply")


def test_several_version_tables_of_one_run(tmp_path: Path, database: Server) -> None:
    loop = trees.ENV.replace("    context.configure(connection=connection)\n", "").replace(
        "    with context", "    for name in 'one', 'two':\n        context.configure(connection=connection, "
        "version_table=name)\n        with context"
    ).replace("        context.run", "            context.run")  # fmt: skip
    once = "if not op.get_bind().exec_driver_sql(\"SELECT to_regclass('alpha')\").scalar():\n    "
    tree = trees.write(tmp_path, {"alpha": once + trees.table("alpha")}, env=loop)
    for declared, told in {"one": None, "two": "the table one, and the spec says two"}.items():
        here = replace(tree, version_table=declared)
        if told is None:
            assert [name for name, _ in trees.run(here, database.endpoint).revisions] == ["alpha", "alpha"]
        else:
            database.execute("DROP TABLE one, two, alpha")
            with pytest.raises(StepFailedError, match=told):
                trees.run(here, database.endpoint)
