"""From one major version to a newer one: the steps that fill a new volume beside the running server.

A temporary container of the new version, which nobody else can reach, fills the new volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model import Action, Address, Step
from provision.model.effects import EndSessions, EngineCall
from provision.runtimes.copying import Copying
from provision.runtimes.docker import compose, generations, remote, scripts
from provision.runtimes.upgrading import FILLING, Stages
from provision.spec.model import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Effect, Secret
    from provision.model.effects import WriteFile
    from provision.runtimes.docker.site import DockerSite
    from provision.runtimes.upgrading import Old

_PORT, _NEW_PORT = 5432, "5433"
"""Both servers listen on the loopback of the old container, whose network the new one shares."""
_STOP = 600


@dataclass(frozen=True)
class Upgrade:
    """One upgrade: the environment as it is, the files of the new version, and what the old server said.

    ``major`` is that of the data so far.
    """

    site: DockerSite
    major: int
    files: Mapping[str, WriteFile]
    old: Old
    password: Secret

    @property
    def _creation(self) -> compose.Creation:
        return compose.read(str(self.files["compose"].content), self.files["compose"].path)

    @property
    def copy(self) -> str:
        """The volume that is filled."""
        data = self.site.spec.server.data
        assert isinstance(data, Volume)  # noqa: S101  # checked before
        return generations.copy_name(data.declared or data.name, self.site.spec.server.major)

    @property
    def temporary(self) -> str:
        """The container that fills it."""
        return generations.temporary_name(self.site.container_name)

    @property
    def _stages(self) -> Stages:
        server = self.site.spec.server
        copying = Copying("127.0.0.1", _PORT, server.user, self.old.bootstrap, server.major, new_port=_NEW_PORT)
        return Stages(self.old, copying, self.password, container=self.temporary)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps up to the moment from which the new volume counts."""
        stages = self._stages
        close = (
            EngineCall("stop_container", self.temporary, {"timeout": _STOP}),
            EngineCall("remove_container", self.temporary),
        )
        compare = stages.compare(Address("volume", self.copy), *close)
        return (*self._prepare(), stages.hold(self.site.spec.name), *stages.copy(), compare, *self._switch())

    def undo(self) -> tuple[Effect, ...]:
        """Return what brings everything back to how it was before."""
        return (
            EngineCall("remove_container", self.temporary, {"force": True}),
            EngineCall("remove_volume", generations.mark_name(self.copy)),
            EngineCall("remove_volume", self.copy),
            EngineCall("start_container", self.site.container_name),
        )

    # --- the stages ---

    def _prepare(self) -> tuple[Step, ...]:
        image = Address("image", self._creation.image)
        pull = Step(image, Action.CREATE, None, None, (EngineCall("pull_image", image.name),), reveals=True)
        body, uploads = self._body()
        begin: tuple[Effect, ...] = (
            *self.undo()[:-1],
            EngineCall("create_volume", self.copy, {"labels": self._labels}),
        )
        start: tuple[Effect, ...] = (
            EngineCall("create_container", self.temporary, body),
            EngineCall("copy_to_container", self.temporary, {"files": uploads}),
            EngineCall("start_container", self.temporary),
            *self._stages.begun(self.site.spec.server.ready_timeout),
        )
        volume = Step(Address("volume", self.copy), Action.CREATE, None, None, begin, ("the data is copied into it",))
        container = Step(
            Address("container", self.temporary), Action.CREATE, None, None, start,
            (f"a second server, of PostgreSQL {self.site.spec.server.major}; nobody else can reach it",),
        )  # fmt: skip
        missing = self.site.look.engine(f"/images/{image.name}/json") is None
        return (*((pull,) if missing else ()), *self.site.plan_settings(), volume, container)

    def _switch(self) -> tuple[Step, ...]:
        address = Address("container", self.site.container_name)
        mark = EngineCall("create_volume", generations.mark_name(self.copy), {"labels": self._mark_labels})
        stop = EngineCall(
            "stop_container", self.site.container_name, {"timeout": round(self.site.spec.server.stop_timeout)}
        )
        close = EngineCall("signal_container", self.site.container_name, {"signal": "SIGTERM"})
        images = f"image: {self._image} → {self._creation.image}"
        return (
            Step(address, Action.STOP, None, None, (close, EndSessions(), stop, mark),
                 (f"from now on {self.copy!r} holds the data",),
                 "connections are dropped; the new server answers in about two seconds"),
            Step(address, Action.RECREATE, None, None, (), (images,),
                 f"the volume {self._volume!r} is kept until provision upgrade --finish"),
        )  # fmt: skip

    # --- what they are made of ---

    @property
    def _volume(self) -> str:
        data = self.site.spec.server.data
        return data.name if isinstance(data, Volume) else ""

    @property
    def _image(self) -> str:
        return str(self.site.container["Config"]["Image"]) if self.site.container is not None else ""

    @property
    def _labels(self) -> Mapping[str, str]:
        data = self.site.spec.server.data
        assert isinstance(data, Volume)  # noqa: S101  # checked before
        declared = next((dict(each.labels) for each in self._creation.volumes if each.name == self.copy), None)
        if declared is None:
            raise RefusedError(
                "your docker-compose.yml.j2 does not use the volume that an upgrade has to fill",
                evidence=[f"it declares no volume with `name: {self.copy}`"],
                next_step="write `name: {{ volume | quote }}` there",
            )
        return {
            **declared,
            generations.BASE: data.declared or data.name,
            generations.FROM_VOLUME: data.name,
            generations.FROM_MAJOR: str(self.major),
            generations.FROM_IMAGE: self._image,
        }

    @property
    def _mark_labels(self) -> Mapping[str, str]:
        own = {key: self._labels[key] for key in (compose.ENVIRONMENT, compose.DIRECTORY)}
        started = str((self.site.container or {"State": {"StartedAt": ""}})["State"]["StartedAt"])
        return {**own, generations.VERIFIED: self.copy, generations.FROM_START: started}

    def _body(self) -> tuple[Mapping[str, Any], Mapping[str, tuple[str | Secret, int]]]:
        """Return what creates the temporary container, and the files that it gets instead of the old server's."""
        creation, uploads = remote.without_host_files(self._creation, self.files)
        left_out = ("ExposedPorts", "HostConfig", "NetworkingConfig", "Labels", "Env", "Healthcheck", "Hostname")
        kept = {key: value for key, value in creation.body.items() if key not in left_out}
        of_the_network = ("PortBindings", "ExtraHosts", "Sysctls")
        host = {key: value for key, value in creation.body["HostConfig"].items() if key not in of_the_network}
        left = ("POSTGRES_USER=", scripts.DATABASE)
        environment = [each for each in creation.body.get("Env", ()) if not each.startswith(left)]
        command = [
            word
            for name, value in {"listen_addresses": "127.0.0.1", "port": _NEW_PORT, **FILLING}.items()
            for word in ("-c", f"{name}={value}")
        ]
        labels = {key: self._labels[key] for key in (compose.ENVIRONMENT, compose.DIRECTORY)}
        return {
            **kept,
            "Cmd": [*creation.body.get("Cmd", ("postgres",)), *command],
            "Env": [*environment, f"POSTGRES_USER={self.old.bootstrap}", f"{scripts.DATABASE}postgres"],
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": labels,
            "HostConfig": {
                **host,
                "NetworkMode": f"container:{self.site.container_name}",
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            },
        }, uploads
