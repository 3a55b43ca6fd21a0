"""Environments with data in them, and what provision keeps of it in their servers."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.installation import an_installation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from support.environment import Environment

_PATIENCE = 60


@contextmanager
def an_applied(request: pytest.FixtureRequest, runtime: str, major: int) -> Iterator[Environment]:
    """Have an environment with two revisions and a row, applied."""
    with ExitStack() as stack:
        directory = stack.enter_context(an_open_directory())
        server: dict[str, Any] = {"image": f"postgres:{major}"}
        if runtime == "docker":
            engine = request.getfixturevalue("engine")
            made: Environment = stack.enter_context(an_environment(engine, directory / "project"))
        else:
            made = stack.enter_context(an_embedded_environment(directory / "project"))
            server |= {"bin_dir": str(an_installation(major, directory))} if major != 18 else {}
        made.server(**server).migrations("userdata", "orders").apply()
        made.query("CREATE TABLE canary (n int PRIMARY KEY)")
        made.query("INSERT INTO canary VALUES (1)")
        yield made


def kept(environment: Environment) -> list[str]:
    """Return the databases that provision keeps in a server."""
    found = environment.superuser("SELECT datname FROM pg_database WHERE datname ~ '^provision_' ORDER BY 1")
    return [name for (name,) in found]


def drop_kept(environment: Environment) -> None:
    """Drop them."""
    for name in kept(environment):
        environment.superuser(f'DROP DATABASE "{name}" WITH (FORCE)')


def wait_for_the_server(environment: Environment) -> None:
    """Wait until the server has given up what it did for the run that was killed."""
    deadline = time.monotonic() + _PATIENCE
    busy = "SELECT pid, query FROM pg_stat_activity WHERE application_name = 'provision'"
    while found := environment.superuser(busy):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
