"""The sessions of a migration lead past the engine's proxy, and env.py sees the published address."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from support.environment import ENV

from provision.system.bridge import place

if TYPE_CHECKING:
    from support.environment import Environment

NOTED = """
def note(engine):
    with engine.connect() as connection:
        info = connection.connection.dbapi_connection.info
        engine.dialect.dbapi.connect(host=info.host, port=info.port, user=info.user, password=info.password).close()
        given = getattr(info, "dsn_parameters", None) or info.get_parameters()
        seen = connection.exec_driver_sql("SELECT host(inet_client_addr())").scalar()
        return {"url": [engine.url.host, engine.url.port], "client": seen, **given, "port": str(info.port)}

import json, pathlib
other = create_engine(engine.url.set(host="localhost"), poolclass=pool.NullPool)
pathlib.Path("noted.json").write_text(json.dumps([note(engine), note(other)]))
"""


def apply_and_note(environment: Environment, **more: Any) -> list[dict[str, Any]]:
    """Migrate, and return what env.py has seen of two connections: by its URL, and by another name of the host."""
    environment.migrations("customers")
    (environment.directory / "migrations" / "env.py").write_text(ENV + NOTED)
    environment.declare(migrations={"cwd": ".", **more}).apply()
    noted: list[dict[str, Any]] = json.loads((environment.directory / "noted.json").read_text())
    return noted


def addresses(environment: Environment) -> tuple[str, str]:
    """Return the container's own address, and its gateway's."""
    (network,) = environment.container["NetworkSettings"]["Networks"].values()
    return network["IPAddress"], network["Gateway"]


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+psycopg"])
def test_a_connection_to_our_address_is_led_past_it(environment: Environment, driver: str) -> None:
    ours, other = apply_and_note(environment, url_driver=driver)
    at, gateway = addresses(environment)
    assert ours["url"] == ["127.0.0.1", environment.port]
    assert (ours["host"], ours["port"]) == (at, "5432")
    assert (other["host"], other["port"]) == ("localhost", str(environment.port))
    assert ours["client"] == other["client"] == gateway


def test_what_the_spec_says_of_the_address_counts(environment: Environment) -> None:
    ours, _ = apply_and_note(environment, env={"PGHOSTADDR": "127.0.0.1"})
    assert (ours["hostaddr"], ours["port"]) == ("127.0.0.1", str(environment.port))


def test_another_container_is_never_taken_for_ours(environment: Environment) -> None:
    container = environment.migrations("customers").apply() and environment.container
    at, gateway = addresses(environment)
    published = {"5432/tcp": [{"HostPort": str(environment.port)}]}
    other_port = {"HostConfig": {"PortBindings": {"5433/tcp": published["5432/tcp"]}}}
    not_published = {"HostConfig": {"PortBindings": {"5432/tcp": [{"HostPort": "1"}]}}}
    not_here = {"NetworkSettings": {"Networks": {"bridge": {"IPAddress": at, "Gateway": "192.0.2.1"}}}}
    none = {"NetworkSettings": {"Networks": {"host": {"IPAddress": "", "Gateway": ""}}}}
    assert gateway != "192.0.2.1"
    assert place(container, environment.port) == (at, 5432)
    several = {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "1"}], **published}}}
    assert place({**container, **several}, environment.port) == (at, 5432)
    for change in (other_port, not_published, not_here, none, {"State": {"Pid": os.getpid()}}, {"State": {}}):
        assert place({**container, **change}, environment.port) is None, change
