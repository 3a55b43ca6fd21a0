"""The stages of an upgrade that are alike in all runtimes, what removes the old data, and the way back.

A second server of the new version, which only provision can reach, is filled beside the running one. Until the copy was
compared with the original and the old server was stopped, the copy does not count, and the old server keeps everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from provision.errors import RefusedError, command
from provision.model import Action, Address, Effect, File, Secret, Step
from provision.model.effects import CompareOutput, EndSessions, HoldWrites
from provision.model.value import dataclass
from provision.model.words import count
from provision.runtimes import Site
from provision.spec.model import Spec
from provision.upgrade.copying import Copying

FILLING = {"synchronous_commit": "off", "autovacuum": "off", "archive_mode": "off", "max_wal_size": "4GB"}
"""Settings that make filling quicker and cost nothing: a server that is stopped properly has everything on the disk."""
STOP_TIMEOUT = 600
"""Seconds for the new server to write everything to the disk."""

S = TypeVar("S", bound=Site)


@dataclass(frozen=True)
class Source:
    """The old server: its first superuser, its databases with their sizes in bytes, how many clients are connected.

    ``files`` are the rendered files of the new version. ``snapshots`` and ``clones`` are how many are not copied.
    """

    files: Mapping[str, File]
    password: Secret
    bootstrap: str
    databases: tuple[tuple[str, int], ...]
    extensions: tuple[str, ...]
    sessions: int
    snapshots: int = 0
    clones: int = 0


@dataclass(frozen=True)
class Origin:
    """What the data was upgraded from: an image, its major version, and where an embedded server's programs are."""

    image: str
    major: int
    bin_dir: Path | None = None


@dataclass(frozen=True)
class Kept:
    """Data of an older major version, as far as it says which, and what removes it."""

    at: Address
    major: int | str | None
    removal: tuple[Effect, ...]


def step(at: Address, action: Action, *effects: Effect, why: str, text: str = "", destroys: bool = False) -> Step:
    """Return a step between two states that no runtime declares."""
    return Step(at, action, None, None, effects, (why,), text, destroys=destroys)


class Upgrader(Protocol[S]):
    """The data of one environment over the major versions, as it was seen once."""

    site: S
    spec: Spec

    def __init__(self, site: S) -> None:
        self.site, self.spec = site, site.spec

    # --- what a runtime says ---

    major: int
    """The major version that has made the data, or that of the spec where nothing shows one."""
    is_upgraded: bool
    """Whether the data is in a place that an upgrade has filled."""
    is_switched: bool
    """Whether the server uses the data where it is now."""
    is_served: bool
    """Whether the new server runs on the new data."""
    server: Address
    copy: Address
    """What is filled."""
    current: Address
    """What holds the data now."""
    kept: tuple[Kept, ...]
    """The newest first."""

    def origin(self) -> Origin:
        """Return what the data was upgraded from."""

    def check_place(self) -> None:
        """Refuse data that is in a place that cannot be upgraded."""

    def check_copy(self) -> None:
        """Refuse an upgrade that cannot begin, or whose copy would take the place of something else."""

    def begin(self) -> tuple[Step, ...]:
        """Return the steps that start the old server as it was, because only a running one can be copied."""

    def target(self) -> Spec:
        """Return the spec with its data where the copy will be."""

    def missing(self) -> tuple[Step, ...]:
        """Return the steps after which the environment has to be looked at again: an image, or its settings."""

    def copying(self, source: Source) -> Copying:
        """Return the programs that copy."""

    def prepare(self, source: Source) -> tuple[Step, Step]:
        """Return the steps that make the copy's place, and the new server in it."""

    def close(self) -> tuple[Effect, ...]:
        """Return what stops the new server, once the copy is complete."""

    def switch(self) -> tuple[Effect, ...]:
        """Return what stops the old server, and has the copy count from then on."""

    def undo(self) -> tuple[Effect, ...]:
        """Return what brings everything back to how it was before; the copy may count already."""

    def check_removable(self) -> None:
        """Refuse to remove kept data that was not made for this environment, or that something uses."""

    def removing_server(self) -> tuple[Step, ...]:
        """Return the steps that stop the new server for good."""

    def removing_current(self) -> tuple[Effect, ...]:
        """Return what removes the data of the new server."""

    # --- what follows from that ---

    def unreadable(self, evidence: str) -> RefusedError:
        """Return the error for data without the server that could be copied from."""
        return RefusedError(
            f"the data is of PostgreSQL {self.major}, and there is no server that could be read",
            evidence=[evidence],
            next_step=f"set an image of PostgreSQL {self.major}, `" + command("apply") + "`, and then upgrade again",
        )

    @property
    def is_pending(self) -> bool:
        """Whether an upgrade has copied everything, and only the switch is left, which is the task of apply."""
        return self.is_upgraded and not self.is_switched

    def check(self) -> None:
        """Refuse what cannot be upgraded here.

        Raises:
            RefusedError: with what to do instead.
        """
        self.check_place()
        wanted = self.spec.server
        if self.major > wanted.major:
            raise RefusedError(
                f"the data is of PostgreSQL {self.major}, and an upgrade does not lead back to {wanted.image!r}",
                next_step=command("upgrade --rollback") if self.kept else f"use an image of PostgreSQL {self.major}",
            )
        if self.major != wanted.major:
            self.check_copy()

    def steps(self, source: Source) -> tuple[Step, ...]:
        """Return the steps up to the moment from which the copy counts."""
        copying, server = self.copying(source), self.spec.server
        names = tuple(name for name, _ in source.databases)
        place, second = self.prepare(source)
        ready = (copying.ready(server.ready_timeout), copying.extensions(source.extensions))
        return (
            *self.missing(),
            place,
            Step(
                second.address, second.action, None, None, (*second.effects, *ready),
                (f"a second server, of PostgreSQL {server.major}; nothing else can reach it",),
            ),
            step(
                Address("server", self.spec.name), Action.UPDATE, HoldWrites(names),
                why=f"writers are held back, so that no row is lost ({source.sessions} clients are connected)",
                text=_waiting(source),
            ),
            step(
                Address("role", "*"), Action.CREATE, copying.roles(),
                why="with their passwords, memberships and settings",
            ),
            *(
                step(
                    Address("database", name), Action.CREATE, copying.database(name), why=f"about {size / 1e6:.0f} MB"
                )
                for name, size in source.databases
            ),
            step(
                self.copy, Action.UPDATE,
                HoldWrites(names, large_objects=True),
                CompareOutput(copying.inventory("old", names), copying.inventory("new", names)),
                copying.analyze(),
                *self.close(),
                why="the copy is compared: rows, sequences, large objects, roles, settings, extensions",
            ),
            *self._switching(),
        )  # fmt: skip

    def _switching(self) -> tuple[Step, Step]:
        (before, *rest), current = self.switch(), self.current
        image = self.site.status.image
        versions = f"PostgreSQL {self.major} → {self.spec.server.major}"
        return (
            step(
                self.server, Action.STOP, before, EndSessions(), *rest,
                why=f"from now on {self.copy.name} holds the data",
                text="connections are dropped; the new server answers in about two seconds",
            ),
            step(
                self.server, Action.RECREATE if image else Action.START,
                why=f"image: {image} → {self.spec.server.image}" if image else versions,
                text=f"the {current.kind} {current.name} is kept until provision upgrade --finish",
            ),
        )  # fmt: skip

    def finish(self) -> tuple[Step, ...]:
        """Return the steps that remove what was kept.

        Raises:
            RefusedError: the new server does not run yet, or something still uses the old data.
        """
        if self.kept and not (self.is_switched and self.is_served):
            raise RefusedError(
                "the new server does not run, so the old data is still needed", next_step=command("apply")
            )
        self.check_removable()
        removals = (
            step(each.at, Action.REMOVE, *each.removal, why=f"the data of PostgreSQL {each.major}", destroys=True)
            for each in self.kept
        )
        return (*self.site.leftovers(), *removals)

    def rollback(self) -> tuple[Step, ...]:
        """Return the steps that remove the new server and its data, after which the kept data is the current one.

        Raises:
            RefusedError: nothing is kept.
        """
        if not self.is_upgraded or not self.kept:
            raise RefusedError(
                f"there is nothing to go back to: no older data of {self.spec.name!r} is kept",
                next_step=command("status"),
            )
        remove = step(
            self.current, Action.REMOVE, *self.removing_current(),
            why=f"the data goes back to {self.kept[0].at.name}, as it was before the upgrade",
            text="what was written since the upgrade is lost", destroys=True,
        )  # fmt: skip
        return (*self.site.leftovers(), *self.removing_server(), remove)


def _waiting(source: Source) -> str:
    """Return what people notice while everything is copied."""
    megabytes = sum(size for _, size in source.databases) / 1e6
    counts = ((source.snapshots, "snapshot"), (source.clones, "clone"))
    staying = " and ".join([count(number, each) for number, each in counts if number])
    stay = "stays" if source.snapshots + source.clones == 1 else "stay"
    left = f"; {staying} {stay} in the old data" if staying else ""
    return f"writers wait until everything is copied and compared ({megabytes:.0f} MB); readers continue{left}"
