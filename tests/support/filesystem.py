"""A file system that shares blocks, in a file: where root can mount one."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def a_file_system_that_shares_blocks(directory: Path, size: int) -> Iterator[Path]:
    """Have one of ``size`` bytes mounted below a directory."""
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if program is None or os.geteuid() != 0:
        pytest.skip("only root can mount a file system, and mkfs.xfs (Debian: xfsprogs) has to be there")
    image, place = directory / "image", directory / "mounted"
    with image.open("wb") as file:
        file.truncate(size)
    place.mkdir()
    subprocess.run([program, "-q", "-m", "reflink=1", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, place], check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts no XFS")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
