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


def test_no_login_fails_on_the_way(environment: Environment) -> None:
    environment.apply()
    too_early = "the database system is starting up"  # it listens a moment before it lets anyone in
    assert [line for line in environment.log() if "FATAL" in line and too_early not in line] == []


@pytest.mark.parametrize(("image", "zone"), [("postgres:17", "Etc/UTC"), ("berlin", "Europe/Berlin")])
def test_initdb_finds_the_time_zone_of_the_image(environment: Environment, image: str, zone: str) -> None:
    reference = image if ":" in image else f"{environment.name}-{image}:17"
    if reference != image:
        build(environment.engine, image, reference)
    try:
        environment.server(image=reference).apply()
        ((directory,),) = environment.superuser("SHOW data_directory")
        made = environment.engine.run(environment.name, "cat", f"{directory}/postgresql.conf")
        assert f"\ntimezone = '{zone}'" in made
        assert f"\nlog_timezone = '{zone}'" in made
    finally:
        environment.engine.remove_all(environment.name)
        remove(environment.engine, environment.name)


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
