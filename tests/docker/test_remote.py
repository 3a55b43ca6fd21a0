"""An engine on another host sees no file of this one: what it needs is copied into the container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.proxy import remote_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment


@pytest.fixture(scope="module")
def running(shared: Callable[[], Environment]) -> Iterator[Environment]:
    """An environment that was applied to an engine behind TCP."""
    with remote_engine() as url:
        made = shared().migrations("userdata")
        made.environ["DOCKER_HOST"] = url
        yield made.server(max_connections=100).keep()


def test_no_file_of_this_host_is_mounted(running: Environment) -> None:
    assert [each["Type"] for each in running.container["Mounts"]] == ["volume"]
    listed = running.engine.run(running.name, "stat", "-c", "%a %n", "/run/secrets/postgres_password")
    assert listed.startswith("600 ")
    conf = running.engine.run(running.name, "cat", "/etc/postgresql/postgresql.conf")
    assert conf == (running.home / "config" / "postgresql.conf").read_text()


def test_the_server_has_no_password_in_its_environment(running: Environment) -> None:
    environment = running.engine.run(running.name, "cat", "/proc/1/environ", user="postgres")
    assert "PGDATA=" in environment
    assert "POSTGRES_PASSWORD" not in environment


def test_there_is_nothing_to_do(running: Environment) -> None:
    events = running.engine.record(running.name)
    running.settled()
    assert "nothing to do" in running.apply().out
    assert events.seen() == []


def test_settings_are_reloaded_and_restarted(running: Environment) -> None:
    container, started = running.container["Id"], running.started()
    running.server(settings={"work_mem": "6MB"}).apply()
    assert (running.setting("work_mem"), running.started()) == ("6MB", started)
    running.server(max_connections=50).apply()
    assert running.setting("max_connections") == "50"
    assert running.container["Id"] == container
    running.settled()


def test_a_bad_setting_is_rolled_back(running: Environment) -> None:
    running.back()
    running.server(settings={"shared_preload_libraries": "no_such_library"})
    ran = running.run("apply", code=1)
    assert "no_such_library" in ran.err
    assert "the last good configuration is back" in ran.err
    running.back()
    running.settled()


def test_another_password_and_another_container(running: Environment) -> None:
    old = running.environ["PW"]
    running.environ["PW"] = "another"
    try:
        running.server(stop_timeout="5s").apply()
        running.settled()
        assert running.engine.run(running.name, "cat", "/run/secrets/postgres_password") == "another"
    finally:
        running.environ["PW"] = old
    running.back()


def test_stopped_and_started(running: Environment) -> None:
    running.engine.client.kill(running.name)
    running.apply()
    running.settled()
    running.run("stop")
    running.run("start")
    running.settled()


def test_an_edited_configuration_inside_is_put_right(running: Environment) -> None:
    """The file lives in the container alone, so only what the server shows tells that it was changed."""
    running.engine.run(running.name, "sh", "-c", "echo 'work_mem = 33MB' >> /etc/postgresql/postgresql.conf")
    running.query("SELECT pg_reload_conf()")
    assert "work_mem: 33MB → default" in running.run("plan").out
    running.apply()
    assert running.setting("work_mem") == "4MB"
    running.settled()
