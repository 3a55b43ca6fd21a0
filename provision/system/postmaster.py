"""The server process on a data directory: is it there, and is it really that one.

A server writes ``postmaster.pid`` into its data directory: its number, the directory, when it started, port, socket
directory, address, shared memory, and how far it is. The file outlives a crash and a reboot, and by then another
process may have the number, so a number is believed only when the process behind it is a server on this directory.
https://www.postgresql.org/docs/current/storage-file-layout.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from provision.model.value import dataclass
from provision.runtimes.names import ENVIRONMENT_SETTING
from provision.system import processes
from provision.system.waiting import attempts

_PROC = Path("/proc")
_PATIENCE, _POLL = 10.0, 0.02
_NAMES = ("postgres", "postmaster")
_DELETED = " (deleted)"
_codes: dict[int, int] = {}
_PID, _STARTED, _PORT, _SOCKETS, _ADDRESS, _READINESS = 0, 2, 3, 4, 5, 7


@dataclass(frozen=True)
class Postmaster:
    """A server that runs. ``argv`` is how it was started; ``is_orphaned``: its data directory was deleted under it."""

    pid: int
    port: int
    host: str
    sockets: str
    started: str
    is_ready: bool
    argv: tuple[str, ...] = ()
    is_orphaned: bool = False
    is_stopping: bool = False


def settled(data: Path) -> Postmaster | None:
    """Return the server that runs on a data directory; one that is shutting down gets 10 s to end."""
    for _ in attempts(_PATIENCE, _POLL):
        found = find(data)
        if found is None or not found.is_stopping:
            break
    return found


def find(data: Path) -> Postmaster | None:
    """Return the server that runs on a data directory."""
    lines = _pid_file(data)
    if lines is None:
        return None
    pid = _pid(lines)
    if pid <= 0 or not is_server(pid, data):
        return None

    def line(number: int) -> str:
        return lines[number].strip() if len(lines) > number else ""

    return Postmaster(
        pid=pid,
        port=int(line(_PORT) or 0),
        host=line(_ADDRESS),
        sockets=line(_SOCKETS),
        started=_iso(line(_STARTED)),
        is_ready=line(_READINESS) in ("ready", "standby"),
        is_stopping=line(_READINESS) == "stopping",
        argv=options(data),
    )


def version(data: Path) -> str | None:
    """Return the major version that made a data directory, None where there is no data, empty where we may not look."""
    return note(data, "PG_VERSION")


def note(data: Path, name: str) -> str | None:
    """Return the text of a file in a data directory, None where there is no such file, empty where we may not look."""
    try:
        return (data / name).read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""


def blocks_a_start(data: Path) -> bool:
    """Whether ``postmaster.pid`` is left over in a way that the server does not see through by itself.

    One that names a living process looks like that of a predecessor; one that is empty, after a crash of the machine,
    like that of a server that is just starting.
    """
    lines = _pid_file(data)
    if lines is None:
        return False
    pid = _pid(lines)
    if pid <= 0:
        return True
    if not _PROC.joinpath("self").exists() and _runs_postgres(pid):
        return False  # without /proc there is no way to tell on which directory it is
    return _exists(pid) and not is_server(pid, data)


def is_server(pid: int, data: Path) -> bool:
    """Whether a process is a server on a data directory. It runs in that directory, whatever its path was."""
    if not is_alive(pid):
        return False
    if not _PROC.joinpath("self").exists():
        return _runs_postgres(pid) and f"-D {data}" in _said_by_ps(pid)
    try:
        name = (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return False
    if name not in _NAMES:
        return False
    with suppress(OSError):
        return (_PROC / str(pid) / "cwd").samefile(data)
    return not {("-D", str(data)), ("-D", str(data.resolve()))}.isdisjoint(pairwise(_argv(pid)))


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that has ended keeps its number until its parent takes note of it."""
    if ended(pid) is not None or not _exists(pid):
        return False
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state not in "ZX"


def _runs_postgres(pid: int) -> bool:
    state, _, command = _said_by_ps(pid).partition(" ")
    program = command.partition(" -D ")[0].rpartition("/")[2]
    return not state.startswith("Z") and program.strip() in _NAMES


def _said_by_ps(pid: int) -> str:
    """Ask ``ps`` for the state and the command line of a process, where there is no ``/proc``."""
    return processes.ps("-o", "stat=,command=", "-p", str(pid))


def others(data: Path) -> list[int]:
    """Return the processes of a server whose parent was killed: they keep its memory until they notice."""
    found = []
    for directory in _servers():
        with suppress(OSError):
            if (directory / "cwd").samefile(data):
                found.append(int(directory.name))
    return found


def _servers() -> Iterator[Path]:
    """Find the directories in ``/proc`` of processes with a server's name; elsewhere there are none."""
    for directory in _PROC.glob("[0-9]*"):
        with suppress(OSError, ValueError):
            if (directory / "comm").read_text().strip() in _NAMES:
                yield directory


def ended(pid: int) -> int | None:
    """Return the exit code of a child of ours that has ended (negative: the signal), or None.

    Until it was asked for, the number of such a child looks alive.
    """
    with suppress(ChildProcessError):
        seen, status = os.waitpid(pid, os.WNOHANG)
        if seen == pid:
            _codes[pid] = os.waitstatus_to_exitcode(status)
    return _codes.get(pid)


def _pid(lines: list[str]) -> int:
    return int(lines[_PID]) if lines and lines[_PID].strip().isdigit() else 0


def options(data: Path) -> tuple[str, ...]:
    """Return how the last server was started, as ``postmaster.opts`` says: a program, then quoted arguments."""
    try:
        text = (data / "postmaster.opts").read_text(errors="replace").rstrip("\n")
    except OSError:
        return ()
    program, *rest = text.split(' "')
    return (program, *(each.removesuffix('"') for each in rest))


def orphan(data: Path) -> Postmaster | None:
    """Find a server whose data directory was deleted; it notices that itself only after a minute or so."""
    gone = f"{data.parent.resolve() / data.name}{_DELETED}"
    for directory in _servers():
        with suppress(OSError):
            if str((directory / "cwd").readlink()) == gone:
                pid, argv = int(directory.name), _argv(int(directory.name))
                if "-D" in argv:  # the others have their tasks there
                    return Postmaster(pid, 0, "", "", "", is_ready=False, argv=argv, is_orphaned=True)
    return None


def of_environments() -> list[tuple[str, Path, Postmaster]]:
    """Return the servers of this machine that say whose they are: the environment's directory, the data, the server.

    It takes ``/proc``; elsewhere there are none.
    """
    found = []
    for directory in _servers():
        pid, argv = int(directory.name), _argv(int(directory.name))
        home = next((each.partition("=")[2] for each in argv if each.startswith(ENVIRONMENT_SETTING)), "")
        with suppress(OSError, ValueError):
            if home and "-D" in argv:
                data = Path(argv[argv.index("-D") + 1])
                gone = Postmaster(pid, 0, "", "", "", is_ready=False, argv=argv, is_orphaned=not data.exists())
                found.append((home, data, find(data) or gone))
    return found


def owner(pid: int) -> int:
    """Return the number of the user that a process runs as; -1 where it is gone."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return -1


def _pid_file(data: Path) -> list[str] | None:
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return None


def _argv(pid: int) -> tuple[str, ...]:
    with suppress(OSError):
        return tuple((_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
    return ()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def _iso(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat(timespec="seconds") if seconds.isdigit() else ""
