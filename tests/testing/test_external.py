"""The plugin in a server that others run: template and databases are made beside the declared one, and go away."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import yaml
from support.embedded import an_embedded_environment
from support.suite import COMMITS

from provision.clones import pool
from provision.environment import Environment
from provision.model.value import replace
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.embedded import Embedded
    from support.suite import Suite

pytestmark = pytest.mark.server

LEFT = "SELECT count(*) FROM pg_database WHERE datname ~ '^(provision|provisioning)_'"
TEMPLATE = "SELECT count(*) FROM pg_database WHERE datname ~ '^provision_template_'"


@pytest.fixture
def server(directory: Path) -> Iterator[Embedded]:
    with an_embedded_environment(directory / "server", data={"ephemeral": True}) as made:
        made.apply()
        yield made


def test_in_a_server_that_others_run(server: Embedded, embedded: Suite) -> None:
    port = int(server.query("SHOW port")[0][0])
    here = {"runtime": "external", "host": "127.0.0.1", "port": port, "credentials": {"password": "${PW}"}}
    roles = {"app": {"login": True, "password": "${PW}"}}
    document = {**embedded.document, "roles": roles, "server": {"image": "postgres:18", **here, "database": "shop"}}
    embedded.write("provision.yml", yaml.safe_dump(document))
    embedded.environ["PW"] = server.environ["PW"]
    embedded.write("test_many.py", COMMITS.format(count=20))
    embedded.run("-n", "2", passed=20)
    assert server.superuser(LEFT) == server.superuser(TEMPLATE) == [(1,)]
    theirs = "provision_clone_test0_0123456701234567_main_1"
    server.superuser(f"CREATE DATABASE {theirs}")
    killed = embedded.begin("-n", "2")
    time.sleep(4)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    embedded.run(passed=20)
    server.superuser(f"DROP DATABASE {theirs}")  # another developer's, which has stayed
    assert server.superuser(LEFT) == server.superuser(TEMPLATE) == [(1,)]
    assert server.superuser("SELECT count(*) FROM pg_database WHERE datname = 'shop'") == [(1,)]


def test_all_clones_are_those_of_this_spec_and_place(server: Embedded, embedded: Suite, directory: Path) -> None:
    port = int(server.query("SHOW port")[0][0])
    here = {"runtime": "external", "host": "127.0.0.1", "port": port, "credentials": {"password": "${PW}"}}
    roles = {"app": {"login": True, "password": "${PW}"}}
    document = {**embedded.document, "roles": roles, "server": {"image": "postgres:18", **here, "database": "shop"}}
    mine, theirs = [directory / each / "provision.yml" for each in ("mine", "theirs")]
    for each in (mine, theirs):
        shutil.copytree(embedded.directory / "migrations", each.parent / "migrations")
        each.write_text(yaml.safe_dump(document))
    environ = {**embedded.environ, "PW": server.environ["PW"]}
    one, other = [Environment(each, environ=environ) for each in (mine, theirs)]
    names = [one.clone("mine").name, other.clone("theirs").name]
    guards = [pool.guard(one.spec, "running0"), *[pool.guard(each.spec, "over0000") for each in (one, other)]]
    running, over, kept = [f"provision_clone_test0_{each}_main_1" for each in guards]
    with closing(connect(replace(one.superuser, database="postgres"), read_only=False)) as connection:
        pool.hold(connection, guards[0])
        for each in (running, over, kept, "provision_clone_by_hand"):
            server.superuser(f"CREATE DATABASE {each}")
        assert one.drop_clones() == (names[0], over)
    left = server.superuser("SELECT datname FROM pg_database WHERE datname ~ '^provision_clone'")
    assert {name for (name,) in left} == {"provision_clone_by_hand", running, kept, names[1]}
    assert server.superuser(TEMPLATE) == [(1,)]
    with other.clone():
        assert server.superuser(TEMPLATE) == [(1,)]
