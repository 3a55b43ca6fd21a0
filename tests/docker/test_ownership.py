"""Only what was made for an environment is removed with it; what was there before is named, with what to type."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from support.environment import an_environment

from provision.system import files

if TYPE_CHECKING:
    from pathlib import Path

    from support.environment import Environment


def kept(environment: Environment, *told: str) -> None:
    """See that the data is not removed, nor anything else, and that the server keeps running."""
    before = environment.container["Id"], environment.started()
    ran = environment.run("destroy", "--data", "--yes", code=1)
    for each in (*told, "nothing was removed", "next: provision destroy spec.yml "):
        assert each in ran.err, ran.all
    assert "rm -r" not in ran.err
    assert (environment.container["Id"], environment.started()) == before
    assert environment.query("SELECT answer FROM kept") == [(42,)]


def test_a_volume_of_somebody_else(environment: Environment) -> None:
    theirs = f"{environment.name}-theirs"
    environment.engine.client.create_volume(theirs)
    environment.server(data={"volume": theirs}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    kept(environment, f"the volume '{theirs}' was not made for", f"&& docker volume rm {theirs}")
    environment.run("destroy")
    assert environment.engine.client.inspect_volume(theirs)
    environment.apply()
    assert environment.query("SELECT answer FROM kept") == [(42,)]


def test_a_directory_that_was_there_before(environment: Environment, tmp_path: Path) -> None:
    place = environment.directory / "db"
    environment.server(data={"path": "./db"}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    environment.run("stop")
    with an_environment(environment.engine, tmp_path / "other") as other:
        other.server(data={"path": str(place)}).apply()
        kept(other, f"the directory {place} was not made for", f"mv {place} {place}.old")
        other.run("stop")
    moved = environment.directory.rename(tmp_path / "moved")
    environment.directory, environment.spec, environment.home = (
        moved, moved / "spec.yml", moved / ".provision" / environment.name
    )  # fmt: skip
    environment.apply()
    record = environment.home / "data-directory"
    remembered = record.read_text()
    record.unlink()
    kept(environment, f"the directory {moved / 'db'} was not made for", "that file was deleted")
    record.write_text(f"{(moved / 'db').stat().st_ino}\n")  # an inode alone goes to another directory once it is free
    kept(environment, f"the directory {moved / 'db'} was not made for", "tells of another directory")
    record.write_text("1\n")
    kept(environment, "tells of another directory", "(the directory stays)\n")
    record.write_text(remembered)
    shutil.copytree(moved / "db", moved / "copy")
    environment.run("destroy", "--data", "--yes")
    assert not (moved / "db").exists()
    assert (moved / "copy" / "PG_VERSION").exists()


def test_a_directory_that_was_made_anew_is_another_one(tmp_path: Path) -> None:
    place, record = tmp_path / "db", tmp_path / "record"
    files.make_own_directory(place, 0o700, record)
    assert files.is_remembered(place, record)
    place.rename(tmp_path / "moved")
    (tmp_path / "moved" / "more").mkdir()
    (tmp_path / "moved").chmod(0o755)
    assert files.is_remembered(tmp_path / "moved", record)
    inode = (tmp_path / "moved").stat().st_ino
    for _ in range(20):  # a file system that gives a free inode away at once does so here
        files.remove(tmp_path / "moved")
        (tmp_path / "moved").mkdir()
        assert not files.is_remembered(tmp_path / "moved", record)
    assert f"inode {inode}, born " in record.read_text()


def test_a_directory_that_somebody_is_on(environment: Environment) -> None:
    environment.server(data={"path": "./db"}).apply()
    environment.query("CREATE TABLE kept AS SELECT 42 AS answer")
    client, name = environment.engine.client, environment.name
    client.rename(name, f"{name}-by-hand")
    ran = environment.run("destroy", "--data", "--yes", code=1)
    assert f"is in use by the container '{name}-by-hand'" in ran.err
    client.rename(f"{name}-by-hand", name)
    assert environment.query("SELECT answer FROM kept") == [(42,)]
