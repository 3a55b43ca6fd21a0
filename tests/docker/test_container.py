"""Changes that need another container: it is replaced, says why, and the data stays."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from provision.system import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.environment import Environment

TEMPLATE = """
name: {{ name | quote }}
services:
  db:
    image: {{ server.image | quote }}
    container_name: {{ server.container_name | quote }}
    command: ["postgres", "-c", "config_file=/etc/postgresql/postgresql.conf"]
    environment:
      POSTGRES_USER: {{ server.user | quote }}
      POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password
      NOTE: {{ 'a $HOME "quoted" ü' | quote }}
    secrets: [postgres_password]
    ports: [{{ (publish ~ ":" ~ port ~ ":5432") | quote }}]
    volumes: ["./config:/etc/postgresql:ro", {{ ("data:" ~ data_target) | quote }}]
    ulimits: {nofile: {soft: 2048, hard: 4096}}
    init: true
    stop_signal: SIGINT
    shm_size: 256m
    KEY
    labels:
      provision.environment: {{ name | quote }}
      provision.directory: {{ directory | quote }}
      provision.fingerprint: {{ fingerprint | quote }}
secrets:
  postgres_password: {file: ./secrets/postgres_password}
volumes:
  data:
    name: {{ volume | quote }}
"""


@pytest.fixture(scope="module")
def applied(shared: Callable[[], Environment]) -> Environment:
    """An environment that was applied and holds a table with a row."""
    made = shared().keep()
    made.query("CREATE TABLE kept AS SELECT 42 AS answer")
    return made


@pytest.fixture
def running(applied: Environment) -> Iterator[Environment]:
    """The same, as it was in the beginning."""
    applied.back()
    yield applied
    shutil.rmtree(applied.directory / "templates", ignore_errors=True)


def template(environment: Environment, key: str) -> Environment:
    """Give the environment a template of its own, with one more key of the service."""
    path = environment.directory / "templates" / "docker-compose.yml.j2"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TEMPLATE.replace("KEY", key))
    return environment.declare(templates="./templates")


def recreated(environment: Environment) -> list[dict[str, Any]]:
    """Apply, see that the container was replaced with the same data, and return the reasons that the plan gave."""
    before = environment.container["Id"]
    (step,) = (each for each in environment.steps() if each["address"] == f"container/{environment.name}")
    assert (step["action"], step["destroys_data"]) == ("recreate", False)
    environment.apply()
    assert environment.container["Id"] != before
    assert environment.query("SELECT answer FROM kept") == [(42,)]
    assert len(environment.engine.containers(environment.name)) == 1
    environment.settled()
    reasons: list[dict[str, Any]] = step["why"]
    return reasons


def test_the_log_of_a_new_server_has_no_failed_login(applied: Environment) -> None:
    assert not [line for line in applied.log() if "does not exist" in line]


def test_a_changed_port_recreates_and_keeps_the_data(running: Environment) -> None:
    old, new = running.port, ports.free_port("127.0.0.1", "another")
    (reason,) = recreated(running.server(port=new))
    assert reason["text"] == f"ports: 127.0.0.1:{old} to 5432/tcp → 127.0.0.1:{new} to 5432/tcp"
    assert running.port == new


@pytest.mark.parametrize("inside", [9187, 10000])
def test_the_server_is_reached_at_its_own_of_several_ports(running: Environment, inside: int) -> None:
    other = ports.free_port("127.0.0.1", f"metrics-{inside}")
    template(running, "")
    path = running.directory / "templates" / "docker-compose.yml.j2"
    path.write_text(path.read_text().replace("ports: [", f'ports: ["127.0.0.1:{other}:{inside}", '))
    recreated(running)
    assert f"127.0.0.1:{running.port}/" in running.run("url").out


@pytest.mark.parametrize(
    ("changes", "field", "shown", "value"),
    [
        ({"resources": {"memory": "300m"}}, "memory", "Memory", 300 << 20),
        ({"resources": {"cpus": 0.5}}, "cpus", "NanoCpus", 500_000_000),
        ({"resources": {"shm_size": "90m"}}, "shm size", "ShmSize", 90 << 20),
        ({"stop_timeout": "7s"}, "stop timeout", "StopTimeout", 7),
    ],
)
def test_a_changed_limit_is_named(
    running: Environment, changes: dict[str, Any], field: str, shown: str, value: int
) -> None:
    reasons = recreated(running.server(**changes))
    assert [each["field"] for each in reasons] == [field]
    seen = running.container
    assert {**seen["HostConfig"], **seen["Config"]}[shown] == value


def test_a_template_of_ones_own_is_what_runs(running: Environment) -> None:
    reasons = recreated(template(running, "restart: 'on-failure:3'"))
    assert {"restart", "environment NOTE"} <= {each["field"] for each in reasons}
    seen = running.container
    assert 'NOTE=a $HOME "quoted" ü' in seen["Config"]["Env"]
    assert seen["HostConfig"]["Init"] is True
    assert seen["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert seen["HostConfig"]["Ulimits"] == [{"Name": "nofile", "Soft": 2048, "Hard": 4096}]

    before = running.container["Id"]
    for key, told in {
        "privileged: true": "uses 'privileged', which is not supported here",
        "hostname: ${HOST}": "uses the variable '${HOST}'",
        "hostname: {{ nothing }}": "'nothing' is undefined",
        "hostname: [": "it is not YAML",
        "cpus: many": "service 'db', cpus: 'many' is not a number of processors",
    }.items():
        ran = template(running, key).run("apply", code=1)
        assert told in ran.err, key
        assert "docker-compose.yml" in ran.err
    assert running.container["Id"] == before


def test_an_option_that_only_the_fingerprint_sees_is_found(running: Environment) -> None:
    recreated(template(running, "cap_drop: [NET_RAW]"))
    (reason,) = recreated(template(running, "cap_drop: [NET_RAW, MKNOD]"))
    assert "other arguments than the compose file has now" in reason["text"]


def test_an_edited_compose_file_is_put_right(running: Environment) -> None:
    path = running.home / "docker-compose.yml"
    text = path.read_text()
    path.write_text(text.replace("shm_size:", "privileged: true\n    shm_size:"))
    assert [each["address"] for each in running.steps()] == ["file/docker-compose.yml"]
    running.apply()
    assert path.read_text() == text
    running.settled()


def test_a_container_that_cannot_be_made_leaves_the_old_one_running(running: Environment) -> None:
    before = running.container["Id"]
    ran = template(running, "cap_add: [NONSENSE]").run("apply", code=1)
    assert "NONSENSE" in ran.err
    seen = running.container
    assert (seen["Id"], seen["State"]["Status"]) == (before, "running")
    running.back()
    assert running.container["Id"] == before
    running.settled()
