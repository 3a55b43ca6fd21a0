"""What a runtime offers that brings its data to a newer major version, and the stages that are alike in all of them.

A second server of the new version, which nobody else can reach, is filled beside the running one. Until the copy was
compared with the original and the old server was stopped, nothing counts, and the old server has everything as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from provision.model import Action, Address, Step
from provision.model.effects import CompareOutput, HoldWrites, RunProgram
from provision.runtimes.copying import Copying, passfile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.model import Effect, Secret
    from provision.model.effects import WriteFile
    from provision.spec.model import Spec

FILLING = {
    "synchronous_commit": "off",
    "autovacuum": "off",
    "archive_mode": "off",
    "max_wal_size": "4GB",
}
"""What makes filling quicker and costs nothing: a server that is stopped properly has everything on the disk."""


@dataclass(frozen=True, slots=True)
class Old:
    """What the old server said: its first superuser, its databases with their sizes in bytes, who is connected."""

    bootstrap: str
    databases: tuple[tuple[str, int], ...]
    extensions: tuple[str, ...]
    sessions: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the databases."""
        return tuple(name for name, _ in self.databases)


@dataclass(frozen=True, slots=True)
class Origin:
    """What the data was upgraded from: an image, its major version, and where an embedded server's programs are."""

    image: str
    major: int
    bin_dir: Path | None = None


class Upgrade(Protocol):
    """One upgrade that can be carried out."""

    def steps(self) -> tuple[Step, ...]:
        """Return the steps up to the moment from which the new data counts."""

    def undo(self) -> tuple[Effect, ...]:
        """Return what brings everything back to how it was before."""


class Upgrader(Protocol):
    """The data of one environment over the major versions, as it was seen once."""

    @property
    def major(self) -> int:
        """The major version that has made the data, or that of the spec where nothing tells."""

    @property
    def is_pending(self) -> bool:
        """Whether an upgrade has copied everything, and only the switch is left, which is the business of apply."""

    def check(self) -> None:
        """Refuse what cannot be upgraded here.

        Raises:
            provision.errors.RefusedError: with what to do instead.
        """

    def begin(self) -> tuple[Step, ...]:
        """Return the steps that start the old server as it was, because only one that runs can be copied."""

    def target(self) -> Spec:
        """Return the spec with its data where the copy will be."""

    def upgrade(self, files: Mapping[str, WriteFile], old: Old, password: Secret) -> Upgrade:
        """Return the upgrade; ``files`` are those of the new version."""

    def finish(self) -> tuple[Step, ...]:
        """Return the steps that remove what was kept.

        Raises:
            provision.errors.RefusedError: it is still needed.
        """

    def rollback(self) -> tuple[Step, ...]:
        """Return the steps that remove the new server and its data, after which the kept data is the current one.

        Raises:
            provision.errors.RefusedError: nothing is kept.
        """

    def origin(self) -> Origin:
        """Return what the data was upgraded from."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages between two servers that run. ``container`` and ``programs`` say where the copying is done."""

    old: Old
    copying: Copying
    password: Secret
    container: str | None = None
    programs: Path | None = None

    def run(self, argv: tuple[str, ...], what: str) -> RunProgram:
        """Return a program that is run beside the new server."""
        return RunProgram(argv, passfile(self.password), what, self.container, self.programs)

    def begun(self, timeout: float) -> tuple[RunProgram, ...]:
        """Wait, for so many seconds at most, for a new server that can take what the old one has."""
        return (
            self.run(self.copying.ready(timeout), "starting the new server"),
            self.run(self.copying.extensions(self.old.extensions), "looking for the extensions"),
        )

    def hold(self, name: str) -> Step:
        """Hold writers back; ``name`` is that of the environment."""
        megabytes = sum(size for _, size in self.old.databases) / 1e6
        return Step(
            Address("server", name), Action.UPDATE, None, None, (HoldWrites(self.old.names),),
            (f"writers are held back, so that no row is lost ({self.old.sessions} clients are connected)",),
            f"from here on writers wait, until all is copied and compared ({megabytes:.0f} MB); readers do not",
        )  # fmt: skip

    def copy(self) -> tuple[Step, ...]:
        """Copy roles and databases."""
        roles = Step(
            Address("role", "*"), Action.CREATE, None, None, (self.run(self.copying.roles(), "copying the roles"),),
            ("with their passwords, memberships and settings",),
        )  # fmt: skip
        databases = tuple(
            Step(
                Address("database", name), Action.CREATE, None, None,
                (self.run(self.copying.database(name), f"copying the database {name!r}"),),
                (f"about {size / 1e6:.0f} MB",),
            )
            for name, size in self.old.databases
        )  # fmt: skip
        return (roles, *databases)

    def compare(self, copy: Address, *then: Effect) -> Step:
        """Compare both sides, and do what comes ``then``."""
        one, other = (
            self.run(self.copying.inventory(side, self.old.names), "comparing the copy with the original")
            for side in ("old", "new")
        )
        effects = (
            HoldWrites(self.old.names, large_objects=True),
            CompareOutput(one, other),
            self.run(self.copying.analyze(), "collecting statistics"),
            *then,
        )
        why = "the copy is compared: rows, sequences, large objects, roles, settings, extensions"
        return Step(copy, Action.UPDATE, None, None, effects, (why,))
