"""A directory in one file, and made again from it; on a file system that can, without copying a block."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.filesystem import a_file_system_that_shares_blocks

from provision.system import packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LARGE = 8 << 20


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """A file system that shares blocks, in a file."""
    with a_file_system_that_shares_blocks(tmp_path, 400 << 20) as place:
        yield place


def filled(directory: Path) -> Path:
    (directory / "base" / "1").mkdir(parents=True)
    (directory / "base" / "1" / "large").write_bytes(os.urandom(_LARGE))
    (directory / "base" / "1" / "empty").touch()
    (directory / "short").write_text("18\n")
    (directory / "log").write_bytes(b"x" * 5000)
    (directory / "short").chmod(0o640)
    return directory


def made_again(place: Path) -> Path:
    source, copied = filled(place / "source"), place / "copied"
    index = packed.pack(source, place / "pack", leaves=lambda _: False, kept={"log": 10})
    copied.mkdir()
    packed.unpack(place / "pack", index, copied, None)
    return copied


def test_what_is_made_again_is_the_same(tmp_path: Path) -> None:
    copied = made_again(tmp_path)
    names = [name for name, _ in packed.walked(copied)]
    assert names == [name for name, _ in packed.walked(tmp_path / "source")]
    for name in ("base/1/large", "base/1/empty", "short"):
        assert (copied / name).read_bytes() == (tmp_path / "source" / name).read_bytes()
    assert (copied / "log").read_bytes() == b"x" * 10 + bytes(4990)
    assert (copied / "short").stat().st_mode & 0o777 == 0o640


def test_a_pack_that_was_cut_is_refused(tmp_path: Path) -> None:
    index = packed.pack(filled(tmp_path / "source"), tmp_path / "pack", leaves=lambda _: False, kept={})
    os.truncate(tmp_path / "pack", _LARGE // 2)
    (tmp_path / "copied").mkdir()
    with pytest.raises(OSError, match="not complete"):
        packed.unpack(tmp_path / "pack", index, tmp_path / "copied", None)


@pytest.mark.long  # a pipeline may not mount file systems, and skips nothing
def test_blocks_are_shared_where_the_file_system_can(xfs: Path) -> None:
    filled(xfs / "source")
    index = packed.pack(xfs / "source", xfs / "pack", leaves=lambda _: False, kept={})
    os.sync()
    before = shutil.disk_usage(xfs).used
    (xfs / "copied").mkdir()
    packed.unpack(xfs / "pack", index, xfs / "copied", None)
    os.sync()
    assert shutil.disk_usage(xfs).used - before < _LARGE // 4
