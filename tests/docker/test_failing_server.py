"""A server that does not come up: the reason is shown, and what worked before works again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.environment import Environment

# Right in the catalogue, and wrong for this machine.
TOO_MUCH = {"shared_buffers": "400GB"}
NO_LIBRARY = {"shared_preload_libraries": "no_such_library"}


def test_a_setting_that_stops_the_first_start(environment: Environment) -> None:
    environment.server(settings=NO_LIBRARY)
    ran = environment.run("apply", code=1)
    assert 'could not access file "no_such_library"' in ran.err
    # The engine may have started it again at the moment of the look; an exit code is not known then.
    assert "ended with exit code" in ran.err or "ended, was started again by the engine" in ran.err
    assert "docker logs" in ran.err
    assert environment.container["State"]["Status"] in ("exited", "created"), "it must not go on crashing"
    environment.server(settings={"shared_preload_libraries": None})
    environment.apply()
    environment.query("SELECT 1")
    environment.settled()


def test_a_setting_that_stops_a_later_start_is_rolled_back(environment: Environment) -> None:
    environment.server(settings={"work_mem": "5MB"}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    conf = environment.home / "config" / "postgresql.conf"
    good = conf.read_text()
    for wrong, told in ((TOO_MUCH, "could not map anonymous shared memory"), (NO_LIBRARY, "no_such_library")):
        environment.declare(server={"settings": {"work_mem": "6MB", **wrong}})
        ran = environment.run("apply", code=1)
        assert told in ran.err, ran.all
        assert "the last good configuration is back, and the server runs with it" in ran.err
        assert conf.read_text() == good
        assert environment.query("SELECT answer FROM kept") == [(42,)]
        assert environment.setting("work_mem") == "5MB"
        environment.server(settings=dict.fromkeys(wrong))
    environment.server(settings={"work_mem": "6MB", **NO_LIBRARY}, stop_timeout="5s")
    ran = environment.run("apply", code=1)
    assert "no_such_library" in ran.err
    assert "the last good configuration is back" in ran.err, "with another container, too"
    assert environment.setting("work_mem") == "5MB"
    environment.server(settings={"work_mem": "5MB", "shared_preload_libraries": None})
    environment.settled()


def test_a_limit_that_the_server_does_not_survive(environment: Environment) -> None:
    environment.server(resources={"memory": "6m"})
    ran = environment.run("apply", code=1)
    assert "memory" in ran.err or "exit code 137" in ran.err or "started again" in ran.err, ran.all
    environment.server(resources=None)
    again = environment.run("apply", code=None)
    if again.code:  # it was killed after the first file of the data was there
        assert "provision destroy --data, then provision apply" in again.err
        environment.run("destroy", "--data", "--yes")
        environment.apply()
    environment.settled()


def test_the_time_to_wait_is_kept(environment: Environment) -> None:
    """A container that runs, and has no server in it."""
    shipped = (Path(__file__).parents[2] / "templates" / "docker-compose.yml.j2").read_text()
    (environment.directory / "templates").mkdir()
    own = re.sub(r"command: \[.*\]", 'command: ["sleep", "600"]', shipped)
    (environment.directory / "templates" / "docker-compose.yml.j2").write_text(own)
    environment.server(ready_timeout="2s", stop_timeout="1s").declare(templates="./templates")
    ran = environment.run("apply", code=1)
    assert "within 2 s (`ready_timeout`)" in ran.err, ran.all


def test_a_broken_template_of_the_configuration_is_named(environment: Environment) -> None:
    environment.apply()
    started = environment.started()
    templates = environment.directory / "templates"
    templates.mkdir()
    for text, told in {
        "work_mem 4MB oops": "line 1 is not `name = value`",
        "include 'other.conf'": "includes another file",
        "work_mem = {{ server.nothing }}": "has no attribute 'nothing'",
        "listen_addresses = '*'\nwork_mme = 4MB\n": "work_mme: unrecognized configuration parameter",
    }.items():
        (templates / "postgresql.conf.j2").write_text(text)
        ran = environment.declare(templates="./templates").run("apply", code=1)
        assert told in ran.err, ran.all
    environment.declare(templates=None)
    environment.apply()
    assert environment.started() == started
    environment.settled()
