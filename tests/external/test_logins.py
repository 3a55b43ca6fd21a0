"""A login that fails is explained: exit code 69, what it is, the words of the server, and what to do."""

from __future__ import annotations

import socket
from contextlib import closing
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.engine import Engine
    from support.environment import Environment
    from support.foreign import Foreign


def test_a_wrong_password(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment)
    for words in (("plan",), ("apply",), ("status",)):
        refused = environment.run(*words, code=69, PW="another")
        assert f"the server at 127.0.0.1:{foreign.port} refuses the password of 'postgres'" in refused.err
        assert "password authentication failed" in refused.err
        assert "another" not in refused.all
    assert not environment.home.exists()


def test_a_role_without_createdb(foreign: Foreign, environment: Environment) -> None:
    role = foreign.role()
    foreign.declare(environment, credentials={"user": role}).migrations("customers")
    name = environment.document["server"]["database"]
    refused = environment.run("apply", code=1)
    assert f"the database '{name}' does not exist, and the role '{role}' may not create databases" in refused.err
    assert "missing: CREATEDB" in refused.err
    (remedy,) = [line for line in refused.err.splitlines() if line.startswith("next: ")]
    create = remedy.split("as an administrator: ")[1].split(";")[0]
    assert create == f'CREATE DATABASE "{name}" OWNER "{role}"'
    foreign.execute(create)
    environment.apply()
    environment.settled()


def test_a_role_with_createdb_needs_no_more(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, credentials={"user": foreign.role("CREATEDB")}).migrations("customers")
    environment.apply()
    environment.settled()


def test_a_role_that_may_not_connect(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment).apply()
    name = environment.document["server"]["database"]
    foreign.execute(f"REVOKE CONNECT ON DATABASE {name} FROM public")
    role = foreign.role()
    refused = environment.server(credentials={"user": role}).run("apply", code=69)
    assert f'GRANT CONNECT ON DATABASE "{name}" TO "{role}"' in refused.err


def test_a_host_that_does_not_exist(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment, host="nothing.invalid", ready_timeout="1h")
    assert "there is no host 'nothing.invalid'" in environment.run("apply", code=69).err


def test_nothing_listens(foreign: Foreign, environment: Environment) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        foreign.declare(environment, port=port, ready_timeout="1s").migrations("customers")
        refused = environment.run("apply", code=69)
        assert f"the server at 127.0.0.1:{port} cannot be reached" in refused.err
        assert "Connection refused" in refused.err
        assert "unreachable" in environment.run("status", code=69).out
        environment.run("plan")


def test_a_server_that_is_on_its_way_is_waited_for(engine: Engine, environment: Environment) -> None:
    from support.foreign import a_foreign_server

    with a_foreign_server(engine, 16) as server:
        server.declare(environment, ready_timeout="1m").migrations("customers")
        engine.client.stop(server.name, timeout=20)
        with environment.begin() as run:
            assert run.stdout is not None
            said = list(takewhile(lambda line: line != f"start server/{environment.name} …\n", run.stdout))
            assert run.poll() is None, said
            engine.client.start(server.name)
            said += run.stdout
        assert run.returncode == 0, said
        assert any(line.startswith(f"start server/{environment.name}: done in") for line in said), said
        environment.settled()


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_it_is_never_started_stopped_or_restarted(foreign: Foreign, environment: Environment, verb: str) -> None:
    refused = foreign.declare(environment).run(verb, code=1)
    assert f"is external: provision never {verb}s it" in refused.err


def test_destroy_forgets_the_environment_and_touches_nothing_else(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment).migrations("customers").apply()
    assert not (environment.home / "secrets").exists()
    assert (
        "is on an external server: provision never removes it"
        in environment.run("destroy", "--data", "--yes", code=1).err
    )
    gone = environment.run("destroy")
    assert "brings the server back" not in gone.out
    assert not environment.home.exists()
    assert environment.query("SELECT count(*) FROM customers") == [(0,)]
    assert "nothing to destroy" in environment.run("destroy").out


def test_logs_are_where_the_server_is(foreign: Foreign, environment: Environment) -> None:
    assert "is external: provision cannot read its log" in foreign.declare(environment).run("logs", code=1).err


def test_psql_and_url_lead_there(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment).apply()
    asked = environment.run("psql", "spec.yml", "--", "-Atc", "SELECT current_database()", spec=False)
    assert asked.out.strip() == environment.document["server"]["database"]
    assert f"@127.0.0.1:{foreign.port}/" in environment.url


def test_nothing_is_rendered(foreign: Foreign, environment: Environment) -> None:
    environment = foreign.declare(environment)
    assert environment.run("render").out.split() == [f".provision/{environment.name}/.gitignore:", "written"]


def test_no_engine_is_needed(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment).migrations("customers").apply(DOCKER_HOST="unix:///nonexistent")
    assert "nothing to do" in environment.apply(DOCKER_HOST="unix:///nonexistent").out


def test_where_the_maintenance_database_is_closed_an_administrator_creates_ours(
    foreign: Foreign, environment: Environment
) -> None:
    role = foreign.role("CREATEDB")
    foreign.declare(environment, credentials={"user": role})
    foreign.execute("REVOKE CONNECT ON DATABASE postgres FROM public")
    try:
        refused = environment.run("apply", code=1)
    finally:
        foreign.execute("GRANT CONNECT ON DATABASE postgres TO public")
    assert "and 'postgres', from which it would be created, cannot be entered" in refused.err
    assert f'CREATE DATABASE "{environment.document["server"]["database"]}" OWNER "{role}"' in refused.err


def test_a_spec_of_a_server_of_ours_does_not_fit_by_force(environment: Environment) -> None:
    refused = environment.server(port=5432).declare(server={"credentials": {"password": {"generate": True}}})
    assert "has its password already" in refused.run("plan", "--runtime", "external", code=1).err


def test_a_role_that_may_not_read_the_version_table(foreign: Foreign, environment: Environment) -> None:
    foreign.declare(environment).migrations("customers").apply()
    role = foreign.role()
    refused = environment.server(credentials={"user": role}).run("apply", code=1)
    assert f"the role '{role}' lacks a privilege" in refused.err
    assert "permission denied for table alembic_version" in refused.err
