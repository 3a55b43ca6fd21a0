"""A tunnel that stays open after the command: its process and its port are noted in the directory of the environment.

The note alone says nothing: what counts is that the process runs, with the arguments that lead where ours would.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from provision.errors import UnavailableError
from provision.model.ssh import Way
from provision.runtimes.names import TUNNEL
from provision.system import owned, processes, tunnel
from provision.system.files import explaining, make_directory
from provision.system.waiting import attempts

_LOG = f"{TUNNEL}.log"
_PATIENCE, _POLL = 5.0, 0.02


class Note(NamedTuple):
    """What is noted of a tunnel: the port that it had, and its process; 0: it was ended."""

    port: int
    process: int

    @property
    def runs(self) -> bool:
        """Whether the process still forwards the port."""
        return f"{tunnel.HERE}:{self.port}:" in _arguments(self.process)

    def leads(self, way: Way) -> bool:
        """Whether it is open, and leads there."""
        return any(
            _arguments(self.process).endswith(" ".join(tunnel.arguments(way, self.port, all_or_none=each)))
            for each in (True, False)
        )


def noted(home: Path) -> Note | None:
    """Return what is noted of the tunnel of an environment; None where there never was one."""
    try:
        found = json.loads(owned.text(home / TUNNEL) or "")
        return Note(int(found["port"]), int(found["process"]))
    except (ValueError, TypeError, KeyError):
        return None


def port(home: Path, way: Way) -> int | None:
    """Return the port of the tunnel that is open and leads there."""
    note = noted(home)
    return note.port if note is not None and note.leads(way) else None


def open_(home: Path, way: Way) -> tuple[Note, bool]:
    """Have a tunnel stay open; return it, and whether it is a new one.

    Its port is the one that it had before, else the number of the other end, else any that is free.

    Raises:
        UnavailableError: ``ssh`` cannot log in.
    """
    with _held(home) as file:
        before = noted(home)
        if before is not None and before.leads(way):
            return before, False
        if before is not None:
            _end(before)
        made = _start(home, way, (*([before.port] if before else []), way.port))
        _write(file, made)
        return made, True


def close(home: Path) -> bool:
    """End the tunnel of an environment, whose directory is ``home``, and remember its port; False: none was open."""
    if noted(home) is None:
        return False
    with _held(home) as file:
        found = noted(home)
        if found is None or not _end(found):
            return False
        _write(file, Note(found.port, 0))
        return True


def last_words(home: Path) -> list[str]:
    """Return what ``ssh`` said before the tunnel ended by itself."""
    note = noted(home)
    return (owned.text(home / _LOG) or "").splitlines()[-3:] if note is not None and note.process else []


def _start(home: Path, way: Way, wishes: tuple[int, ...]) -> Note:
    all_or_none, ports = True, list(wishes)
    while True:
        chosen = ports.pop(0) if ports else tunnel.free_port()
        log = owned.open_own(home / _LOG, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            line = tunnel.argv(tunnel.LASTING, way, chosen, all_or_none=all_or_none)
            pipes: dict[str, Any] = {"stdin": processes.DEVNULL, "stdout": processes.PIPE, "stderr": log}
            started = processes.start(line, env=tunnel.environ(), start_new_session=True, **pipes)
        finally:
            os.close(log)
        assert started.stdout is not None  # noqa: S101  # it is a pipe
        with started.stdout:
            said_so = tunnel.announced(started.stdout)
        words = owned.text(home / _LOG) or ""
        taken = tunnel.taken_ports(words)
        if said_so and chosen not in taken:
            return Note(chosen, started.pid)
        started.terminate()
        started.wait()
        if not taken:
            raise tunnel.failed(way, words)
        all_or_none = all_or_none and chosen in taken
        ports = ports if chosen in taken else [chosen, *ports]


def _end(note: Note) -> bool:
    """End the process of a tunnel; False: it does not run."""
    if not note.process or not note.runs:
        return False
    with suppress(ProcessLookupError):
        os.kill(note.process, signal.SIGTERM)
    if any(not note.runs for _ in attempts(_PATIENCE, _POLL)):
        return True
    raise UnavailableError(
        f"the tunnel at {tunnel.HERE}:{note.port} does not end", next_step=f"kill -9 {note.process}   # ssh"
    )


def _arguments(process: int) -> str:
    """Return the command line of a process; empty where it does not run."""
    if not process:
        return ""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "" if Path("/proc/self").exists() else processes.ps("-o", "args=", "-p", str(process))


@contextmanager
def _held(home: Path) -> Iterator[int]:
    """Open the note, and keep others from changing it within the block."""
    make_directory(home, 0o755)
    owned.keep(home)
    path = home / TUNNEL
    descriptor = owned.open_own(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with explaining(f"{path} cannot be locked", path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _write(descriptor: int, note: Note) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(note._asdict()).encode(), 0)
