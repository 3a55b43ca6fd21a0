"""New data: without scripts, no temporary server runs, and all is on the disk before the first server starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
