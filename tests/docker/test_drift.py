"""What others change behind our back is found by verify, field by field, and mended with the least disruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.environment import Environment

_MB = 1 << 20


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Environment:
    """An environment with limits and a migration that was applied."""
    made = shared().server(resources={"memory": "512MB", "cpus": 1}, settings={"work_mem": "8MB"})
    made.migrations("userdata").apply()
    made.query("INSERT INTO userdata (name) VALUES ('Zoë')")
    return made


def differences(environment: Environment, code: int = 2) -> list[str]:
    """Return what verify tells; text and document have to agree on the verdict."""
    document = environment.run("verify", "--json", "--detailed-exitcode", code=code).json()
    assert document["clean"] is (code == 0)
    return [f"{each['address']} {each['text']}" for each in document["differences"]]


def mended(environment: Environment, *, disturbed: bool = False) -> None:
    """Apply, and see that all is as declared, and which process runs now."""
    container, started = environment.container["Id"], environment.container["State"]["StartedAt"]
    environment.apply()
    assert differences(environment, 0) == []
    assert environment.query("SELECT name FROM userdata") == [("Zoë",)]
    assert environment.container["Id"] == container
    assert (environment.container["State"]["StartedAt"] != started) is disturbed
    environment.settled()


def test_nothing_was_changed(running: Environment) -> None:
    assert differences(running, 0) == []
    assert f"{running.name}: as declared" in running.run("verify").out


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"mem_limit": 400 * _MB, "memswap_limit": 800 * _MB}, "memory: 400m, declared 512m"),
        ({"mem_limit": 600 * _MB, "memswap_limit": 1200 * _MB}, "memory: 600m, declared 512m"),
        ({"restart_policy": {"Name": "always"}}, "restart: always, declared unless-stopped"),
        ({"restart_policy": {"Name": "no"}}, "restart: no, declared unless-stopped"),
    ],
)
def test_docker_update_is_taken_back_in_place(running: Environment, update: dict[str, Any], told: str) -> None:
    running.engine.client.update_container(running.name, **update)
    assert differences(running) == [f"container/{running.name} {told}"]
    assert running.actions() == [f"update container/{running.name}"]
    mended(running)


def test_another_share_of_the_processors_is_taken_back_in_place(running: Environment) -> None:
    client = running.engine.client
    client.post(f"{client.base_url}/containers/{running.name}/update", json={"NanoCpus": 500_000_000})
    assert differences(running) == [f"container/{running.name} cpus: 0.5, declared 1.0"]
    mended(running)


def test_a_detached_network_is_attached_again(running: Environment) -> None:
    running.engine.client.disconnect_container_from_network(running.name, "bridge")
    assert f"container/{running.name} networks: none, declared bridge" in differences(running)
    mended(running)


def test_a_detached_network_of_a_stopped_server(running: Environment) -> None:
    running.engine.client.stop(running.name)
    running.engine.client.disconnect_container_from_network(running.name, "bridge")
    mended(running, disturbed=True)


def test_a_network_that_was_attached_besides_is_left_alone(running: Environment) -> None:
    client, other = running.engine.client, f"{running.name}-other"
    client.create_network(other)
    try:
        client.connect_container_to_network(running.name, other)
        assert differences(running, 0) == []
        running.settled()
    finally:
        client.disconnect_container_from_network(running.name, other)
        client.remove_network(other)


def test_an_edited_rendered_file(running: Environment) -> None:
    path = running.home / "config" / "postgresql.conf"
    path.write_text(path.read_text().replace("work_mem = 8MB", "work_mem = 9MB"))
    assert "file/config/postgresql.conf content differs" in differences(running)
    assert "-work_mem = 9MB" in running.run("verify", "--diff").out
    mended(running)


def test_a_setting_of_the_running_server(running: Environment) -> None:
    path = running.home / "config" / "postgresql.conf"
    declared = path.read_text()
    path.write_text(declared.replace("work_mem = 8MB", "work_mem = 9MB"))
    running.query("SELECT pg_reload_conf()")
    for _ in attempts(60, 0.05):
        if running.setting("work_mem") == "9MB":
            break
    path.write_text(declared)
    assert differences(running) == ["settings/postgresql.conf work_mem: 9MB, declared 8MB"]
    mended(running)


def test_a_revision_that_moved(running: Environment) -> None:
    running.query("CREATE TABLE kept AS TABLE userdata")
    running.query("DROP TABLE userdata")
    running.query("DELETE FROM alembic_version")
    assert differences(running) == ["migrations/alembic revision: base, declared r1"]
    running.apply()
    running.query("INSERT INTO userdata SELECT * FROM kept")
    assert differences(running, 0) == []


def test_a_stopped_server_shows_what_it_can(running: Environment) -> None:
    running.run("stop")
    told = running.run("verify", "--detailed-exitcode", code=2).out
    assert "status: exited, declared running" in told
    assert "cannot be seen (the server is stopped): settings/postgresql.conf" in told
    mended(running, disturbed=True)


def test_a_plan_that_is_refused_is_a_difference(running: Environment) -> None:
    running.query("UPDATE alembic_version SET version_num = 'elsewhere'")
    told = running.run("verify", "--detailed-exitcode", code=2)
    assert "≠ migrations/alembic" in told.out
    assert "✗ apply refuses: " in told.out
    running.query("UPDATE alembic_version SET version_num = 'r1'")
    assert differences(running, 0) == []


def test_a_dropped_database(environment: Environment) -> None:
    environment.apply()
    environment.run("psql", "spec.yml", "--", "-d", "postgres", "-c", "DROP DATABASE shop WITH (FORCE)", spec=False)
    assert differences(environment) == ["database/shop is missing"]
    environment.apply()
    assert differences(environment, 0) == []


def test_a_collation_of_another_version_is_told_with_what_mends_it(environment: Environment) -> None:
    environment.apply()
    if not environment.query("SELECT datcollversion FROM pg_database WHERE datname = 'shop' AND datcollversion <> ''"):
        pytest.skip("this image's locale has no version")
    environment.query("UPDATE pg_database SET datcollversion = '1.0' WHERE datname = 'shop'")
    told = environment.run("verify", "--detailed-exitcode", code=2).out
    assert "its text was sorted by collation version 1.0" in told
    assert "REFRESH COLLATION VERSION" in environment.run("plan").out
    environment.query('REINDEX DATABASE "shop"')
    environment.query('ALTER DATABASE "shop" REFRESH COLLATION VERSION')
    environment.settled()


def test_a_paused_server_is_told_and_thawed(environment: Environment) -> None:
    environment.apply()
    environment.engine.client.pause(environment.name)
    assert "status: paused, declared running" in environment.run("verify").out
    environment.apply()
    environment.settled()
