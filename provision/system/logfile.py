"""A log file that grows: its last lines, and those that come."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from provision.system.owned import open_own, unfollowed
from provision.system.waiting import attempts

_BLOCK = 1 << 16
_PAUSE = 0.2


def lines(path: Path, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
    """Yield the lines of a file, or only the last ``tail``; with ``follow`` also those that are still to come.

    Raises:
        RefusedError: the file is a link, or another user's: what it shows is not the log.
    """
    if not os.path.lexists(path):
        return
    with os.fdopen(open_own(path, os.O_RDONLY, 0o600), "rb") as file:
        if tail is not None:
            file.seek(_start_of_last(file, tail))
        rest = b""
        for _ in attempts(math.inf if follow else 0.0, _PAUSE):
            with suppress(OSError):
                if path.stat().st_size < file.tell():  # it was started again
                    file.seek(0)
            for line in iter(file.readline, b""):
                rest += line
                if rest.endswith(b"\n"):
                    yield rest.decode(errors="replace").rstrip("\r\n")
                    rest = b""
        if rest:
            yield rest.decode(errors="replace")


def last(path: Path, count: int, *, since: int = 0) -> list[str]:
    """Return the last lines of what was written after byte ``since``."""
    try:
        with open(path, "rb", opener=unfollowed) as file:  # Path.open takes no opener
            file.seek(max(since, _start_of_last(file, count)))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def size(path: Path) -> int:
    """Return the size of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _start_of_last(file: IO[bytes], count: int) -> int:
    """Return the byte at which the last ``count`` lines begin, reading backwards."""
    at = file.seek(0, os.SEEK_END)
    if count <= 0:
        return at
    wanted, text = count + 1, b""
    while at > 0 and text.count(b"\n") < wanted:
        step = min(_BLOCK, at)
        at -= step
        file.seek(at)
        text = file.read(step) + text
    kept = b"".join(text.splitlines(keepends=True)[-count:])
    return at + len(text) - len(kept)
