"""Snapshots of a server in Docker: volumes beside its data, see :mod:`provision.runtimes.docker.snapshots`."""

from __future__ import annotations

import secrets
from contextlib import closing

from provision.errors import ProvisionError, RefusedError, command
from provision.model import Effect, Endpoint
from provision.model.effects import EngineCall
from provision.observe.outside import World
from provision.runtimes.docker import ownership, snapshots, steps
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.site import DockerSite
from provision.runtimes.docker.snapshots import REPLACED, SNAPSHOT
from provision.snapshots.whole import Clusters, KeptCluster, read
from provision.system import database_copy

_SIZE = "SELECT sum(pg_database_size(oid))::bigint + (SELECT sum(size) FROM pg_ls_waldir())::bigint FROM pg_database"


class DockerClusters(Clusters):
    """The volumes of one environment."""

    copies_twice = True

    def __init__(self, world: World) -> None:
        self.world, self.site = world, DockerSite.of(world.site)
        self.found = snapshots.find(self.site)
        self.is_half_done = self.found.restoring is not None
        self.major, self.size = self.site.data_major, self._size()
        self.kept = self._read(SNAPSHOT)
        self.replaced = next(iter(self._read(REPLACED)), None)

    def _read(self, kind: str) -> tuple[KeptCluster, ...]:
        """Return those of a kind, the newest first."""
        kept = [read(text, name) for name, text in self.found.of(kind).items()]
        return tuple(sorted([each for each in kept if each is not None], key=lambda each: each.at, reverse=True))

    def _size(self) -> int:
        """Return the bytes of the data where the server can be asked, else 0."""
        if (at := self._endpoint()) is None:
            return 0
        from provision.system.read_only import ReadOnlyQuery

        try:
            with closing(ReadOnlyQuery(at, named=True)) as query:
                ((size,),) = query.rows(_SIZE)
                return int(size)
        except ProvisionError:
            return 0

    def _endpoint(self) -> Endpoint | None:
        return self.site.endpoint(self.world.inputs.password)

    @property
    def _place(self) -> Place:
        place = self.site.current_place
        assert place is not None  # noqa: S101  # check() has seen it
        return place

    def check(self) -> None:
        """Refuse data that is not where it is declared, or that something else uses."""
        site = self.site
        if site.needs_apply:
            raise RefusedError("a restore of the whole cluster was interrupted", next_step=command("apply"))
        if site.container is None or site.current_place is None or site.current_place != site.declared_place:
            raise RefusedError(
                "the container that keeps the data is not as it is declared, so its data is not copied as a whole",
                next_step=command("apply"),
            )
        ownership.check_alone(site, as_it_is=True)

    def free(self) -> int | None:
        """Return what is free where the server keeps its data, as far as it runs and can tell."""
        return database_copy.free(at) if (at := self._endpoint()) is not None and self.size else None

    def saving(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Fill a volume, which then counts."""
        name = f"{self.found.base}-snapshot-{kept.name}"
        filling = snapshots.saving(self.site, self._place, name, SNAPSHOT, kept.text())
        return (*filling, snapshots.counting(self.site, name))

    def restoring(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
        """Copy the data to a volume, and the snapshot to its place."""
        return (), self.undoing(kept, replaced)

    def undoing(self, kept: KeptCluster, replaced: KeptCluster) -> tuple[Effect, ...]:
        """Do the same with what was replaced."""
        name = f"{self.found.base}-replaced-{secrets.token_hex(4)}"
        replacing = snapshots.replacing(self.site, self._place, kept.place, name, replaced.text())
        return (*replacing, *snapshots.older(self.found, name))

    def removing(self, kept: KeptCluster) -> tuple[Effect, ...]:
        """Remove a volume so that it counts as a whole or not at all."""
        return snapshots.removing(kept.place)

    def stopping(self) -> tuple[Effect, ...]:
        """Stop the container."""
        return steps.stop(self.site)

    def starting(self) -> tuple[Effect, ...]:
        """Start it as it was made."""
        return (EngineCall("start_container", self.site.container_name), self.site.ready)


CLUSTERS = DockerClusters
