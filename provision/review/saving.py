"""Writes the page of a review, and opens it: the only part of a review that does anything."""

from __future__ import annotations

import os
from pathlib import Path

from provision.errors import UsageError
from provision.system import browser
from provision.system.files import write_atomically

_OURS = b'content="provision '
_HEAD = 1024


def save(path: Path, text: str) -> None:
    """Write a page into a new file, or in the place of an earlier page.

    Raises:
        UsageError: something else is there.
        ProvisionError: the directory is not writable, the disk is full.
    """
    if path.exists() and not _is_ours(path):
        raise UsageError(
            f"{os.path.relpath(path)} is there, and is no report of provision, so it was left as it is",
            next_step="-o with another file; -o - writes to standard output",
        )
    write_atomically(path.resolve() if path.is_symlink() else path, text, 0o644)


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _OURS in file.read(_HEAD)


def show(path: Path) -> bool:
    """Open a page in the browser of the user, and tell whether there is one."""
    return browser.show(path)
