"""A major version that the program does not know: its settings are read from the image, before data is made.

PostgreSQL 18 plays it, in a copy of the program without its catalogue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.older import without_settings_of

if TYPE_CHECKING:
    from support.environment import Environment


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables with which a program runs that does not know PostgreSQL 18."""
    return without_settings_of(18, tmp_path_factory.mktemp("older"))


def test_its_settings_are_read_from_the_image(environment: Environment, older: dict[str, str]) -> None:
    environment.server(image="postgres:18", settings={"io_method": "sink", "shared_buffers": "99zz"})
    assert "settings not checked" in environment.run("validate", **older).out
    before = environment.engine.record(environment.name)
    assert "catalogue/postgresql-18" in environment.run("plan", **older).out
    assert before.seen() == []
    refused = environment.run("apply", code=65, **older).err
    assert "`io_method`: `sink` is not a value of this setting" in refused
    assert "`shared_buffers`: `99zz` is not a value of this setting" in refused
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]
    assert environment.engine.containers(environment.name) == [], "the container that was asked is gone"
    assert "`sink`" in environment.run("validate", code=65, **older).err, "what was read is kept"

    environment.server(settings={"io_method": "worker", "shared_buffers": "96MB", "synchronous_commit": "true"})
    assert "catalogue" not in environment.run("plan", **older).out
    environment.apply(**older)
    assert environment.setting("shared_buffers") == "96MB"
    (environment.home / "cache" / "settings.json").unlink()
    ran = environment.run("plan", "--detailed-exitcode", **older)
    assert "nothing to do" in ran.out, "a server that runs tells its settings itself"
    environment.apply(**older)
    assert (environment.home / "cache" / "settings.json").exists()
    environment.server(settings={"shared_buffers": "100MB"})
    assert "shared_buffers: 96MB → 100MB" in environment.run("plan", **older).out
