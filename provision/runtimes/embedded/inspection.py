"""One environment's data directory and server process: what the spec declares, and what was there at one look."""

from __future__ import annotations

import os.path
import shlex
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from provision.errors import RefusedError, as_word, command
from provision.model import Address, Endpoint, Secret, State, Status, Unknown
from provision.model.value import dataclass, field, replace
from provision.runtimes import Site, Trouble, Watch, collected, server_log
from provision.runtimes.data_directory import with_kept
from provision.runtimes.embedded import checks, command_line
from provision.runtimes.embedded.command_line import Programs, programs
from provision.runtimes.embedded.directories import Places
from provision.runtimes.names import CURRENT_LOGFILES
from provision.spec.model import Ephemeral, Spec
from provision.system.look import Look
from provision.system.machine import Machine
from provision.system.postmaster import Postmaster

_LOG_LINES = 15


class ProcessWatch(Watch):
    """Looks at a process, again and again."""

    def __init__(self, machine: Machine, places: Places) -> None:
        self._machine = machine
        self._places = places
        self._pid: int | None = None

    def last_line(self) -> str:
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


@dataclass(frozen=True)
class Inspection(Site):
    """What is declared, and what is there. ``running`` runs on the data directory ``served``, else the usual one."""

    spec: Spec
    places: Places
    configuration: str = field(repr=False)
    port: int
    served: Path
    running: Postmaster | None
    made_by: str | None
    look: Look = field(repr=False)

    uses_config_file = True

    # --- what is declared, what is there ---

    @property
    def data_directory(self) -> Path:
        """The data directory."""
        return self.places.data

    @property
    def config_file(self) -> str:
        """The configuration as the server sees it."""
        return str(self.places.config)

    @property
    def _data(self) -> Address:
        return Address("data", self.spec.name)

    @property
    def _process(self) -> Address:
        return Address("process", self.spec.name)

    @property
    def desired(self) -> dict[Address, State]:
        """The data directory, and the process that serves it."""
        places = self.places
        return {
            self._data: command_line.DataDirectory(places.data, str(self.spec.server.major)),
            self._process: command_line.Process(self.spec.server.host, self.port, str(places.data), self.config_file),
        }

    @property
    def observed(self) -> dict[Address, State | Unknown]:
        """The same, as far as there is something."""
        found: dict[Address, State | Unknown] = {}
        if self.made_by is not None and not self._has_left_over:
            found[self._data] = command_line.DataDirectory(self.places.data, self.made_by)
        if self.running is not None:
            process, data = command_line.observed_process(self.running), str(self.places.data)
            if process.data != data and os.path.realpath(process.data) == os.path.realpath(data):
                process = replace(process, data=data)  # another path to the same directory
            found[self._process] = process
        return found

    @property
    def _is_ephemeral(self) -> bool:
        return isinstance(self.spec.server.data, Ephemeral)

    @property
    def _has_left_over(self) -> bool:
        """Whether there is data that went out of use when its ephemeral server ended."""
        return self._is_ephemeral and (self.running is None or self.served != self.places.data)

    @property
    def _is_orphaned(self) -> bool:
        return self.running is not None and self.running.is_orphaned

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has initialised the data yet."""
        return self.made_by is None or self._has_left_over

    @property
    def status(self) -> Status:
        """The process in a few words."""
        kept = self.places.generations.kept
        place = f"directory {self.places.data}" + (", until the server stops" if self._is_ephemeral else "")
        if self.running is None:
            return Status("absent" if self.is_fresh else "stopped", with_kept("", kept), data=place)
        process = f"{self.running.pid} as {self.places.user.name}" if self.places.user else str(self.running.pid)
        detail = with_kept("its data directory was deleted" if self._is_orphaned else "", kept)
        return Status("running", detail, process=process, started=self.running.started or None, data=place)

    def endpoint(self, password: Secret) -> Endpoint | None:
        """Return where the process listens, as it says itself."""
        if self.running is None or not self.running.port:
            return None
        return self.at(self.running.host or self.spec.server.host, self.running.port, password)

    def target(self, password: Secret) -> Endpoint:
        """Return where the configuration has it listen."""
        return self.at(self.spec.server.host, self.port, password)

    # --- what a run asks while it works ---

    @cached_property
    def own_programs(self) -> Programs:
        """The programs of the declared version, as the server's user can run them."""
        return programs(checks.choose(self.spec, self.look), self.places, self.look)

    @property
    def programs(self) -> Path | None:
        """The directory of the server's own programs."""
        return checks.installed(self.spec, self.look)

    @property
    def log_command(self) -> str:
        """The command that shows the log."""
        return f"tail -n 50 {as_word(self.places.log)}"

    def watch(self) -> ProcessWatch:
        """Return what tells whether the server has ended while it should become ready."""
        return ProcessWatch(self.look.machine, self.places)

    def explain_end(self) -> Trouble:
        """Return what the log tells of the server's end."""
        return server_log.end_of_server(self.look.machine.last_lines(self.places.log, 60), self.look.began)

    def collected_log(self) -> str:
        """Return the command that shows the log in the data directory; empty where the server writes none."""
        path = collected(self.look.machine.note(self.served, CURRENT_LOGFILES), str(self.served))
        return shlex.join(("tail", "-n", "100", path)) if path else ""

    def logs(self, *, follow: bool, tail: int | None) -> Iterator[str] | None:
        """Return the lines of the log, or None before the first line."""
        if not self.look.exists(self.places.log):
            if self.running is None:
                return None
            raise RefusedError(
                f"the log of {self.spec.name!r} was deleted while its server runs",
                evidence=[f"it was {self.places.log}"],
                next_step=command("restart"),
            )
        return self.look.machine.lines(self.places.log, follow=follow, tail=tail)
