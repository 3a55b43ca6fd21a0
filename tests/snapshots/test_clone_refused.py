"""A server whose system refuses to clone files copies them, in the same command."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from provision.model import Endpoint, Secret
from provision.runtimes import Watch
from provision.system import database_copy
from provision.system.postgres import connect, rows
from provision.system.readiness import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["copy_file_range"], "action": "SCMP_ACT_ERRNO"}],
}


@pytest.fixture
def endpoint(engine: Engine) -> Iterator[Endpoint]:
    """A server of PostgreSQL 18 that copies files, and may not clone them."""
    client, password = engine.client, Secret(uuid4().hex)
    host = client.create_host_config(
        security_opt=[f"seccomp={json.dumps(PROFILE)}"], port_bindings={5432: ("127.0.0.1", None)}
    )
    made = client.create_container(
        "postgres:18", ["postgres", "-c", "fsync=off"], host_config=host, ports=[5432],
        environment={"POSTGRES_PASSWORD": password.reveal(), "POSTGRES_DB": "shop"},
    )["Id"]  # fmt: skip
    try:
        client.start(made)
        port = int(client.inspect_container(made)["NetworkSettings"]["Ports"]["5432/tcp"][0]["HostPort"])
        found = Endpoint("127.0.0.1", port, "postgres", password, "postgres")
        wait(found, 60, database="postgres", watch=Watch(), tell=lambda _: None, log_command="docker logs")
        yield found
    finally:
        client.remove_container(made, force=True, v=True)


@pytest.mark.docker
def test_files_are_copied_where_the_system_does_not_clone_them(endpoint: Endpoint) -> None:
    with closing(connect(endpoint, "postgres", read_only=False)) as connection:
        assert database_copy.way(connection, "shop").settings == ("SET file_copy_method = clone",)
        database_copy.copy(endpoint, "shop", database_copy.New("one"))
        copies = database_copy.Copies(connection, "shop")
        for each in ("two", "three"):
            copies.make(each)
        assert copies.way.settings == ()
        found = rows(connection, "SELECT datname::text FROM pg_database WHERE datname IN ('one', 'two', 'three')")
        assert len(found) == 3
