from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.environment import Environment
    from support.foreign import Foreign


@pytest.mark.parametrize("major", [14, 16, 17, 18])
def test_a_server_of_each_major_is_migrated_and_then_left_alone(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    server = servers(major)
    server.declare(environment).migrations("customers", "orders")
    applied = environment.apply()
    assert "create database/shop_" in applied.out
    assert environment.query("SELECT version_num FROM alembic_version") == [("r2",)]
    assert environment.query("SELECT count(*) FROM orders") == [(0,)]
    before = server.execute("SELECT pg_postmaster_start_time()")
    assert "nothing to do" in environment.apply().out
    environment.settled()
    status = environment.run("status", "--json").json()
    assert (status["server"], status["revisions"]) == ("running", {"alembic": ["r2"]})
    assert status["version"].startswith(f"{major}.")
    assert server.execute("SELECT pg_postmaster_start_time()") == before


@pytest.mark.parametrize("major", [14, 18])
def test_settings_are_altered_where_that_is_declared(
    servers: Callable[[int], Foreign], environment: Environment, major: int
) -> None:
    server = servers(major)
    settings = {"work_mem": "9MB", "search_path": '"$user", public, "odd, one"', "myapp.note": "it's \\ here"}
    server.declare(environment, settings_via="alter_system", settings=settings, max_connections=77)
    try:
        applied = environment.apply()
        assert "max_connections is '100', and '77' is declared: it is set, and waits for a restart" in applied.out
        assert environment.setting("work_mem") == "9MB"
        assert environment.setting("search_path") == '"$user", public, "odd, one"'
        assert environment.setting("myapp.note") == "it's \\ here"
        again = environment.apply()
        assert "nothing to do" in again.out
        assert "waits for a restart" in again.out
        pending = environment.run("plan", "--json", "--detailed-exitcode", code=2).json()
        assert (pending["changes_pending"], pending["steps"], len(pending["notes"])) == (True, [], 1)
        server.restart()
        environment.settled()
        assert environment.setting("max_connections") == "77"
    finally:
        server.execute("ALTER SYSTEM RESET ALL")
        server.restart()


def test_a_server_of_another_major_is_refused_with_both_versions(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, image="postgres:16")
    refused = environment.run("apply", code=1)
    assert f"127.0.0.1:{foreign.port} is PostgreSQL 17, and the spec declares 16 (`image: postgres:16`)" in refused.err
    assert "next: write `image: postgres:17`" in refused.err
    databases = foreign.execute("SELECT datname FROM pg_database")
    assert (environment.document["server"]["database"],) not in databases


def test_the_example_spec_runs(foreign: Foreign, tmp_path: Path) -> None:
    from support import program
    from support.checkout import ROOT
    from support.foreign import PASSWORD

    for name in ("specs", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".provision", "__pycache__"))
    environ = {"PGPORT": str(foreign.port), "PGPASSWORD": PASSWORD, "PGDATABASE": "example"}
    for expected in ("migrate migrations/alembic: done", "nothing to do"):
        done = program.run("apply", "specs/external.yml", cwd=tmp_path, environ={**os.environ, **environ})
        assert (done.code, expected in done.out) == (0, True), done
