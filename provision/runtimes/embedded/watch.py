"""Tells whether a server has ended while it should become ready, with what it said last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.runtimes import Trouble, server_log

if TYPE_CHECKING:
    from provision.runtimes.embedded.directories import Places
    from provision.system.machine import Machine

_LOG_LINES = 15


class ProcessWatch:
    """Looks at a process, again and again."""

    def __init__(self, machine: Machine, places: Places) -> None:
        self._machine = machine
        self._places = places
        self._pid: int | None = None

    def said(self) -> str:
        """Return the last line of the server's log."""
        return "".join(self._machine.last_lines(self._places.log, 1))

    def __call__(self) -> Trouble | None:
        """Look once."""
        found = self._machine.postmaster(self._places.data)
        if found is not None:
            self._pid = found.pid
            return None
        code = self._machine.exit_code(self._pid) if self._pid is not None else None
        how = "ended" if code is None else f"ended with exit code {code}"
        is_killed = code in (-9, server_log.KILLED)
        if is_killed:
            how = "was killed (signal 9), which the kernel does for lack of memory,"
        advice = server_log.MORE_MEMORY if is_killed else ""
        lines = self._machine.last_lines(self._places.log, _LOG_LINES)
        return Trouble(f"the server process {how} while it should become ready", tuple(lines), next_step=advice)
