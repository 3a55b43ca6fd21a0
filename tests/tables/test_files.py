"""Directories that go away while another program still works in them."""

from __future__ import annotations

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
