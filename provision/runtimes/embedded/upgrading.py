"""From one major version to a newer one: the steps that fill a new data directory beside the running server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from provision.model import Action, Address, Step
from provision.model.effects import EndSessions, MakeDirectory, MovePath, RemovePath, ServerCall, WriteFile
from provision.runtimes import DATA_RECORD
from provision.runtimes.copying import Copying
from provision.runtimes.embedded import directories
from provision.runtimes.embedded.command_line import initdb_argv, server_argv
from provision.runtimes.upgrading import FILLING, Stages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.model import Effect, Secret
    from provision.runtimes.embedded.command_line import Programs
    from provision.runtimes.embedded.site import EmbeddedSite
    from provision.runtimes.upgrading import Old

_STOP = 600.0


@dataclass(frozen=True)
class Upgrade:
    """One upgrade: the environment as it is, the files of the new version, what the old server said, the programs.

    ``tools`` is the directory of the client programs, and ``major`` that of the data so far.
    """

    site: EmbeddedSite
    major: int
    files: Mapping[str, WriteFile]
    old: Old
    password: Secret
    programs: Programs
    old_programs: Programs
    tools: Path

    def steps(self) -> tuple[Step, ...]:
        """Return the steps up to the moment from which the new directory counts."""
        stages, places = self._stages, self.site.places
        note = directories.origin_note(places.data, self.major, self.old_programs.directory)
        close = (
            directories.stop_filling(places, _STOP),
            WriteFile(places.generations.filled / directories.ORIGIN, note, 0o644),
        )
        return (
            *self._prepare(stages),
            stages.hold(self.site.spec.name),
            *stages.copy(),
            stages.compare(self._directory, *close),
            *self._switch(),
        )

    def undo(self) -> tuple[Effect, ...]:
        """Return what brings everything back to how it was before; the copy may count already."""
        places = self.site.places
        clear = (directories.stop_filling(places), *directories.removal(self._copy, places.generations, if_there=True))
        return (*clear, *start_old(self.site, self.old_programs))

    # --- the stages ---

    def _prepare(self, stages: Stages) -> tuple[Step, ...]:
        site, places = self.site, self.site.places
        server = replace(site.spec.server, user=self.old.bootstrap)
        initdb = initdb_argv(self.programs.directory, replace(site.spec, server=server), durable=True)
        user, filled = places.user.name if places.user else None, places.generations.filled
        configuration = self.files["configuration"]
        begin: tuple[Effect, ...] = (
            *directories.discard(places),
            *self.programs.copies,
            MakeDirectory(places.generations.hidden),
            WriteFile(self._configuration, configuration.content),
            ServerCall("initialise", filled, initdb, user=user, record=filled / DATA_RECORD),
        )
        start = ServerCall(
            "start",
            filled,
            self._argv,
            user=user,
            log=self._log,
            sockets=places.filling_sockets,
            timeout=site.spec.server.ready_timeout,
        )
        why = f"a second server, of PostgreSQL {site.spec.server.major}; nobody else can reach it"
        process = Address("process", f"{site.spec.name}.upgrade")
        effects: tuple[Effect, ...] = (start, *stages.begun(site.spec.server.ready_timeout))
        return (
            Step(self._directory, Action.CREATE, None, None, begin, ("the data is copied into it",)),
            Step(process, Action.START, None, None, effects, (why,)),
        )

    def _switch(self) -> tuple[Step, ...]:
        site, found = self.site, self.site.places.generations
        process = Address("process", site.spec.name)
        close = (replace(site.stopping, operation="close"), EndSessions())
        moved = MovePath(found.filled, self._copy)
        return (
            Step(process, Action.STOP, None, None, (*close, site.stopping, moved, RemovePath(found.hidden)),
                 (f"from now on {self._copy} holds the data",),
                 "connections are dropped; the new server answers in about two seconds"),
            Step(process, Action.START, None, None, (),
                 (f"PostgreSQL {self.major} → {site.spec.server.major}",),
                 f"the directory {found.current} is kept until provision upgrade --finish"),
        )  # fmt: skip

    # --- what they are made of ---

    @property
    def _copy(self) -> Path:
        return directories.copy_path(self.site.places.generations.first, self.site.spec.server.major)

    @property
    def _directory(self) -> Address:
        return Address("directory", str(self._copy))

    @property
    def _configuration(self) -> Path:
        return self.site.places.generations.hidden / "postgresql.conf"

    @property
    def _log(self) -> Path:
        return self.site.places.log.with_name("upgrade.log")

    @property
    def _argv(self) -> tuple[str, ...]:
        """Return how the server is started that is filled: it listens on its socket only."""
        places = self.site.places
        settings = {"listen_addresses": "", **FILLING}
        return (
            *server_argv(
                self.programs.directory, places,
                data=places.generations.filled, config=self._configuration, sockets=places.filling_sockets,
            ),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        )  # fmt: skip

    @property
    def _stages(self) -> Stages:
        site, server = self.site, self.site.spec.server
        at = site.endpoint(self.password) or site.target(self.password)
        copying = Copying(
            at.host, at.port, server.user, self.old.bootstrap, server.major,
            sockets=str(site.places.filling_sockets), new_port=str(site.port),
        )  # fmt: skip
        return Stages(self.old, copying, self.password, programs=self.tools)


def start_old(site: EmbeddedSite, programs: Programs) -> tuple[Effect, ...]:
    """Return what starts the server on the data as it is, with its own programs."""
    places = site.places
    start = ServerCall(
        "start",
        places.data,
        server_argv(programs.directory, places),
        user=places.user.name if places.user else None,
        log=places.log,
        sockets=places.sockets,
        link=places.link,
        timeout=site.spec.server.ready_timeout,
    )
    return (*programs.copies, start)
