"""Where nothing is saved or brought back: servers that others run, and disks without room."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.embedded import an_embedded_environment, an_open_directory
from support.environment import an_environment
from support.foreign import a_foreign_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.engine import Engine


@pytest.mark.docker
def test_a_server_of_others_is_left_alone(engine: Engine, tmp_path: Path) -> None:
    with a_foreign_server(engine, 17) as server, an_environment(engine, tmp_path / "project") as environment:
        server.declare(environment).declare().apply()
        for words in (("snapshot", "save", "one"), ("snapshot", "list"), ("snapshot", "undo"), ("reset", "--yes")):
            ran = environment.run(*words, code=1)
            assert "is external" in ran.err
            assert "provision backup make spec.yml" in ran.err
        assert server.execute("SELECT datname FROM pg_database WHERE datname ~ '^provision_'") == []


@pytest.mark.server
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_copy_without_room_is_refused() -> None:
    with an_open_directory() as directory:
        disk = directory / "disk"
        disk.mkdir(mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", disk], check=True)
        try:
            with an_embedded_environment(directory / "project", data={"path": str(disk / "db")}) as made:
                made.apply()
                made.query("CREATE TABLE large AS SELECT g, repeat('x', 900) FROM generate_series(1, 90000) AS g")
                made.query("CHECKPOINT")
                ran = made.run("snapshot", "save", "one", code=1)
                assert "the copy needs" in ran.err
                assert "provision snapshot list" in ran.err
                made.settled()
        finally:
            subprocess.run(["umount", "-l", disk], check=False)
