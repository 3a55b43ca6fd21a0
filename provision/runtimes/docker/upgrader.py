"""The upgrade of one environment's volumes: what it starts from, what is refused, how it ends, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from provision.errors import RefusedError, command
from provision.model import Action, Address, Step
from provision.model.effects import EngineCall
from provision.runtimes.data_directory import downwards
from provision.runtimes.docker import checks, compose, data_location, generations, ownership
from provision.runtimes.docker.upgrading import Upgrade
from provision.runtimes.upgrading import Origin
from provision.spec.model import DataPath, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Secret
    from provision.model.effects import WriteFile
    from provision.runtimes.docker.site import DockerSite
    from provision.runtimes.upgrading import Old
    from provision.spec.model import Spec


@dataclass(frozen=True)
class DockerUpgrader:
    """Implements :class:`provision.runtimes.upgrading.Upgrader`."""

    site: DockerSite

    @property
    def major(self) -> int:
        """The major version that has made the data, or that of the spec where nothing tells."""
        site = self.site
        current = site.generations.current
        if current is not None and current.major is not None:
            return current.major
        for each in site.volumes.values():
            label = ((each or {}).get("Labels") or {}).get(compose.MAJOR, "")
            if label.isdecimal():
                return int(label)
        words = ((site.container or {}).get("Config") or {}).get("Env", ())
        return int(dict(each.partition("=")[::2] for each in words).get("PG_MAJOR", site.spec.server.major))

    @property
    def is_pending(self) -> bool:
        """Whether only the switch is left."""
        return self.site.container is not None and self.site.generations.is_upgraded and not self._is_switched

    @property
    def _is_switched(self) -> bool:
        """Whether the container uses the volume that holds the data now."""
        data = self.site.spec.server.data
        mounts = (self.site.container or {}).get("Mounts") or ()
        return isinstance(data, Volume) and any(each.get("Name") == data.name for each in mounts)

    def check(self) -> None:
        """Refuse what cannot be upgraded here.

        Raises:
            RefusedError: with what to do instead.
        """
        site, spec, major = self.site, self.site.spec, self.major
        if not isinstance(spec.server.data, Volume):
            place = f"the directory {spec.server.data.path}" if isinstance(spec.server.data, DataPath) else "memory"
            raise RefusedError(
                f"only data in a named volume is upgraded; this is in {place}",
                next_step="give the new version a place of its own in `server.data`, and copy the data with pg_dump",
            )
        checks.check_image(spec, site.image)
        data_location.check_declared(site)
        data_location.check_removal(site)
        if major > spec.server.major:
            raise downwards(spec, major, is_kept=bool(site.generations.kept))
        if (
            site.container is None
            and major != spec.server.major
            and any(each is not None for each in site.volumes.values())
        ):
            raise RefusedError(
                f"the data is of PostgreSQL {major}, and there is no server that could be read",
                evidence=[f"the container {site.container_name!r} does not exist"],
                next_step=f"set an image of PostgreSQL {major}, `" + command("apply") + "`, and then upgrade again",
            )
        copy = self._copy
        seen = site.look.engine(f"/volumes/{copy}")
        if seen is not None and not generations.is_ours(spec, seen.get("Labels") or {}, site.look):
            raise RefusedError(
                f"the upgrade would fill the volume {copy!r}, and there is one that is not of this environment",
                next_step=f"{site.look.engine_program} volume inspect {copy}",
            )

    @property
    def _copy(self) -> str:
        data = cast("Volume", self.site.spec.server.data)
        return generations.copy_name(data.declared or data.name, self.site.spec.server.major)

    def begin(self) -> tuple[Step, ...]:
        """Return the steps that start the old container as it was."""
        return self.site.start()

    def target(self) -> Spec:
        """Return the spec with the volume that is filled."""
        return generations.moved(self.site.spec, self._copy)

    def upgrade(self, files: Mapping[str, WriteFile], old: Old, password: Secret) -> Upgrade:
        """Return the upgrade."""
        return Upgrade(self.site, self.major, files, old, password)

    def finish(self) -> tuple[Step, ...]:
        """Return the steps that remove what was kept.

        Raises:
            RefusedError: the new server does not run yet.
        """
        site = self.site
        if site.generations.kept and (not self._is_switched or site.status.server != "running"):
            raise RefusedError(
                "the new server does not run, so the old data is still needed",
                next_step=command("apply"),
            )
        ownership.check_volumes(site, [each.name for each in site.generations.kept])
        volumes = [(each.name, f"the data of PostgreSQL {each.major}") for each in site.generations.kept]
        olds = {generations.mark_name(name) for name, _ in volumes} & {*site.generations.marks}
        return (
            *site.leftovers(),
            *(
                Step(Address("volume", name), Action.REMOVE, None, None, (EngineCall("remove_volume", name),), (why,),
                     destroys=True)
                for name, why in volumes
            ),
            *(
                Step(Address("volume", name), Action.REMOVE, None, None, (EngineCall("remove_volume", name),),
                     ("its mark",))
                for name in sorted(olds)
            ),
        )  # fmt: skip

    def rollback(self) -> tuple[Step, ...]:
        """Return the steps that remove the new server and its data, after which the kept volume is the current one.

        Raises:
            RefusedError: nothing is kept.
        """
        site, current = self.site, self.site.generations.current
        if current is None or not site.generations.is_upgraded or not site.generations.kept:
            raise RefusedError(
                f"there is nothing to go back to: no older data of {site.spec.name!r} is kept",
                next_step=command("status"),
            )
        steps: list[Step] = [*site.leftovers()]
        if site.container is not None:
            stop = EngineCall("stop_container", site.container_name, {"timeout": round(site.spec.server.stop_timeout)})
            remove = EngineCall("remove_container", site.container_name)
            why = (f"it runs on {current.name!r}",)
            steps.append(
                Step(Address("container", site.container_name), Action.REMOVE, None, None, (stop, remove), why)
            )
        effects = (
            EngineCall("remove_volume", generations.mark_name(current.name)),
            EngineCall("remove_volume", current.name),
        )
        why = (f"the data goes back to {site.generations.kept[0].name!r}, as it was before the upgrade",)
        lost = "what was written since the upgrade is lost"
        volume = Address("volume", current.name)
        steps.append(Step(volume, Action.REMOVE, None, None, effects, why, lost, destroys=True))
        return tuple(steps)

    def origin(self) -> Origin:
        """Return image and major version that the data was upgraded from."""
        labels = self.site.generations.current.labels if self.site.generations.current is not None else {}
        return Origin(labels.get(generations.FROM_IMAGE, ""), int(labels.get(generations.FROM_MAJOR, "0")))
