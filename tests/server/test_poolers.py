"""PgBouncer between us and a server: looking works through it, and what needs a session says where it is to be had."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from support import program
from support.embedded import an_embedded_environment, an_open_directory
from support.pooler import Pooler, a_pooler

from provision.environment import Environment as Api
from provision.errors import RefusedError
from provision.model.value import replace
from provision.system import poolers, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.embedded import Embedded

    Poolers = Callable[..., Pooler]

SHARED = ("transaction", "statement")
LEFT = """
SELECT coalesce(nullif(application_name, ''), 'an advisory lock') FROM pg_stat_activity AS a
WHERE datname = %s AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND (application_name <> '' OR EXISTS (SELECT 1 FROM pg_locks AS l WHERE l.pid = a.pid AND locktype = 'advisory'))
"""
SET = """
SELECT name, setting FROM pg_settings
WHERE source = 'session' AND name NOT IN ('transaction_read_only', 'transaction_isolation', 'transaction_deferrable')
"""
_REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "r3", "r2"


def upgrade() -> None:
    op.execute("CREATE TABLE who AS SELECT current_user::text AS who")
    op.execute("SELECT pg_sleep(1)")
"""
_FAILS = """
from alembic import op

revision, down_revision = "r3", "r2"


def upgrade() -> None:
    op.execute("SELECT 1/0")
"""


@pytest.fixture(scope="module")
def pooled(server: Any) -> Iterator[Poolers]:
    """Return the module's PgBouncer of a mode, started when it is first asked for."""
    running: dict[str, Pooler] = {}
    with ExitStack() as stack:

        def of(mode: str, **more: Any) -> Pooler:
            key = f"{mode} {more}"
            if key not in running:
                directory = stack.enter_context(an_open_directory())
                running[key] = stack.enter_context(a_pooler(directory, server.endpoint, mode, **more))
            return running[key]

        yield of


class Shop:
    """An environment with a database of its own behind a pooler."""

    def __init__(self, server: Any, pooler: Pooler, environment: Embedded, *, is_there: bool = True) -> None:
        self.server, self.pooler, self.environment = server, pooler, environment
        self.name = f"shop_{uuid4().hex[:8]}"
        environment.environ["PW"] = server.endpoint.password.reveal()
        credentials = {"user": server.endpoint.user, "password": "${PW}"}
        place = {"runtime": "external", "host": "127.0.0.1", "port": pooler.port, "database": self.name}
        environment.server(**place, credentials=credentials, data=None).migrations("one", "two")
        (environment.directory / "migrations" / "versions" / "r3.py").write_text(_REVISION)
        if is_there:
            server.execute(f"CREATE DATABASE {self.name}")

    def direct(self) -> None:
        """Declare the server's own address, too."""
        self.environment.server(direct={"host": "127.0.0.1", "port": self.server.endpoint.port})

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement past the pooler."""
        found: list[tuple[Any, ...]] = self.server.execute(statement, database=self.name)
        return found

    def is_clean(self) -> None:
        """See that nothing of ours is on a backend of the pooler, and that it was sent nothing that it refuses."""
        with closing(self.server.connect(self.name)) as direct, direct.cursor() as cursor:
            cursor.execute(LEFT, (self.name,))
            assert cursor.fetchall() == []
        with ExitStack() as stack:
            several = [stack.enter_context(closing(self.pooler.connect(self.name))) for _ in range(3)]
            for each in several:
                with each.cursor() as cursor:
                    cursor.execute(SET)
                    assert cursor.fetchall() == []
        assert "unsupported startup parameter" not in self.pooler.said()


@pytest.mark.parametrize("mode", SHARED)
def test_looks_and_changes_nothing(server: Any, pooled: Poolers, environment: Embedded, mode: str) -> None:
    shop = Shop(server, pooled(mode), environment)
    way = f"`server: {{direct: {{host: 127.0.0.1, port: {server.endpoint.port}}}}}`"
    planned = environment.run("plan")
    assert "r1  make one" in planned.out
    assert planned.out.splitlines()[-1].startswith(
        f"next: write the address of the server itself into the spec: {way}; then: "
    )
    assert environment.run("status").out.splitlines()[0].endswith("running, 2 changes pending")
    assert "declared r3" in environment.run("verify", code=None).out
    shop.server.execute(f"CREATE DATABASE provision_clone_{shop.name}")
    assert f"provision_clone_{shop.name}" in environment.run("clone", "--list").out
    shop.server.execute(f"DROP DATABASE provision_clone_{shop.name}")
    for words in (("apply",), ("migrate", "upgrade"), ("backup", "make")) if mode == "transaction" else (("apply",),):
        refused = environment.run(*words, code=1)
        assert "in transaction or statement mode" in refused.err
        assert way in refused.err
    assert shop.execute("SELECT to_regclass('alembic_version')") == [(None,)]
    shop.is_clean()


@pytest.mark.parametrize("mode", SHARED)
def test_tenants_are_asked_for_in_one_transaction(
    server: Any, pooled: Poolers, environment: Embedded, mode: str
) -> None:
    shop = Shop(server, pooled(mode), environment)
    query = f"SELECT datname FROM pg_database WHERE datname = '{shop.name}'"  # noqa: S608
    environment.declare(migrations={**environment.document["migrations"], "tenants": {"databases": {"query": query}}})
    looks = (("plan",), ("migrate", "current"), ("migrate", "current", "--tenant", shop.name))
    if mode == "transaction":
        told = [environment.run(*words).out for words in looks]
        assert f"1 database from base ({shop.name})" in told[0]
        assert told[1] == f"base: 1 tenant ({shop.name})\n"
    for words in (("apply",), ("migrate", "upgrade", "--tenant", shop.name)) if mode == "transaction" else looks:
        assert "in transaction or statement mode" in environment.run(*words, code=1).err
    shop.is_clean()


def test_options_that_a_pooler_does_not_take(server: Any, pooled: Poolers, environment: Embedded) -> None:
    shop = Shop(server, pooled("session"), environment)
    shop.environment.server(options="-c work_mem=5MB")
    said = shop.environment.run("plan", code=69).err
    assert "does not take the `options` of the spec" in said
    assert 'ALTER ROLE "postgres" SET …' in said
    shop.direct()
    assert "r1  make one" in shop.environment.run("plan").out


def test_nothing_to_do_is_no_refusal(server: Any, pooled: Poolers, environment: Embedded) -> None:
    shop = Shop(server, pooled("transaction"), environment)
    shop.direct()
    shop.environment.apply()
    environment.server(direct=None)
    ran = environment.run("apply")
    assert "nothing to do" in ran.out
    assert "apply is refused until" in ran.out
    shop.is_clean()


def test_of_eight_applies_at_once_one_migrates(server: Any, pooled: Poolers, environment: Embedded) -> None:
    shop = Shop(server, pooled("transaction"), environment)
    for is_direct in (False, True):
        if is_direct:
            shop.direct()
        runs = []
        for number in range(8):  # each in a directory of its own: only the locks of the server are between them
            place = environment.directory.parent / f"{is_direct}-{number}"
            shutil.copytree(environment.directory, place)
            more = {**environment.environ, "XDG_STATE_HOME": str(place / "state")}
            runs.append(program.begin("apply", environment.spec.name, cwd=place, environ=more))
        outputs = [each.communicate(timeout=120)[0] for each in runs]
        if is_direct:
            assert [each.returncode for each in runs] == [0] * 8, outputs
            assert shop.execute("SELECT count(*) FROM who") == [(1,)]  # a second run would have failed
        else:
            assert [each.returncode for each in runs] == [1] * 8, outputs
            assert all("in transaction or statement mode" in each for each in outputs), outputs
            assert shop.execute("SELECT to_regclass('who')") == [(None,)]
    shop.is_clean()


def test_applications_get_the_pooler(server: Any, pooled: Poolers, environment: Embedded) -> None:
    shop = Shop(server, pooled("transaction"), environment)
    shop.direct()
    own, theirs = f":{server.endpoint.port}/", f":{shop.pooler.port}/"
    assert theirs in environment.run("url").out
    assert own in environment.run("url", "--direct").out
    assert f"PGPORT={shop.pooler.port}" in environment.run("env", "--format", "dotenv").out
    assert f"PGPORT={server.endpoint.port}" in environment.run("env", "--direct", "--format", "dotenv").out
    applied = environment.apply()
    assert theirs in applied.out
    assert theirs in environment.run("status").out
    assert environment.run("status", "--json").json()["endpoint"]["port"] == shop.pooler.port
    shop.is_clean()


def test_a_session_pool_gives_sessions_and_gets_them_back(server: Any, pooled: Poolers, environment: Embedded) -> None:
    """The pooler cleans nothing itself, knows of a login that failed for 3 s, and takes no options for the role."""
    shop = Shop(server, pooled("session", server_reset_query="", server_login_retry=3), environment, is_there=False)
    server.execute(f"CREATE ROLE {shop.name}_owner")
    environment.declare(
        migrations={"role": f"{shop.name}_owner"}, databases={shop.name: {"owner": f"{shop.name}_owner"}}
    )
    environment.declare(roles={f"{shop.name}_owner": {"external": True}})
    assert "database/" in environment.run("plan").out  # the login fails here
    environment.apply()
    assert shop.execute("SELECT who FROM who") == [(f"{shop.name}_owner",)]
    assert "nothing to do" in environment.run("apply").out
    shop.is_clean()


@pytest.mark.parametrize(
    ("mode", "more", "expected"),
    [
        ("session", {}, poolers.Mode.SESSION),
        ("session", {"default_pool_size": 1}, poolers.Mode.SESSION),
        ("transaction", {}, poolers.Mode.TRANSACTION),
        ("transaction", {"default_pool_size": 1}, poolers.Mode.TRANSACTION),
        ("transaction", {"server_round_robin": 1, "min_pool_size": 4}, poolers.Mode.TRANSACTION),
        ("statement", {}, poolers.Mode.TRANSACTION),
    ],
)
def test_a_mode_is_recognised(
    server: Any, pooled: Poolers, mode: str, more: dict[str, int], expected: poolers.Mode
) -> None:
    pooler = pooled(mode, **more)
    at = replace(server.endpoint, port=pooler.port, is_ours=False)
    if more.get("min_pool_size"):  # several backends are idle, so that each turn gives another one
        several = [pooler.connect("postgres") for _ in range(4)]
        for each in several:
            each.autocommit = False
            each.cursor().execute("SELECT 1")
        for each in several:
            each.close()
    with suppress(RefusedError):
        postgres.connect(at, read_only=False).close()
    way = poolers.known(at)
    assert way is not None
    assert (way.mode, way.port) == (expected, server.endpoint.port)


def test_without_a_pooler_a_session_is_as_ever(server: Any) -> None:
    at = replace(server.endpoint, is_ours=False)
    with closing(postgres.connect(at, read_only=True)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('application_name'), current_setting('default_transaction_read_only')")
        assert cursor.fetchone() == ("provision", "on")
    assert poolers.known(at) == poolers.DIRECT


def test_both_addresses_are_of_one_server(server: Any, pooled: Poolers, environment: Embedded, directory: Path) -> None:
    shop = Shop(server, pooled("transaction"), environment)
    with an_embedded_environment(directory / "other", port="auto") as other:
        other.server(credentials={"user": "postgres", "password": "${PW}"})
        other.environ["PW"] = server.endpoint.password.reveal()
        other.apply()
        other.superuser(f"CREATE DATABASE {shop.name}")
        port = other.run("status", "--json").json()["endpoint"]["port"]
        environment.server(direct={"host": "127.0.0.1", "port": port})
        refused = environment.run("apply", code=1)
        assert "`server.direct` is another server than the one behind the pooler" in refused.err


def test_a_pooler_that_only_env_py_knows_keeps_no_setting_of_ours(directory: Path) -> None:
    """Another client gets the backend next, also where a revision failed."""
    with an_embedded_environment(directory / "own", port="auto") as own, an_open_directory() as place:
        own.migrations("one").apply()
        here = Api(own.spec, environ=own.environ).login(superuser=True)
        with a_pooler(place, here, "transaction") as pooler:
            env, name = own.directory / "migrations" / "env.py", here.database
            shown = f'"sqlalchemy.url").replace(":{here.port}/", ":{pooler.port}/")'
            own.migrations("one", "two")
            env.write_text(env.read_text().replace('"sqlalchemy.url")', shown))
            (env.parent / "versions" / "r3.py").write_text(_FAILS)
            assert "division by zero" in own.run("apply", code=1).err
            with closing(pooler.connect(name)) as connection, connection.cursor() as cursor:
                left = "current_setting('synchronous_commit'), current_setting('lock_timeout')"
                cursor.execute(f"SELECT to_regclass('two')::text, {left}")
                assert cursor.fetchall() == [("two", "on", "0")]


def test_a_pooler_keeps_databases_in_use(server: Any, pooled: Poolers, environment: Embedded) -> None:
    shop = Shop(server, pooled("session"), environment)
    refused = environment.run("clone", code=1)
    assert "keeps sessions open in the databases" in refused.err
    shop.direct()
    assert f":{server.endpoint.port}/provision_clone_one" in environment.run("clone", "--name", "one").out
    environment.run("clone", "--drop", "one")
