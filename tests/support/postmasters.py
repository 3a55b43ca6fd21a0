"""The servers on this machine, in containers or not, as /proc shows them: at no moment two on one data directory."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

_PROC = Path("/proc")
_NO_SERVER = (b"--boot", b"--single", b"--check", b"-C", b"--version", b"-V")


class Watch:
    """Counts, every few milliseconds, the servers on each data directory (device and inode)."""

    def __init__(self) -> None:
        self.most: Counter[tuple[int, int]] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._ended.is_set():
            for directory, count in Counter(postmasters()).items():
                self.most[directory] = max(self.most[directory], count)
            time.sleep(0.01)


def postmasters() -> list[tuple[int, int]]:
    """Return the data directory of each server that runs now.

    A scan takes a while, in which one server may end and the next one start, as in an image's first start. Those that
    still run when the scan has ended all ran at that moment.
    """
    seen = {process: place for process in _PROC.glob("[0-9]*") if (place := _data(process)) is not None}
    return [place for process, place in seen.items() if _data(process) == place]


def _data(process: Path) -> tuple[int, int] | None:
    """Return the data directory of a process that is a server."""
    with suppress(OSError):
        if _name(process) != "postgres" or _name(_PROC / _parent(process)) == "postgres":
            return None
        if not any(each in _NO_SERVER for each in (process / "cmdline").read_bytes().split(b"\0")):
            directory = (process / "cwd").stat()
            return directory.st_dev, directory.st_ino
    return None


def _name(process: Path) -> str:
    return (process / "comm").read_text().strip()


def _parent(process: Path) -> str:
    return (process / "stat").read_text().rpartition(")")[2].split()[1]
