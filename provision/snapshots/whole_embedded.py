"""Snapshots of an embedded server: copies of its data directory in a directory beside it, exchanged by one rename."""

from __future__ import annotations

from pathlib import Path

from provision.errors import RefusedError, as_word
from provision.model import Effect
from provision.model.effects import CopyCluster, ExchangeClusters, MakeDirectory, MovePath, RemovePath, WriteFile
from provision.observe.outside import World
from provision.runtimes.embedded import checks, directories
from provision.runtimes.embedded.site import EmbeddedSite
from provision.runtimes.names import DATA_RECORD
from provision.snapshots.whole import Clusters, KeptCluster, read
from provision.system import cluster_copy, cluster_folder


class EmbeddedClusters(Clusters):
    """The data directories of one environment."""

    def __init__(self, world: World) -> None:
        self.site = EmbeddedSite.of(world.site)
        self.machine = self.site.look.machine
        self.found, self.data = self.site.places.generations, self.site.places.data
        made_by = self.site.made_by or ""
        self.major = int(made_by) if made_by.isdecimal() else world.spec.server.major
        self.size = cluster_copy.size(self.data)
        place = self.found.snapshots
        names = [each for each in self.machine.entries(place) or () if not each.startswith(".")]
        kept = [self._read(place / each) for each in names]
        self.kept = tuple(sorted([each for each in kept if each is not None], key=lambda each: each.at, reverse=True))
        # A restore that was killed has put it there, and what it replaced before is of no use any more.
        self.replaced = self._read(self.found.copied) or self._read(self.found.replaced)

    def _read(self, folder: Path) -> KeptCluster | None:
        return read(self.machine.cluster_about(folder), str(folder))

    def check(self) -> None:
        """Refuse a place that is not ours, and a file system that cannot exchange two names."""
        places, place = self.site.places, self.found.snapshots
        checks.check_place(self.site.spec, places, self.site.look)
        if self.machine.is_mount(self.data):
            raise RefusedError(
                f"a file system is mounted at {self.data}, and a data directory is put in place by renaming it",
                next_step="save the databases alone: without --all",
            )
        if self.machine.entries(place) != () and self.site.look.text(place / directories.OURS) is None:
            raise RefusedError(
                f"the snapshots would be in {place}, and there is something that provision has not made",
                next_step=f"ls -la {as_word(place)}",
            )
        cluster_folder.check_exchange(self.data.parent)

    def free(self) -> int | None:
        """Return what is free beside the data; None where the file system shares blocks."""
        return None if cluster_copy.shares_blocks(self.data.parent) else cluster_copy.free(self.data.parent)

    def saving(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Copy into a folder that gets its name when it is complete."""
        copied, place = self.found.saving, self.found.snapshots
        said = f"Snapshots of the cluster of {self.site.spec.name}: provision snapshot list\n"
        return (
            MakeDirectory(place, 0o700),
            WriteFile(place / directories.OURS, said),
            CopyCluster(self.data, copied, DATA_RECORD),
            WriteFile(copied / cluster_folder.ABOUT, kept.text(), 0o600),
            MovePath(copied, place / kept.name),
        )

    def restoring(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
        """Copy beside the data while the server runs, then exchange the two."""
        source = self.found.snapshots / kept.name / cluster_folder.DATA
        before = CopyCluster(source, self.found.copied, DATA_RECORD)
        return (before,), (
            ExchangeClusters(self.data, self.found.copied, replaced.text()),
            *directories.keeping(self.found),
        )

    def undoing(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[Effect, ...]:
        """Exchange the two again."""
        del kept
        return (ExchangeClusters(self.data, self.found.replaced, replaced.text()),)

    def removing(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Remove a folder so that it counts as a whole or not at all."""
        removed = self.found.removed
        return (RemovePath(removed), MovePath(self.found.snapshots / kept.name, removed), RemovePath(removed))

    def stopping(self) -> tuple[Effect, ...]:
        """Stop the server."""
        return (self.site.stopping,)

    def starting(self) -> tuple[Effect, ...]:
        """Start it with the configuration that it has."""
        _, *start = self.site.ground(starting=True).restart
        return tuple(start)


CLUSTERS = EmbeddedClusters
