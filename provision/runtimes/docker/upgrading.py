"""From one major version to a newer one: the steps that fill a new volume beside the running server.

A temporary container of the new version, which nobody else can reach, fills the new volume. Until the copy was compared
with the original and the old server was stopped, nothing counts, and the old server has everything as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model import (
    Action,
    Address,
    CompareOutput,
    EngineCall,
    HoldWrites,
    RunInContainer,
    Step,
)
from provision.runtimes.docker import compose, generations, remote
from provision.runtimes.docker.copying import Copying, passfile
from provision.spec.model import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.model import Effect, Secret, WriteFile
    from provision.runtimes.docker.site import DockerSite

_PORT = 5432
_STOP = 600
# What makes filling quicker and costs nothing: a server that is stopped properly has everything on the disk.
_FILLING = {
    "listen_addresses": "127.0.0.1",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "archive_mode": "off",
    "max_wal_size": "4GB",
}


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


def data_major(site: DockerSite) -> int:
    """Return the major version that has made the data, or that of the spec where nothing tells."""
    current = site.generations.current
    if current is not None and current.major is not None:
        return current.major
    for each in site.volumes.values():
        label = ((each or {}).get("Labels") or {}).get(compose.MAJOR, "")
        if label.isdecimal():
            return int(label)
    environment = dict(each.partition("=")[::2] for each in ((site.container or {}).get("Config") or {}).get("Env", ()))
    return int(environment.get("PG_MAJOR", site.spec.server.major))


def is_switched(site: DockerSite) -> bool:
    """Tell whether the container uses the volume that holds the data now."""
    data = site.spec.server.data
    mounts = (site.container or {}).get("Mounts") or ()
    return isinstance(data, Volume) and any(each.get("Name") == data.name for each in mounts)


def check(site: DockerSite) -> None:
    """Refuse what cannot be upgraded here.

    Raises:
        RefusedError: with what to do instead.
    """
    spec, major = site.spec, data_major(site)
    if not isinstance(spec.server.data, Volume):
        raise RefusedError(
            "only data in a named volume is upgraded; this is in " + site.status.data.removesuffix(" (not made yet)")
            if site.status.data
            else "only data in a named volume is upgraded",
            next_step="give the new version a place of its own in `server.data`, and copy the data with pg_dump",
        )
    if major > spec.server.major:
        raise RefusedError(
            f"the data is of PostgreSQL {major}, and an upgrade does not lead back to {spec.server.image!r}",
            next_step="provision upgrade --rollback"
            if site.generations.kept
            else f"use an image of PostgreSQL {major}",
        )
    if site.container is None and any(each is not None for each in site.volumes.values()):
        raise RefusedError(
            f"the data is of PostgreSQL {major}, and there is no server that could be read",
            evidence=[f"the container {site.container_name!r} does not exist"],
            next_step=f"set an image of PostgreSQL {major}, `provision apply SPEC`, and then upgrade again",
        )
    copy = generations.copy_name(spec.server.data.declared or spec.server.data.name, spec.server.major)
    seen = site.look.engine(f"/volumes/{copy}")
    if seen is not None and not generations.is_ours(spec, seen.get("Labels") or {}, site.look):
        raise RefusedError(
            f"the upgrade would fill the volume {copy!r}, and there is one that is not of this environment",
            next_step=f"docker volume inspect {copy}",
        )


@dataclass(frozen=True)
class Upgrade:
    """One upgrade: the environment as it is, the files of the new version, and what the old server said."""

    site: DockerSite
    files: Sequence[WriteFile]
    old: Old
    password: Secret

    @property
    def _creation(self) -> compose.Creation:
        return compose.read(str(self.files[0].content), self.files[0].path)

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
    def _copying(self) -> Copying:
        server = self.site.spec.server
        return Copying(self.site.container_name, _PORT, server.user, self.old.bootstrap, server.major)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps up to the moment from which the new volume counts."""
        return (*self._prepare(), self._hold(), *self._copy(), self._compare(), *self._switch())

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
        pull = Step(image, Action.CREATE, None, None, (EngineCall("pull_image", image.name),))
        body, uploads = self._body()
        begin: tuple[Effect, ...] = (
            *self.undo()[:-1],
            EngineCall("create_volume", self.copy, {"labels": self._labels}),
        )
        start: tuple[Effect, ...] = (
            EngineCall("create_container", self.temporary, body),
            EngineCall("copy_to_container", self.temporary, {"files": uploads}),
            EngineCall("start_container", self.temporary),
            self._run(self._copying.ready(self.site.spec.server.ready_timeout), "starting the new server"),
            self._run(self._copying.extensions(self.old.extensions), "looking for the extensions"),
        )
        volume = Step(Address("volume", self.copy), Action.CREATE, None, None, begin, ("the data is copied into it",))
        container = Step(
            Address("container", self.temporary), Action.CREATE, None, None, start,
            (f"a second server, of PostgreSQL {self.site.spec.server.major}; nobody else can reach it",),
        )  # fmt: skip
        missing = self.site.look.engine(f"/images/{image.name}/json") is None
        return (*((pull,) if missing else ()), volume, container)

    def _hold(self) -> Step:
        megabytes = sum(size for _, size in self.old.databases) / 1e6
        return Step(
            Address("server", self.site.spec.name), Action.UPDATE, None, None, (HoldWrites(self.old.names),),
            (f"writers are held back, so that no row is lost ({self.old.sessions} clients are connected)",),
            f"from here on writers wait, until all is copied and compared ({megabytes:.0f} MB); readers do not",
        )  # fmt: skip

    def _copy(self) -> tuple[Step, ...]:
        roles = Step(
            Address("role", "*"), Action.CREATE, None, None, (self._run(self._copying.roles(), "copying the roles"),),
            ("with their passwords, memberships and settings",),
        )  # fmt: skip
        databases = tuple(
            Step(
                Address("database", name), Action.CREATE, None, None,
                (self._run(self._copying.database(name), f"copying the database {name!r}"),),
                (f"about {size / 1e6:.0f} MB",),
            )
            for name, size in self.old.databases
        )  # fmt: skip
        return (roles, *databases)

    def _compare(self) -> Step:
        both = [self._copying.inventory(side, self.old.names) for side in ("old", "new")]
        what = "comparing the copy with the original"
        effects: tuple[Effect, ...] = (
            HoldWrites(self.old.names, large_objects=True),
            CompareOutput(self.temporary, both[0], both[1], passfile(self.password), what),
            self._run(self._copying.analyze(), "collecting statistics"),
            EngineCall("stop_container", self.temporary, {"timeout": _STOP}),
            EngineCall("remove_container", self.temporary),
        )
        why = "the copy is compared: rows, sequences, large objects, roles, settings, extensions"
        return Step(Address("volume", self.copy), Action.UPDATE, None, None, effects, (why,))

    def _switch(self) -> tuple[Step, ...]:
        address = Address("container", self.site.container_name)
        mark = EngineCall("create_volume", generations.mark_name(self.copy), {"labels": self._mark_labels})
        stop = EngineCall(
            "stop_container", self.site.container_name, {"timeout": round(self.site.spec.server.stop_timeout)}
        )
        images = f"image: {self._image} → {self._creation.image}"
        return (
            Step(address, Action.STOP, None, None, (stop, mark), (f"from now on {self.copy!r} holds the data",),
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
            generations.FROM_MAJOR: str(data_major(self.site)),
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
        network = next(iter((self.site.container or {})["NetworkSettings"]["Networks"]))
        left_out = ("ExposedPorts", "HostConfig", "NetworkingConfig", "Labels", "Env", "Healthcheck")
        kept = {key: value for key, value in creation.body.items() if key not in left_out}
        host = {key: value for key, value in creation.body["HostConfig"].items() if key != "PortBindings"}
        environment = [each for each in creation.body.get("Env", ()) if not each.startswith("POSTGRES_USER=")]
        command = [word for name, value in _FILLING.items() for word in ("-c", f"{name}={value}")]
        labels = {key: self._labels[key] for key in (compose.ENVIRONMENT, compose.DIRECTORY)}
        return {
            **kept,
            "Cmd": [*creation.body.get("Cmd", ("postgres",)), *command],
            "Env": [*environment, f"POSTGRES_USER={self.old.bootstrap}"],
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": labels,
            "HostConfig": {**host, "NetworkMode": network, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
            "NetworkingConfig": {"EndpointsConfig": {network: {}}},
        }, uploads

    def _run(self, argv: tuple[str, ...], what: str) -> RunInContainer:
        return RunInContainer(self.temporary, argv, passfile(self.password), what)
