"""The upgrade of data in a volume: a temporary container of the new version fills a new volume."""

from __future__ import annotations

from collections.abc import Mapping

from provision.errors import RefusedError
from provision.model import Action, Address, Effect, Step
from provision.model.effects import EngineCall
from provision.runtimes.docker import checks, compose, generations, ownership, scripts, steps, unmounted_data
from provision.runtimes.docker.compose import Json, Uploads
from provision.runtimes.docker.site import DockerSite
from provision.runtimes.names import DIRECTORY, ENVIRONMENT
from provision.runtimes.ownership import is_ours
from provision.spec.model import DataPath, Spec, Volume
from provision.upgrade.copying import Copying
from provision.upgrade.stages import FILLING, STOP_TIMEOUT, Kept, Origin, Source, Upgrader, step

# Both servers listen on the loopback of the old container, whose network the new one shares.
_PORT, _NEW_PORT = 5432, "5433"


class DockerUpgrader(Upgrader[DockerSite]):
    """The volumes of one environment."""

    def __init__(self, site: DockerSite) -> None:
        super().__init__(site)
        data, container = self.spec.server.data, site.container or {}
        self.found = site.generations
        self.volume = data.name if isinstance(data, Volume) else ""
        self.declared = generations.declared(data) if isinstance(data, Volume) else ""
        self.temporary = generations.temporary_name(site.container_name)
        self.image = str(container["Config"]["Image"]) if container else ""
        self.major = site.data_major
        self.is_upgraded = self.found.is_upgraded
        mounts = container.get("Mounts") or ()
        self.is_switched = not container or any(each.get("Name") == self.volume for each in mounts)
        self.is_served = site.status.server == "running"
        self.server = Address("container", site.container_name)
        self.copy = Address("volume", generations.copy_name(self.declared, self.spec.server.major))
        self.current = Address("volume", self.volume)
        self.kept = tuple(
            Kept(Address("volume", each.name), each.major, self._removal(each.name)) for each in self.found.kept
        )

    def _removal(self, volume: str) -> tuple[Effect, ...]:
        """Return what removes a volume; one with a mark stops to count when the mark is gone."""
        mark = generations.mark_name(volume)
        marks = (EngineCall("remove_volume", mark),) if mark in self.found.marks else ()
        return (*marks, EngineCall("remove_volume", volume))

    def origin(self) -> Origin:
        """Read the labels of the volume."""
        labels = self.found.current.labels if self.found.current is not None else {}
        return Origin(labels.get(generations.FROM_IMAGE, ""), int(labels.get(generations.FROM_MAJOR, "0")))

    def check_place(self) -> None:
        """Refuse data that is not in a volume, or that an image would not keep there."""
        data = self.spec.server.data
        if not isinstance(data, Volume):
            place = f"the directory {data.path}" if isinstance(data, DataPath) else "memory"
            raise RefusedError(
                f"only data in a named volume is upgraded; this is in {place}",
                next_step="give the new version a place of its own in `server.data`, and copy the data with pg_dump",
            )
        checks.check_image(self.spec, self.site.image)
        unmounted_data.check_declared(self.site)
        unmounted_data.check_removal(self.site)

    def check_copy(self) -> None:
        """Refuse a container that is gone, and a volume of another environment."""
        site, copy = self.site, self.copy.name
        if site.container is None and any(each is not None for each in site.volumes.values()):
            raise self.unreadable(f"the container {site.container_name!r} does not exist")
        volume = site.look.engine(f"/volumes/{copy}")
        if volume is not None and not is_ours(self.spec, volume.get("Labels") or {}, site.look):
            raise RefusedError(
                f"the upgrade would fill the volume {copy!r}, and there is one that is not of this environment",
                next_step=f"{site.look.reader.program} volume inspect {copy}",
            )

    def begin(self) -> tuple[Step, ...]:
        """Start the old container as it was."""
        return self.site.start()

    def target(self) -> Spec:
        """Return the spec with the volume that is filled."""
        return generations.moved(self.spec, self.copy.name)

    # --- the stages ---

    def missing(self) -> tuple[Step, ...]:
        """Pull the image, and read the settings of a major version that the program does not know."""
        if self.site.image is not None:
            return steps.read_settings(self.site)
        image = self.site.creation.image
        pull = (EngineCall("pull_image", image),)
        return (Step(Address("image", image), Action.CREATE, None, None, pull, reveals=True),)

    def copying(self, source: Source) -> Copying:
        """Run the tools in the temporary container."""
        server = self.spec.server
        return Copying(
            "127.0.0.1", _PORT, server.user, source.bootstrap, server.major, source.password, _NEW_PORT,
            container=self.temporary,
        )  # fmt: skip

    def prepare(self, source: Source) -> tuple[Step, Step]:
        """Make the volume, and a container on it whose server listens beside the old one."""
        creation = compose.read(str(source.files["compose"].content), source.files["compose"].path)
        labels = self._labels(creation)
        body, uploads = self._body(creation, source)
        volume = EngineCall("create_volume", self.copy.name, {"labels": labels})
        second = Address("container", self.temporary)
        return (
            step(self.copy, Action.CREATE, *self._discard(), volume, why="the data is copied into it"),
            step(
                second, Action.CREATE,
                EngineCall("create_container", self.temporary, body),
                EngineCall("copy_to_container", self.temporary, {"files": uploads}),
                EngineCall("start_container", self.temporary), why="",
            ),
        )  # fmt: skip

    def _discard(self) -> tuple[Effect, ...]:
        return (
            EngineCall("remove_container", self.temporary, {"force": True}),
            EngineCall("remove_volume", generations.mark_name(self.copy.name)),
            EngineCall("remove_volume", self.copy.name),
        )

    def close(self) -> tuple[Effect, ...]:
        """Stop and remove the temporary container."""
        stop = EngineCall("stop_container", self.temporary, {"timeout": STOP_TIMEOUT})
        return (stop, EngineCall("remove_container", self.temporary))

    def switch(self) -> tuple[Effect, ...]:
        """Stop the old container, and mark the copy as verified."""
        container = self.site.container or {"State": {"StartedAt": ""}}
        start = str(container["State"]["StartedAt"])
        labels = {**self._own_labels, generations.VERIFIED: self.copy.name, generations.FROM_START: start}
        return (
            EngineCall("signal_container", self.site.container_name, {"signal": "SIGTERM"}),
            self.site.call("stop_container"),
            EngineCall("create_volume", generations.mark_name(self.copy.name), {"labels": labels}),
        )

    def undo(self) -> tuple[Effect, ...]:
        """Remove the copy, and start the old container."""
        return (*self._discard(), EngineCall("start_container", self.site.container_name))

    @property
    def _own_labels(self) -> dict[str, str]:
        return {ENVIRONMENT: self.spec.name, DIRECTORY: str(self.spec.kept_in)}

    def _labels(self, creation: compose.Creation) -> Mapping[str, str]:
        declared = next((each.labels for each in creation.volumes if each.name == self.copy.name), None)
        if declared is None:
            raise RefusedError(
                "your docker-compose.yml.j2 does not use the volume that an upgrade has to fill",
                evidence=[f"it declares no volume with `name: {self.copy.name}`"],
                next_step="write `name: {{ volume | quote }}` there",
            )
        return {
            **declared,
            generations.BASE: self.declared,
            generations.FROM_VOLUME: self.volume,
            generations.FROM_MAJOR: str(self.major),
            generations.FROM_IMAGE: self.image,
        }

    def _body(self, declared: compose.Creation, source: Source) -> tuple[Json, Uploads]:
        """Return what creates the temporary container, and the files that it gets instead of the old server's."""
        creation, uploads = compose.without_host_files(declared, source.files)
        left_out = ("ExposedPorts", "NetworkingConfig", "Hostname")
        of_the_network = ("PortBindings", "ExtraHosts", "Sysctls")
        host = {key: value for key, value in creation.body["HostConfig"].items() if key not in of_the_network}
        own = ("POSTGRES_USER=", scripts.DATABASE)
        environment = [each for each in creation.body.get("Env", ()) if not each.startswith(own)]
        settings = {"listen_addresses": "127.0.0.1", "port": _NEW_PORT, **FILLING}
        command = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return {
            **{key: value for key, value in creation.body.items() if key not in left_out},
            "Cmd": [*creation.body.get("Cmd", ("postgres",)), *command],
            "Env": [*environment, f"POSTGRES_USER={source.bootstrap}", f"{scripts.DATABASE}postgres"],
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": self._own_labels,
            "HostConfig": {
                **host,
                "NetworkMode": f"container:{self.site.container_name}",
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            },
        }, uploads

    # --- afterwards ---

    def check_removable(self) -> None:
        """Look at the labels of the kept volumes."""
        ownership.check_volumes(self.site, [each.at.name for each in self.kept])

    def removing_server(self) -> tuple[Step, ...]:
        """Remove the container, which was made for the new volume."""
        if self.site.container is None:
            return ()
        remove = EngineCall("remove_container", self.site.container_name)
        stop, why = self.site.call("stop_container"), f"it runs on {self.volume!r}"
        return (step(self.server, Action.REMOVE, stop, remove, why=why),)

    def removing_current(self) -> tuple[Effect, ...]:
        """Remove the mark first, so that half of this leaves a copy that does not count."""
        return self._removal(self.volume)


UPGRADER = DockerUpgrader
