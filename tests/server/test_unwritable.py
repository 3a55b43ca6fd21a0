"""Directories that cannot be written: what has nothing to write works, and the rest says what is in its way."""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

from provision.system.files import failure

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@pytest.fixture
def environment() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        yield made


def refused(environment: Embedded, *told: str, words: str = "apply") -> None:
    """See that it fails with a path, the system's words and a next step, and that nothing was started."""
    ran = environment.run(words, code=1)
    for each in (*told, str(environment.home.parent), "next: "):
        assert each in ran.err, ran.all
    assert not (environment.home / "server").exists()


def test_a_file_where_the_directory_belongs(environment: Embedded) -> None:
    environment.home.parent.write_text("mine")
    refused(environment, "Not a directory", f"next: mv {environment.home.parent} ")
    environment.run("plan")
    assert environment.home.parent.read_text() == "mine"
    environment.home.parent.unlink()


@ROOT
def test_no_room(environment: Embedded) -> None:
    with mounted("-t", "tmpfs", "-o", "size=16k", "tmpfs", environment.home.parent):
        environment.home.mkdir()
        fill = environment.home / "fill"
        with pytest.raises(OSError, match="No space left"):
            fill.write_bytes(bytes(1 << 20))
        refused(environment, "No space left on device", "next: make room")
        fill.unlink()


@ROOT
def test_a_file_system_that_is_read_only(environment: Embedded) -> None:
    with mounted("-t", "tmpfs", "-o", "ro", "tmpfs", environment.home.parent):
        refused(environment, "Read-only file system", "next: have it mounted for writing")
        assert "the files of the environment are made there" in environment.run("doctor", code=1).out
    environment.migrations("customers").apply()
    cache = environment.home / "cache"
    for each in cache.iterdir():
        each.unlink()
    with mounted("--bind", environment.directory, environment.directory):
        subprocess.run(("mount", "-o", "remount,bind,ro", environment.directory), check=True)
        for words in ("plan", "apply", "status", "verify", "url", "logs"):
            assert environment.run(words).err == "", words
        assert "nothing to do" in environment.run("apply").out
        assert "are made there" not in environment.run("doctor").out
    assert list(cache.iterdir()) == []
    environment.settled()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_what_to_do_about_it(number: int, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "file"
    told = failure(OSError(number, os.strerror(number), str(path)), f"{path} cannot be written", path)
    assert os.strerror(number) in told.evidence[0]
    assert str(path) in told.evidence[0]
    assert told.next_step is not None
    assert "{" not in told.next_step


@contextmanager
def mounted(*words: str | Path) -> Iterator[None]:
    """Have something mounted."""
    target = Path(words[-1])
    target.mkdir(exist_ok=True)
    subprocess.run(("mount", *words), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", target), check=True)
