"""Migrations that log in as a role of the spec, and whose sessions are set to another."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import trees
from environments import ONLINE
from support import program
from support.env_files import asynchronous
from test_alembic_envs import secrets
from test_command import PROGRAM, by_program

from provision.alembic.running.migrate import Manner, migrate
from provision.alembic.trees import load
from provision.errors import ProvisionError, RefusedError, UnavailableError
from provision.model import Secret
from provision.model.effects import Migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Server

    from provision.alembic.running.migrate import Migrated
    from provision.spec.model import Migrations

pytestmark = pytest.mark.server

OWNERS = """
SELECT relname::text, pg_get_userbyid(relowner)::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE nspname !~ '^(pg_|information_schema)' AND relkind IN ('r', 'S', 'v') ORDER BY 1
"""
WHO = 'op.execute("CREATE TABLE who AS SELECT current_user::text AS now, session_user::text AS login")'


class Roles:
    """A login and an owner that it may become, with names that have to be quoted."""

    def __init__(self, server: Server) -> None:
        end = uuid4().hex[:6]
        self.login, self.owner = f"log in {end}", f'Own"er \\ {end}'
        self.session = replace(server.endpoint, user=self.login, password=Secret("s e%cret"), role=self.owner)

    @property
    def quoted(self) -> tuple[str, str]:
        return f'"{self.login}"', '"{}"'.format(self.owner.replace('"', '""'))


@contextmanager
def roles_of(server: Server, *, owns: bool = True) -> Iterator[Roles]:
    made = Roles(server)
    login, owner = made.quoted
    server.execute(
        f"CREATE ROLE {owner}", f"CREATE ROLE {login} LOGIN PASSWORD 's e%cret'", f"GRANT {owner} TO {login}"
    )
    if owns:
        server.execute(f'ALTER DATABASE "{server.endpoint.database}" OWNER TO {owner}')
    yield made
    server.execute(f"DROP OWNED BY {owner}, {login}")
    server.execute(f'ALTER DATABASE "{server.endpoint.database}" OWNER TO postgres', f"DROP ROLE {owner}, {login}")


@pytest.fixture
def roles(database: Server) -> Iterator[Roles]:
    with roles_of(database) as made:
        yield made


def run(tree: Migrations, database: Server, roles: Roles, target: str | None = None) -> Migrated:
    """Upgrade as the login, in the role."""
    files, events = load(tree), list[Any]()
    own = replace(tree, login=roles.login, role=roles.owner, ledger=True)
    rows = files[0].version_rows(files[0].heads if target is None else [target])
    return migrate(
        own, files, database.endpoint, Migrate(tree.name, rows), events.append, Manner(session=roles.session)
    )


def failure(tree: Migrations, database: Server, roles: Roles) -> ProvisionError:
    with pytest.raises(ProvisionError) as caught:
        run(tree, database, roles)
    return caught.value


BY_HAND = """
import os
from alembic import context
from sqlalchemy import URL, create_engine, text
engine = create_engine(
    URL.create("postgresql+{driver}", os.environ["U"], os.environ["P"], os.environ["H"], int(os.environ["N"]),
               os.environ["D"]), connect_args={{"options": "-c statement_timeout=77s"}})
with engine.connect() as connection:
    assert connection.execute(text("SHOW statement_timeout")).scalar() == "77s"
    connection.execute(text("CREATE TABLE by_env (id int)"))
    connection.commit()
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
CREATOR = """
import os
import psycopg2
from alembic import context
from sqlalchemy import create_engine

def connect():
    return psycopg2.connect(host=os.environ["H"], port=os.environ["N"], user=os.environ["U"],
                            password=os.environ["P"], dbname=os.environ["D"])

engine = create_engine("postgresql+psycopg2://", creator=connect)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
HANDED_IN = """
from alembic import context
context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""
PARTS = {"U": "{user}", "P": "{password}", "H": "{host}", "N": "{port}", "D": "{database}"}
ENVS = {
    "psycopg2": (trees.ENV, "postgresql+psycopg2"),
    "psycopg": (trees.ENV, "postgresql+psycopg"),
    "asyncpg": (asynchronous("transaction_per_migration=True"), "postgresql+asyncpg"),
    "asynchronous psycopg": (asynchronous("transaction_per_migration=True"), "postgresql+psycopg"),
    "options of its own, psycopg2": (BY_HAND.format(driver="psycopg2"), None),
    "options of its own, psycopg": (BY_HAND.format(driver="psycopg"), None),
    "a connection that SQLAlchemy does not make": (CREATOR, None),
    "a connection that is handed in": (HANDED_IN, "postgresql+psycopg"),
}


@pytest.mark.parametrize("name", ENVS)
def test_every_session_begins_in_the_role_whatever_the_driver(
    tmp_path: Path, database: Server, roles: Roles, name: str
) -> None:
    env, driver = ENVS[name]
    body = {"alpha": WHO, "beta": 'op.execute("RESET ROLE")\n' + trees.table("beta")}
    if name == "a connection that SQLAlchemy does not make":  # there, RESET ROLE leads back to the login
        body["beta"] = trees.table("beta")
    attributes: Any = {"connection": "connection"} if env == HANDED_IN else {}
    tree = replace(trees.write(tmp_path, body, env=env), url_driver=driver, env=secrets(**PARTS), attributes=attributes)
    assert run(tree, database, roles).after == ("beta",)
    assert database.execute("SELECT now, login FROM who") == [(roles.owner, roles.login)]
    owners = dict(database.execute(OWNERS))
    assert {"alembic_version", "applied_revisions", "beta", "beta_id_seq", "who"} <= owners.keys()
    assert set(owners.values()) == {roles.owner}
    assert database.execute("SELECT revision FROM provision.applied_revisions ORDER BY 1") == [("alpha",), ("beta",)]
    assert run(tree, database, roles).revisions == ()


def test_a_program_gets_the_login_and_libpq_the_role(tmp_path: Path, database: Server, roles: Roles) -> None:
    tree = by_program(trees.write(tmp_path, {"alpha": WHO, "beta": trees.table("beta")}), tmp_path, PROGRAM)
    assert run(tree, database, roles).after == ("beta",)
    assert database.execute("SELECT now, login FROM who") == [(roles.owner, roles.login)]
    assert set(dict(database.execute(OWNERS)).values()) == {roles.owner}


def test_a_program_that_may_not_says_who_lacks_what(tmp_path: Path, database: Server, roles: Roles) -> None:
    database.execute("CREATE TABLE taken (id int)")
    body = 'op.execute("ALTER TABLE taken ADD COLUMN more int")'
    tree = by_program(trees.write(tmp_path, {"alpha": body}), tmp_path)
    error = failure(tree, database, roles)
    assert "must be owner of table taken" in "\n".join(error.evidence)
    assert str(error.next_step).startswith("provision apply --take-ownership")


def test_the_version_table_is_found_on_the_path_of_the_login(tmp_path: Path, database: Server, roles: Roles) -> None:
    login, owner = roles.quoted
    database.execute(
        f"CREATE SCHEMA {owner} AUTHORIZATION {owner}",
        f"CREATE SCHEMA shop AUTHORIZATION {owner}",
        f'ALTER ROLE {login} IN DATABASE "{database.endpoint.database}" SET search_path = nowhere, "$user", shop',
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    assert run(tree, database, roles).after == ("alpha",)
    assert run(tree, database, roles).revisions == ()
    found = database.execute("SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
                             " WHERE relname = 'alembic_version'")  # fmt: skip
    assert found == [(roles.owner,)]
    ((key,),) = database.execute("SELECT DISTINCT version_table FROM provision.applied_revisions")
    assert key == f"{roles.quoted[1]}.alembic_version"


def test_a_version_table_off_the_path_is_named_and_nothing_runs_once_more(
    tmp_path: Path, database: Server, roles: Roles
) -> None:
    login, owner = roles.quoted
    name = database.endpoint.database
    database.execute(
        f"CREATE SCHEMA shop AUTHORIZATION {owner}",
        f"CREATE SCHEMA ext AUTHORIZATION {owner}",
        f'ALTER ROLE {login} IN DATABASE "{name}" SET search_path = shop, ext',
    )
    tree = trees.write(tmp_path, {"alpha": trees.table("alpha")})
    run(tree, database, roles)
    made = database.execute(OWNERS)

    database.execute("ALTER SCHEMA shop OWNER TO postgres")  # so the role may no longer use it
    error = failure(tree, database, roles)
    assert error.sentence.startswith("the version table is in the schema shop, where")
    assert error.evidence[:2] == (
        '"shop"."alembic_version" holds alpha',
        f"{roles.owner!r} lacks USAGE on the schema shop",
    )
    assert f'GRANT USAGE, CREATE ON SCHEMA "shop" TO {owner}' in str(error.next_step)

    database.execute(
        f"ALTER SCHEMA shop OWNER TO {owner}", f'ALTER ROLE {login} IN DATABASE "{name}" SET search_path = ext'
    )
    error = failure(tree, database, roles)
    assert error.evidence[1] == "the search path of the migrations is ext"
    assert str(error.next_step).startswith("write `version_table_schema: shop` into `migrations`")
    assert database.execute(OWNERS) == made
    assert run(replace(tree, version_table_schema="shop"), database, roles).revisions == ()
    assert run(replace(tree, version_table_schema="ext"), database, roles).after == ("alpha",)


def test_a_role_that_may_make_nothing_is_refused_before_anything_runs(tmp_path: Path, database: Server) -> None:
    with roles_of(database, owns=False) as roles:
        error = failure(trees.write(tmp_path, {"alpha": trees.table("alpha")}), database, roles)
        name = database.endpoint.database
        assert isinstance(error, RefusedError)
        assert error.sentence.endswith(f"may not make tables in the schema public of the database {name}")
        assert str(error.next_step).startswith(f"write `databases: {{{name}: {{owner: {roles.owner}}}}}` into the spec")
        assert f'GRANT USAGE, CREATE ON SCHEMA "public" TO {roles.quoted[1]}' in str(error.next_step)
        assert database.execute(OWNERS) == []


def test_a_version_table_of_the_superuser_is_refused_before_anything_runs(
    tmp_path: Path, database: Server, roles: Roles
) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass", "beta": trees.table("beta")})
    trees.run(tree, database.endpoint, "alpha")
    error = failure(tree, database, roles)
    assert error.sentence.endswith("and their version table belongs to 'postgres'")
    assert str(error.next_step).startswith("provision apply --take-ownership")


LACKS = {
    'op.execute("CREATE EXTENSION file_fdw")': ("extensions: [file_fdw]", "as the superuser"),
    'op.execute("ALTER TABLE taken ADD COLUMN more int")': ("provision apply --take-ownership",),
    'op.execute("SELECT * FROM taken")': ("provision apply --take-ownership", "GRANT … ON TABLE taken TO"),
    'op.execute("CREATE TABLE apart.alpha (id int)")': ("schemas: {apart: {owner:", 'ON SCHEMA "apart" TO'),
    'op.execute("SET ROLE other")': ("member_of: [{role: other, set: true}]",),
}


@pytest.mark.parametrize("body", LACKS)
def test_what_a_revision_lacks_is_said_with_the_key_that_gives_it(
    tmp_path: Path, database: Server, roles: Roles, body: str
) -> None:
    database.execute("CREATE TABLE taken (id int)", "CREATE SCHEMA apart", "DROP ROLE IF EXISTS other",
                     "CREATE ROLE other")  # fmt: skip
    error = failure(trees.write(tmp_path, {"alpha": body}), database, roles)
    database.execute("DROP ROLE other")
    assert all(each in str(error.next_step) for each in LACKS[body]), error.next_step


def test_a_login_that_is_refused_blames_neither_env_py_nor_the_revision(
    tmp_path: Path, database: Server, roles: Roles
) -> None:
    tree = trees.write(tmp_path, {"alpha": "pass"})
    roles.session = replace(roles.session, password=Secret("wrong"))
    error = failure(tree, database, roles)
    assert isinstance(error, UnavailableError)
    assert error.sentence.endswith(f"refuses the password of {roles.login!r}")
    assert str(error.next_step) == f"correct `roles.{roles.login}`, then: provision apply"


def test_a_login_that_may_not_become_the_role_is_told_the_membership(
    tmp_path: Path, database: Server, roles: Roles
) -> None:
    login, owner = roles.quoted
    database.execute(f"GRANT {owner} TO {login} WITH SET FALSE")
    error = failure(trees.write(tmp_path, {"alpha": "pass"}), database, roles)
    assert error.sentence == f"the role {roles.login!r} may not become {roles.owner!r}"
    assert f"member_of: [{{role: {roles.owner}, set: true}}]" in str(error.next_step)


def test_who_blocks_a_migration_is_seen_by_the_superuser(tmp_path: Path, database: Server, roles: Roles) -> None:
    _, owner = roles.quoted
    database.execute("CREATE TABLE taken (id int)", f"ALTER TABLE taken OWNER TO {owner}")
    tree = trees.write(tmp_path, {"alpha": 'op.execute("ALTER TABLE taken ADD COLUMN more int")'})
    blocker = database.connect()
    blocker.autocommit = False
    with blocker.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM taken")
        tree = replace(tree, lock_timeout=0.5, timeout=6.0)
        error = failure(tree, database, roles)
    blocker.close()
    assert "SELECT count(*) FROM taken" in "\n".join(error.evidence)


def test_a_declared_login_that_may_not_become_the_role_lets_the_role_look_and_hold_the_lock(
    tmp_path: Path, database: Server
) -> None:
    name, end = database.endpoint.database, uuid4().hex[:6]
    admin, app = f"admin_{end}", f"app_{end}"
    trees.write(tmp_path, {"alpha": trees.table("alpha")}, env=ONLINE)
    database.execute(
        f"CREATE ROLE {admin} LOGIN CREATEDB CREATEROLE PASSWORD 'of the admin'",
        f"CREATE ROLE {app} LOGIN PASSWORD 'public'",  # it is in the name of the version table, too
        f'ALTER DATABASE "{name}" OWNER TO {app}',
    )
    at = database.endpoint
    (tmp_path / "spec.yml").write_text(
        f"name: as-{end}\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{name}', credentials: {{user: {admin}, password: of the admin}}}}\n"
        f"roles: {{{app}: {{login: true, password: public}}}}\n"
        f"migrations: {{script_location: ./migrations, as: {app}, ledger: true}}\n"
    )

    def provision(*words: str, code: int = 0) -> str:
        ran = program.run(*words, "spec.yml", cwd=tmp_path, environ={**os.environ, "NO_COLOR": "1"})
        assert ran.code == code, ran.all
        return ran.all

    try:
        provision("apply")
        assert "nothing to do" in provision("plan", "--detailed-exitcode")
        assert provision("migrate", "current").startswith("alpha (head)")
        assert "~ table alpha" not in provision("migrate", "check", code=1)
        assert f'GRANT "{app}" TO "{admin}"' in provision("migrate", "test", code=1)
        assert set(dict(database.execute(OWNERS)).values()) == {app}
    finally:
        database.execute(f"DROP OWNED BY {app}", f'ALTER DATABASE "{name}" OWNER TO postgres')
        database.execute(f"DROP ROLE {admin}, {app}")
