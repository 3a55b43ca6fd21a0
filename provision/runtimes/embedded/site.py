"""One environment's data directory and server process, as they were seen once, and the steps that converge them."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.kinds import Ground
from provision.model import (
    Action,
    Address,
    CopyPath,
    Effect,
    Endpoint,
    MakeDirectory,
    RemovePath,
    RunLocalSql,
    Secret,
    ServerCall,
    State,
    Status,
    Step,
    Unknown,
    WaitReady,
    changes,
)
from provision.runtimes import DATA_RECORD, SUPERUSER, superusers, tenants
from provision.runtimes.embedded import guards, states
from provision.runtimes.embedded.commands import initdb_argv, programs, server_argv
from provision.runtimes.embedded.watch import ProcessWatch
from provision.spec.model import DataPath, Ephemeral

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provision.runtimes import Look
    from provision.runtimes.embedded.commands import Programs
    from provision.runtimes.embedded.places import Places
    from provision.spec.model import Spec
    from provision.system.postmaster import Postmaster

_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1", "*": "127.0.0.1"}  # noqa: S104  # compared
_GONE = "the data of an ephemeral server is gone when it stops"


@dataclass(frozen=True)
class EmbeddedSite:
    """Implements :class:`provision.runtimes.Site`. ``running`` is a data directory with the server that runs on it."""

    spec: Spec
    places: Places
    configuration: str = field(repr=False)
    port: int
    running: tuple[Path, Postmaster] | None
    made_by: str | None
    look: Look = field(repr=False)

    is_ours = True
    is_told_by_file = True
    container_name = None

    # --- what is declared, what is there ---

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
            self._data: states.DataDirectory(places.data, str(self.spec.server.major)),
            self._process: states.Process(self.spec.server.host, self.port, str(places.data), self.config_file),
        }

    @property
    def observed(self) -> dict[Address, State | Unknown]:
        """The same, as far as there is something."""
        found: dict[Address, State | Unknown] = {}
        if self.made_by is not None and not self._has_left_over:
            found[self._data] = states.DataDirectory(self.places.data, self.made_by)
        if self.running is not None:
            found[self._process] = states.observed(self.running[1])
        return found

    @property
    def _is_ephemeral(self) -> bool:
        return isinstance(self.spec.server.data, Ephemeral)

    @property
    def _has_left_over(self) -> bool:
        """Whether there is data that went out of use when its ephemeral server ended."""
        return self._is_ephemeral and (self.running is None or self.running[0] != self.places.data)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has initialised the data yet."""
        return self.made_by is None or self._has_left_over

    @property
    def status(self) -> Status:
        """The process in a few words."""
        if self.running is None:
            return Status("absent" if self.is_fresh else "stopped", data=self._data_place)
        found = self.running[1]
        user = f" as {self.places.user.name}" if self.places.user else ""
        detail = "its data directory was deleted" if found.is_orphaned else ""
        return Status(
            "running",
            detail=detail,
            process=f"{found.pid}{user}",
            started=found.started or None,
            data=self._data_place,
        )

    @property
    def _data_place(self) -> str:
        place = f"directory {self.places.data}"
        return f"{place}, until the server stops" if self._is_ephemeral else place

    def endpoint(self, password: Secret) -> Endpoint | None:
        """Return where the process listens, as it says itself."""
        if self.running is None or not self.running[1].port:
            return None
        return self._endpoint(self.running[1].host or self.spec.server.host, self.running[1].port, password)

    def target(self, password: Secret) -> Endpoint:
        """Return where the configuration has it listen."""
        return self._endpoint(self.spec.server.host, self.port, password)

    def _endpoint(self, host: str, port: int, password: Secret) -> Endpoint:
        server = self.spec.server
        return Endpoint(_REACHED.get(host, host), port, server.user, password, server.database)

    # --- what a run asks while it works ---

    @cached_property
    def _programs(self) -> Programs:
        server = self.spec.server
        found = list(self.look.machine.installations(server.bin_dir, server.major))
        return programs(guards.choose(server.major, server.bin_dir, found), self.places, self.look)

    @property
    def programs(self) -> Path | None:
        """The directory of the server's own programs."""
        return next(
            (each.programs for each in self.look.machine.installations(self.spec.server.bin_dir, self.spec.server.major)
             if each.major == self.spec.server.major), None,
        )  # fmt: skip

    @property
    def log_command(self) -> str:
        """The command that shows the log."""
        return f"tail -n 50 {self.places.log}"

    def watch(self) -> ProcessWatch:
        """Return what tells whether the server has ended while it should become ready."""
        return ProcessWatch(self.look.machine, self.places)

    def calm(self) -> tuple[Effect, ...]:
        """Nothing starts the server again by itself."""
        return ()

    def logs(self, *, follow: bool, tail: int | None) -> Iterator[str] | None:
        """Return the lines of the log, or None while there is none."""
        if not self.look.exists(self.places.log):
            if self.running is None:
                return None
            raise RefusedError(
                f"the log of {self.spec.name!r} was deleted while its server runs",
                evidence=[f"it was {self.places.log}"],
                next_step=f"provision restart {os.path.relpath(self.spec.path)}",
            )
        return self.look.machine.lines(self.places.log, follow=follow, tail=tail)

    # --- what kinds build on ---

    def ground(self, *, starting: bool) -> Ground:
        """Return how this server is restarted and spoken to."""

        def local_sql(script: str, password: Secret) -> RunLocalSql:
            running = self.running[1] if self.running else None
            sockets = running.sockets if running else str(self.places.sockets)
            port = running.port if running else self.port
            others = superusers(self.spec, self.look)
            directory = type(self.places.home)(sockets)
            return RunLocalSql(
                script, password, self.spec.server.user, socket_directory=directory, port=port, others=others
            )

        hba, spec = self.places.data / "pg_hba.conf", os.path.relpath(self.spec.path)
        return Ground(
            self._publish,
            (self._stop_it, *self._start_it, self._ready),
            local_sql,
            starting,
            superuser=(self.look.text(self.spec.home / SUPERUSER) or "").strip(),
            admitting=f"echo host all all all scram-sha-256 >> {hba}; provision restart {spec}",
        )

    @property
    def _ready(self) -> WaitReady:
        return WaitReady(self.spec.server.ready_timeout)

    @property
    def _publish(self) -> tuple[Effect, ...]:
        places = self.places
        return () if places.config == places.rendered else (CopyPath(places.rendered, places.config),)

    @property
    def _start_it(self) -> tuple[Effect, ...]:
        places = self.places
        start = ServerCall(
            "start",
            places.data,
            server_argv(self._programs.directory, places),
            user=places.user.name if places.user else None,
            log=places.log,
            sockets=places.sockets,
            link=places.link,
            timeout=self.spec.server.ready_timeout,
        )
        return (*self._programs.copies, *self._publish, start)

    @property
    def _stop_it(self) -> ServerCall:
        data, sockets = self.places.data, self.places.sockets
        if self.running is not None:
            data = self.running[0]
            if self.running[1].sockets:
                sockets = type(sockets)(self.running[1].sockets)
        return ServerCall("stop", data, sockets=sockets, timeout=self.spec.server.stop_timeout)

    # --- the plan ---

    def plan(self) -> tuple[Step, ...]:
        """Return the steps to a running server.

        Raises:
            RefusedError: they would disturb what is not ours, or cannot work on this machine.
        """
        guards.check_data(self.spec, self.places, self.look)
        guards.check_configuration(self.configuration, self.spec.server.host, self.port)
        process = self._plan_process()
        return (*self._plan_data(), *process)

    def _plan_data(self) -> tuple[Step, ...]:
        if self._data in self.observed:
            return ()
        places, effects = self.places, list(self._programs.copies)
        if places.root != places.home:
            effects.append(MakeDirectory(places.root))
        if self._has_left_over:
            effects.append(RemovePath(places.data))
        if self.running is not None and self.running[1].is_orphaned:
            effects.append(self._stop_it)
        argv = initdb_argv(self._programs.directory, self.spec, durable=not self._is_ephemeral)
        user = places.user.name if places.user else None
        record = places.data / DATA_RECORD if isinstance(self.spec.server.data, DataPath) else None
        effects.append(ServerCall("initialise", places.data, argv, user=user, record=record))
        why = (_GONE,) if self.made_by is not None else ()
        return (Step(self._data, Action.CREATE, None, self.desired[self._data], tuple(effects), why=why),)

    def _plan_process(self) -> tuple[Step, ...]:
        before, after = self.observed.get(self._process), self.desired[self._process]
        if before == after and self._data in self.observed:
            return ()
        if self.running is None and not self.is_fresh:
            guards.check_alone(self.places.data, self.look)
        here = self.spec.server.host, self.port
        listening = self.running is not None and (self.running[1].host, self.running[1].port) == here
        orphaned = self.running is not None and self.running[1].is_orphaned
        if not listening and not orphaned:
            guards.check_port(*here, self.spec.name, self.look)
        if not isinstance(before, State):
            return (Step(self._process, Action.START, None, after, self._start_it),)
        why = ("its data directory was deleted",) if orphaned else changes(before, after)
        text = "restart: connections are dropped for about a second"
        if self.running is not None and self.running[0] != self.places.data and not orphaned:
            text += f"; the data so far stays in {self.running[0]}"
        effects = (self._stop_it, *self._start_it)
        return (Step(self._process, Action.RESTART, before, after, effects, why=why, consequence=text),)

    # --- verbs ---

    def _lifecycle(self, action: Action, *effects: Effect, lost: bool = False, text: str = "") -> Step:
        before = self.observed.get(self._process)
        after = None if action in (Action.STOP, Action.REMOVE) else self.desired[self._process]
        return Step(self._process, action, before, after, effects, consequence=text, destroys=lost)

    def start(self) -> tuple[Step, ...]:
        """Start the server on data that was made before."""
        if self.running is not None or self.is_fresh:
            return ()
        guards.check_data(self.spec, self.places, self.look)
        guards.check_alone(self.places.data, self.look)
        guards.check_port(self.spec.server.host, self.port, self.spec.name, self.look)
        return (self._lifecycle(Action.START, *self._start_it, self._ready),)

    def stop(self) -> tuple[Step, ...]:
        """Stop the server; what is ephemeral goes with it."""
        if self.running is None:
            return ()
        if not self._is_ephemeral:
            return (self._lifecycle(Action.STOP, self._stop_it, text="the data is kept"),)
        gone = RemovePath(self.places.data)
        text = "the data was ephemeral and is gone"
        return (self._lifecycle(Action.STOP, self._stop_it, gone, text=text, lost=True),)

    def restart(self) -> tuple[Step, ...]:
        """Stop and start the server."""
        if self.running is None:
            return self.start()
        return (self._lifecycle(Action.RESTART, self._stop_it, *self._start_it, self._ready),)

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Stop the server; with ``data`` remove everything that was made for it.

        Raises:
            RefusedError: the data is not known to be ours, or a container is on it.
        """
        steps: list[Step] = []
        places = self.places
        if data and self.made_by is not None and isinstance(self.spec.server.data, DataPath):
            tenants.check_made(self.spec, places.data, self.look, record=places.data / DATA_RECORD)
            guards.check_alone(places.data, self.look)
        if self.running is not None:
            steps.append(self._lifecycle(Action.REMOVE, self._stop_it))
        if self.made_by is not None and (data or self._is_ephemeral):
            guards.check_data(self.spec, places, self.look)
            gone, before = RemovePath(places.data), self.observed.get(self._data)
            steps.append(Step(self._data, Action.REMOVE, before, None, (gone,), destroys=True))
        if data:
            for path in dict.fromkeys((places.root, places.home)):
                if self.look.exists(path):
                    address = Address("directory", str(path))
                    steps.append(Step(address, Action.REMOVE, None, None, (RemovePath(path),)))
        return tuple(steps)
