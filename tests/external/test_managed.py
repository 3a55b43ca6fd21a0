"""Servers as providers hand them out: each kind works for their administrator, or one sentence says what is missing.

Every day two of them are tried on one major version each, and in `make test-long` all on all.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.foreign import a_foreign_server
from support.managed import PROVIDERS, Managed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign

(NEON,) = (each for each in PROVIDERS if each.name == "neon")
DAILY = {("rds", 14), ("neon", 18)}
CASES = [
    pytest.param(each, major, id=f"{each.name}-{major}", marks=() if (each.name, major) in DAILY else pytest.mark.long)
    for major in (14, 16, 18)
    for each in PROVIDERS
]
_REFUSED = {
    ("snapshot", "save", "a"): "neither copies nor replaces databases there",
    ("reset", "--yes"): "neither copies nor replaces databases there",
    ("restart",): "provision never restarts it",
    ("upgrade",): "provision never upgrades it",
}


@pytest.fixture(scope="module")
def own_servers(engine: Engine) -> Iterator[Callable[[str, int], Foreign]]:
    """Return a server for a provider and a major version; its roles would show everywhere on those of other tests."""
    running: dict[tuple[str, int], Foreign] = {}
    with ExitStack() as stack:

        def of(name: str, major: int) -> Foreign:
            if (name, major) not in running:
                running[name, major] = stack.enter_context(a_foreign_server(engine, major))
            return running[name, major]

        yield of


@pytest.fixture
def managed(
    own_servers: Callable[[str, int], Foreign], environment: Environment, request: pytest.FixtureRequest
) -> Managed:
    provider, major = request.param
    return Managed(own_servers(provider.name, major), environment, provider)


def on_each() -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "managed", [pytest.param(each.values, id=each.id, marks=each.marks) for each in CASES], indirect=True
    )


@on_each()
def test_every_kind_works_or_says_what_is_missing(managed: Managed) -> None:
    environment, before = managed.declare(history=True), managed.server.major < 16
    managed.allow_migrations()
    applied = environment.apply()
    environment.settled()
    noted = environment.run("history").out
    if "no run is noted yet" in noted:
        assert "as an administrator: GRANT" in applied.out
    else:
        assert "2 revisions" in noted
    assert "as declared" in environment.run("verify").out
    assert managed.name("app") in environment.run("access").out
    lint = environment.run("access", "--lint", code=None).out
    assert managed.provider.admin not in lint, "nobody here can change the provider's own superusers"
    assert managed.name("owner") in environment.run("import").out
    for words, sentence in _REFUSED.items():
        assert sentence in environment.run(*words, code=1).err
    made = environment.run("backup", "make", code=None)
    if made.code:
        assert before
        assert "may not read all of the database, so it cannot be dumped" in made.err
        managed.server.execute(f"GRANT pg_read_all_data TO {managed.login}")
        environment.run("backup", "make")


@on_each()
def test_settings_are_compared_only_with_the_words_of_the_provider(managed: Managed) -> None:
    environment = managed.environment
    managed.server.execute(f"CREATE DATABASE {managed.shop}")
    environment.server(settings={"work_mem": "9MB"}, database=managed.shop)
    place = {"rds": "the DB parameter group", "cloudsql": "database flags", "neon": "compute settings"}
    planned = environment.run("plan", "--detailed-exitcode", code=2).out
    assert "work_mem is '4MB', and '9MB' is declared: compared only; " in planned
    assert place[managed.provider.name] in planned
    refused = environment.server(settings_via="alter_system").run("apply", code=1).err
    assert "lets no customer change settings with ALTER SYSTEM" in refused
    assert place[managed.provider.name] in refused


@on_each()
def test_what_only_the_provider_may_do_is_refused_before_the_first_step(managed: Managed) -> None:
    app = managed.name("app")
    environment = managed.declare(history=False)
    environment.declare(roles={app: {"settings": {"log_statement": "ddl"}, "superuser": True}})
    refused = environment.run("apply", code=1).err
    assert f"'{managed.login}' may not do all that this needs" in refused
    assert "only a superuser may give or take SUPERUSER" in refused
    assert (managed.shop,) not in managed.server.execute("SELECT datname FROM pg_database")


@pytest.mark.parametrize("managed", [pytest.param((NEON, 14), id="neon-14")], indirect=True)
def test_who_may_not_migrate_as_the_owner_is_refused_before_the_first_step(managed: Managed) -> None:
    environment, owner = managed.declare(history=False), managed.name("owner")
    refused = environment.run("apply", code=1).err
    assert f"migrations run as '{owner}', and '{managed.login}' is no member of it: migrations/alembic" in refused
    assert (managed.shop,) not in managed.server.execute("SELECT datname FROM pg_database")
    statements = [line.strip() for line in refused.splitlines() if line.startswith("      ") and line.endswith(";")]
    assert statements == [f'CREATE ROLE "{owner}";', f'GRANT "{owner}" TO "{managed.login}";']
    managed.server.execute(*statements)
    environment.apply()
    environment.settled()


@on_each()
def test_an_extension_that_the_provider_may_allow_is_left_to_the_server(managed: Managed) -> None:
    """Providers let their administrators make extensions that need a superuser elsewhere, as on this server."""
    environment = managed.declare(history=False)
    managed.allow_migrations()
    environment.declare(databases={managed.shop: {"extensions": ["pg_stat_statements"]}})
    assert f"create extension/{managed.shop}/pg_stat_statements" in environment.actions()
    refused = environment.run("apply", code=1).err
    assert 'permission denied to create extension "pg_stat_statements"' in refused


@pytest.mark.parametrize("managed", [pytest.param((NEON, 18), id="neon")], indirect=True)
def test_a_provider_that_takes_no_hashed_password_is_not_sent_one(managed: Managed) -> None:
    environment = managed.declare(history=False)
    environment.declare(roles={managed.name("login"): {"login": True, "password": "${PW}"}})
    refused = environment.run("apply", code=1).err
    assert "Neon takes no hashed password; make the login there, and write `external: true` for it" in refused
