"""New data: without scripts, no temporary server runs, and all is on the disk before the first server starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.image import build, remove

if TYPE_CHECKING:
    from support.environment import Environment

_SYNCED = "The data is on the disk."
_READY = "database system is ready to accept connections"


@pytest.mark.parametrize("major", [14, 18])
def test_initdb_makes_the_database_too(environment: Environment, major: int) -> None:
    environment.server(image=f"postgres:{major}", database='my "own" app').apply()
    log = "\n".join(environment.log())
    assert log.count(_READY) == 1
    assert 0 < log.index(_SYNCED) < log.index(_READY)
    directory = environment.superuser("SHOW data_directory")[0][0]
    assert "provision" not in environment.engine.run(environment.name, "ls", directory)
    assert environment.superuser("SELECT count(*) FROM pg_database WHERE datname = 'my \"own\" app'") == [(1,)]
    environment.settled()


def test_data_in_memory_is_not_synced(environment: Environment) -> None:
    environment.server(data={"ephemeral": True}).apply()
    log = "\n".join(environment.log())
    assert log.count(_READY) == 1
    assert _SYNCED not in log


def test_an_entrypoint_that_asks_for_more_has_its_server(environment: Environment) -> None:
    reference = f"{environment.name}-own-statement:17"
    build(environment.engine, "own-statement", reference)
    try:
        environment.server(image=reference).apply()
        assert "\n".join(environment.log()).count(_READY) > 1
        assert environment.query("SELECT count(*) FROM more") == [(0,)]
        environment.settled()
    finally:
        environment.engine.remove_all(environment.name)
        remove(environment.engine, environment.name)
