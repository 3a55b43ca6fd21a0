"""The steps that converge one environment's data directory and server process."""

from __future__ import annotations

from pathlib import Path

from provision.errors import RefusedError, command
from provision.kinds import Ground
from provision.model import Action, Address, Effect, Secret, State, Step, changes
from provision.model.effects import CopyPath, MakeDirectory, ReadSettings, RemovePath, RunLocalSql, ServerCall
from provision.model.value import dataclass, replace
from provision.runtimes import Claim, Collision, ownership, removal, removing_home, superusers
from provision.runtimes.data_directory import reading_settings
from provision.runtimes.embedded import checks, directories
from provision.runtimes.embedded.command_line import Programs, initdb_argv, scripts, server_argv
from provision.runtimes.embedded.inspection import Inspection
from provision.runtimes.names import DATA_RECORD, SUPERUSER
from provision.spec.model import DataPath
from provision.spec.parameters import is_known

_OF = "the data of PostgreSQL %s"
_GONE = "the data of an ephemeral server is gone when it stops"


@dataclass(frozen=True)
class EmbeddedSite(Inspection):
    """One environment's server process."""

    # --- what kinds build on ---

    def ground(self, *, starting: bool) -> Ground:
        """Return how this server is restarted and spoken to."""

        def local_sql(script: str, password: Secret) -> RunLocalSql:
            port = self.running.port if self.running else self.port
            user, others = self.spec.server.user, superusers(self.spec, self.look)
            return RunLocalSql(script, password, user, None, self._sockets, port, others)

        hba = self.places.data / "pg_hba.conf"
        return Ground(
            self._publish,
            (self.stopping, *self._start_it, self.ready),
            local_sql,
            starting,
            superuser=(self.look.kept(self.spec.home / SUPERUSER) or "").strip(),
            admitting=f"echo host all all all scram-sha-256 >> {hba}; " + command("restart"),
        )

    @property
    def _publish(self) -> tuple[Effect, ...]:
        places = self.places
        return () if places.config == places.rendered else (CopyPath(places.rendered, places.config),)

    def starting(self, own: Programs, *before: Effect) -> tuple[Effect, ...]:
        """Return what starts a server on the data with programs, after ``before``."""
        places = self.places
        start = ServerCall(
            "start",
            places.data,
            server_argv(own.directory, places),
            user=places.user.name if places.user else None,
            log=places.log,
            sockets=places.sockets,
            link=places.link,
            timeout=self.spec.server.ready_timeout,
        )
        return (*own.copies, *before, start)

    @property
    def _start_it(self) -> tuple[Effect, ...]:
        return self.starting(self.own_programs, *self._publish)

    @property
    def _sockets(self) -> Path:
        return Path(self.running.sockets) if self.running and self.running.sockets else self.places.sockets

    @property
    def stopping(self) -> ServerCall:
        """What stops the server that runs."""
        return ServerCall("stop", self.served, sockets=self._sockets, timeout=self.spec.server.stop_timeout)

    def check_free(self) -> None:
        """Refuse to start a server where a container is on the data, or another process on the port.

        Raises:
            RefusedError: with which, and what to type.
        """
        checks.check_alone(self.places.data, self.look)
        checks.check_port(self.spec.server.host, self.port, self.spec.name, self.look)

    # --- the plan ---

    def plan(self) -> tuple[Step, ...]:
        """Return the steps to a running server.

        Raises:
            RefusedError: they would disturb what is not ours, or cannot work on this machine.
        """
        checks.check_data(self.spec, self.places, self.look)
        checks.check_configuration(self.configuration, self.spec.server.host, self.port)
        process = self._plan_process()
        return (*self.plan_settings(), *self.leftovers(), *self._plan_data(), *process)

    def leftovers(self) -> tuple[Step, ...]:
        """Remove a copy that was never used, or the rest of a removed one."""
        found = self.places.generations
        why = "an interrupted run has left it; the data is where it was"
        left = (removal("directory", str(found.hidden), *directories.discard(self.places), why=why),)
        snapshots = self._left_snapshots() if self.look.exists(found.snapshots) else ()
        return (*(left if self.look.exists(found.hidden) else ()), *snapshots)

    def _left_snapshots(self) -> tuple[Step, ...]:
        """Remove a copy of the cluster that nothing uses; keep the data that an interrupted restore has replaced."""
        found, steps = self.places.generations, []
        left = [found.saving, found.removed]
        if self.look.machine.cluster_about(found.copied) is not None:
            at, why = Address("directory", str(found.replaced)), "an interrupted restore has replaced it"
            steps.append(Step(at, Action.UPDATE, None, None, directories.keeping(found), (why,)))
        else:
            left.append(found.copied)
        why = "an interrupted run has left it"
        steps += [removal("directory", str(each), RemovePath(each), why=why) for each in left if self.look.exists(each)]
        return tuple(steps)

    def plan_settings(self) -> tuple[Step, ...]:
        """Read the settings of a major version that the program does not know from its own programs."""
        if is_known(self.spec.server.major):
            return ()
        user = self.places.user.name if self.places.user else None
        directory, major = self.own_programs.directory, self.spec.server.major
        identity = self.look.machine.build(self.programs / "postgres") if self.programs is not None else ""
        step = reading_settings(ReadSettings(major, identity, programs=directory, user=user))
        return (replace(step, effects=(*self.own_programs.copies, *step.effects)),)

    def _plan_data(self) -> tuple[Step, ...]:
        if self._data in self.observed:
            return ()
        checks.check_user(self.places, self.look)
        places, effects = self.places, list(self.own_programs.copies)
        if places.root != places.home:
            effects.append(MakeDirectory(places.root))
        if self._has_left_over:
            effects.append(RemovePath(places.data))
        if self._is_orphaned:
            effects.append(self.stopping)
        argv = initdb_argv(self.own_programs.directory, self.spec, durable=not self._is_ephemeral)
        user = places.user.name if places.user else None
        record = places.data / DATA_RECORD if isinstance(self.spec.server.data, DataPath) else None
        script = scripts(self.spec, places, (self.own_programs.directory, self.programs), self.port, self.look)
        effects += self._publish if script else ()
        effects.append(ServerCall("initialise", places.data, argv, user=user, record=record, scripts=script))
        why = (_GONE,) if self.made_by is not None else ()
        return (Step(self._data, Action.CREATE, None, self.desired[self._data], tuple(effects), why=why),)

    def _plan_process(self) -> tuple[Step, ...]:
        before, after = self.observed.get(self._process), self.desired[self._process]
        if before == after and self._data in self.observed:
            return ()
        if self.running is None and not self.is_fresh:
            checks.check_alone(self.places.data, self.look)
        here, orphaned = (self.spec.server.host, self.port), self._is_orphaned
        is_listening = self.running is not None and (self.running.host, self.running.port) == here
        if not is_listening and not orphaned:
            checks.check_port(*here, self.spec.name, self.look)
        if not isinstance(before, State):
            return (Step(self._process, Action.START, None, after, self._start_it),)
        why = ("its data directory was deleted",) if orphaned else changes(before, after)
        text = "restart: connections are dropped for about a second"
        if self.served != self.places.data and not orphaned:
            text += f"; the data so far stays in {self.served}"
        effects = (self.stopping, *self._start_it)
        return (Step(self._process, Action.RESTART, before, after, effects, why=why, consequence=text),)

    # --- around a start ---

    def claim(self, *, creating: bool) -> Claim:
        """Return the data directory, and the one that an image would mount around it."""
        del creating
        data = self.places.data.resolve()
        by_major = data.name == "docker" and data.parent.name.isdecimal()
        return Claim(ownership.holder(self.spec), (data.parents[1], data) if by_major else (data,))

    def look_again(self, *, creating: bool) -> None:
        """Look whose the data is, and who is on it and on the port.

        Raises:
            RefusedError: it is another environment's.
        """
        del creating
        checks.check_place(self.spec, self.places, self.look)
        if self.running is None:
            ownership.check_processes(self.look, self.places.data)
            self.check_free()

    def collision(self) -> Collision | None:
        """Look whether a container has the data; it was there first, because ours has just started."""
        try:
            checks.check_alone(self.places.data, self.look)
        except RefusedError as refusal:
            refusal.evidence = (*refusal.evidence, ownership.STARTED_FIRST)
            return Collision((replace(self.stopping, operation="kill", data=self.places.data),), "", refusal)
        return None

    # --- verbs ---

    def _lifecycle(self, action: Action, *effects: Effect, lost: bool = False, text: str = "") -> Step:
        before = self.observed.get(self._process)
        after = None if action in (Action.STOP, Action.REMOVE) else self.desired[self._process]
        return Step(self._process, action, before, after, effects, consequence=text, destroys=lost)

    def start(self) -> tuple[Step, ...]:
        """Start the server on data that was made before."""
        if self.running is not None or self.is_fresh:
            return ()
        checks.check_data(self.spec, self.places, self.look)
        self.check_free()
        return (self._lifecycle(Action.START, *self._start_it, self.ready),)

    def stop(self) -> tuple[Step, ...]:
        """Stop the server; what is ephemeral goes with it."""
        if self.running is None:
            return ()
        gone = self._removing_data if self._is_ephemeral else ()
        text = "the data was ephemeral and is gone" if gone else "the data is kept"
        return (self._lifecycle(Action.STOP, self.stopping, *gone, text=text, lost=bool(gone)),)

    @property
    def _removing_data(self) -> tuple[Effect, ...]:
        return directories.removal(self.places.data, self.places.generations, if_there=True)

    def restart(self) -> tuple[Step, ...]:
        """Stop and start the server."""
        if self.running is None:
            return self.start()
        return (self._lifecycle(Action.RESTART, self.stopping, *self._start_it, self.ready),)

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Stop the server; with ``data`` remove everything that was made for it.

        Raises:
            RefusedError: the data is not known to be ours, or a container is on it.
        """
        places = self.places
        if data and self.made_by is not None:
            checks.check_removable(self.spec, places, (places.data, *places.generations.kept), self.look)
        steps = [*self.leftovers()]
        if self.running is not None:
            steps.append(self._lifecycle(Action.REMOVE, self.stopping))
        if data:
            steps += (*self.removing_kept(), *self._removing_snapshots())
        if self.made_by is not None and (data or self._is_ephemeral):
            checks.check_data(self.spec, places, self.look)
            gone, before = self._removing_data, self.observed.get(self._data)
            steps.append(Step(self._data, Action.REMOVE, before, None, gone, destroys=True))
        if data:
            if places.root != places.home and self.look.exists(places.root):
                steps.append(removal("directory", str(places.root), RemovePath(places.root)))
            steps += removing_home(self.look, places.home)
        return tuple(steps)

    def _removing_snapshots(self) -> tuple[Step, ...]:
        place = self.places.generations.snapshots
        if self.look.text(place / directories.OURS) is None:
            return ()
        return (removal("directory", str(place), RemovePath(place), why="snapshots of the cluster", destroys=True),)

    def removing_kept(self) -> tuple[Step, ...]:
        """Return the steps that remove the data that an upgrade has kept."""
        found, version = self.places.generations, self.look.machine.version
        return tuple(
            removal("directory", str(each), *directories.removal(each, found), why=_OF % version(each), destroys=True)
            for each in found.kept
        )
