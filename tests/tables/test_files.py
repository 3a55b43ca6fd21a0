"""Directories that go away while another program still works in them, or follow one that went away."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from provision.system import files

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_is_removed_although_a_program_writes_there(tmp_path: Path) -> None:
    base = tmp_path / "data" / "base"
    base.mkdir(parents=True)
    begun = threading.Event()

    def write() -> None:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            with suppress(OSError):
                (base / uuid4().hex).touch()
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    files.remove(tmp_path / "data")
    writer.join()
    assert list(tmp_path.iterdir()) == []


def test_what_follows_removed_files_is_made_elsewhere_on_ext4(tmp_path: Path) -> None:
    with files.beside(tmp_path / "data", spreads=True) as made:
        (made / "file").touch()
    assert (tmp_path / "data/file").exists()
    kind = subprocess.check_output(("stat", "--file-system", "--format=%T", tmp_path), text=True).strip()
    if kind == "ext2/ext3":  # its name for ext4 as well
        assert "T" in subprocess.check_output(("lsattr", "-d", tmp_path), text=True).split()[0]
