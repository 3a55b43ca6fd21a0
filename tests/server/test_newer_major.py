"""A major version that the program does not know, without Docker: its settings are read from its own programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.embedded import an_embedded_environment, an_open_directory
from support.older import without_settings_of

if TYPE_CHECKING:
    from pathlib import Path


def test_its_settings_are_read_from_the_programs(tmp_path: Path) -> None:
    older = without_settings_of(18, tmp_path / "older")
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as environment:
        environment.server(image="postgres:latest", settings={"io_method": "sink"})
        assert "settings not checked" in environment.run("validate", **older).out
        refused = environment.run("apply", code=65, **older).err
        assert "`io_method`: `sink` is not a value of this setting" in refused
        assert not (environment.home / "server").exists()
        environment.server(settings={"io_method": "worker"}).apply(**older)
        assert environment.setting("io_method") == "worker"
        assert "nothing to do" in environment.apply(**older).out
