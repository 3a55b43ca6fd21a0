"""The steps that converge one environment's container, network and volumes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provision.kinds import Ground
from provision.model import Action, Address, Effect, Secret, State, Step, changes
from provision.model.effects import EngineCall, MakeDirectory, ReadSettings, RemovePath, RunLocalSql, WaitReady
from provision.runtimes import DATA_RECORD, superusers
from provision.runtimes.data_directory import reading_settings as reading
from provision.runtimes.docker import (
    checks,
    compose,
    containers,
    data_contents,
    data_location,
    generations,
    networks,
    ownership,
    privileges,
    remote,
    scripts,
    spec_label,
)
from provision.runtimes.docker.containers import IDLE, Container, Network, labels_of
from provision.runtimes.docker.containers import update_in_place as mend
from provision.runtimes.docker.seen import Seen
from provision.spec.model import DataPath, Ephemeral
from provision.spec.parameters import is_known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from provision.model import Change
    from provision.model.effects import WriteFile
    from provision.runtimes import Claim, Collision
    from provision.spec.model import Spec
    from provision.system.look import Look


_KEEPING = MappingProxyType({"volumes": False})
"""A container that is removed without the volumes that have no name."""


def examine(spec: Spec, files: Mapping[str, WriteFile], look: Look) -> DockerSite:
    """Read the compose file among ``files`` and look at everything in the engine that it names.

    Raises:
        RefusedError: it is somebody else's.
    """
    creation = compose.read(str(files["compose"].content), files["compose"].path)
    uploads: Mapping[str, tuple[str | Secret, int]] = {}
    container = containers.inspect(look, creation.container)
    if not checks.shares_files(container, look):
        creation, uploads = remote.without_host_files(creation, files)
    image = look.image(creation.image)
    own_image = image
    if container is not None and (image is None or container["Image"] != image["Id"]):
        own_image = look.image(container["Image"])
    ours = generations.volumes(spec, look) if creation.volumes else {}
    volumes = {each.name: ours.get(each.name) or look.engine(f"/volumes/{each.name}") for each in creation.volumes}
    checks.check_owner(spec, creation.container, container, volumes, look)
    return DockerSite(
        spec=spec,
        creation=creation,
        uploads=uploads,
        container=container,
        image=image,
        own_image=own_image,
        network=None if creation.network is None else _network(creation.network.name, container, look),
        volumes=volumes,
        look=look,
        generations=generations.find(spec, look),
    )


def _network(name: str, container: Mapping[str, Any] | None, look: Look) -> Mapping[str, Any] | None:
    """Return what shows that a network is there: the engine removes none to which a running container is attached."""
    running = container is not None and container["State"]["Running"]
    attached = container["NetworkSettings"]["Networks"].get(name) if container is not None and running else None
    if attached and attached.get("NetworkID"):
        return attached  # type: ignore[no-any-return]
    return look.engine(f"/networks/{name}")  # type: ignore[no-any-return]


@dataclass(frozen=True)
class DockerSite(Seen):
    """Implements :class:`provision.runtimes.Site`."""

    # --- what kinds build on ---

    def ground(self, *, starting: bool) -> Ground:
        """Return how this container is restarted and entered."""

        def local_sql(script: str, password: Secret) -> RunLocalSql:
            others = superusers(self.spec, self.look, self._superuser)
            return RunLocalSql(script, password, self.spec.server.user, container=self.container_name, others=others)

        restart = (self._call("restart_container"), self._ready)
        in_memory = isinstance(self.spec.server.data, Ephemeral)
        line, file = "host all all all scram-sha-256", '"$PGDATA/pg_hba.conf"'
        inside = f"{self.look.engine_program} exec -u postgres {self.container_name}"
        admitting = f"{inside} sh -c 'echo {line} >> {file}; pg_ctl reload'"
        return Ground(
            self._publish,
            restart,
            local_sql,
            starting,
            restart_destroys=in_memory,
            superuser=self._superuser,
            admitting=admitting,
        )

    @property
    def _superuser(self) -> str:
        """The superuser that the container was made for."""
        words = ((self.container or {}).get("Config") or {}).get("Env") or ()
        return next((each.partition("=")[2] for each in words if each.startswith("POSTGRES_USER=")), "")

    @property
    def is_told_by_file(self) -> bool:
        """Whether the container's command names our configuration file."""
        words = ((self.container or {}).get("Config") or {}).get("Cmd") or ()
        return any(each == f"config_file={self.config_file}" for each in words)

    @property
    def _ready(self) -> WaitReady:
        return WaitReady(self.spec.server.ready_timeout)

    @property
    def _publish(self) -> tuple[Effect, ...]:
        return self._copy_to(self.container_name)

    def _copy_to(self, name: str) -> tuple[Effect, ...]:
        return (EngineCall("copy_to_container", name, {"files": self.uploads}),) if self.uploads else ()

    def _call(self, operation: Any, target: str = "") -> EngineCall:
        return EngineCall(operation, target or self.container_name, {"timeout": round(self.spec.server.stop_timeout)})

    # --- the plan ---

    def plan(self) -> tuple[Step, ...]:
        """Return the steps to a running container.

        Raises:
            RefusedError: they would disturb what is not ours, or cost data.
        """
        checks.check_image(self.spec, self.image)
        checks.check_user(self)
        data_location.check_declared(self)
        data_location.check_current(self)
        privileges.check(self)
        checks.check_major(self.spec, self.container_name, self.container, self.volumes, self.generations)
        checks.check_seen(self)
        ownership.check_alone(self)
        data_contents.check_directory(self)
        scripts.check_finished(self)
        if (unfinished := data_contents.unfinished_volume(self)) is not None:
            address = Address("container", self.container_name)
            return (
                *self.leftovers(),
                *self._plan_surroundings(),
                data_contents.initialise_again(self, unfinished),
                self._create(address),
                *self._plan_network_removal(),
            )
        container = self._plan_container()
        if container:
            checks.check_port(self.creation, self.container, self.look)
        if any(step.action is not Action.UPDATE for step in container):
            data_contents.check_old(self)
        made = any(step.action in (Action.CREATE, Action.RECREATE) for step in container)
        if any(step.action is Action.RECREATE for step in container):
            data_location.check_removal(self)
        removal = self._plan_network_removal() if made else ()
        return (*self.leftovers(), *self._plan_surroundings(), *container, *removal)

    def leftovers(self) -> tuple[Step, ...]:
        """Remove what an upgrade that was interrupted has left: a copy that nobody ever used."""
        return generations.leftovers(self.generations, self.container_name, self.look)

    def _plan_surroundings(self) -> tuple[Step, ...]:
        seen, wanted = self.observed, self.desired
        creations: dict[Address, tuple[Effect, ...]] = {
            Address("image", self.creation.image): (EngineCall("pull_image", self.creation.image),)
        }
        if (network := self.creation.network) is not None and not network.external:
            call = EngineCall("create_network", network.name, labels_of(network))
            creations[Address("network", network.name)] = (call,)
        for each in self.creation.volumes:
            creations[Address("volume", each.name)] = (EngineCall("create_volume", each.name, labels_of(each)),)
        if isinstance(self.spec.server.data, DataPath):
            path = self.spec.server.data.path
            make = MakeDirectory(path, self._directory_mode, self.spec.home / DATA_RECORD)
            creations[Address("directory", str(path))] = (make, *checks.give_to_container(self, path))
        # An image shows where it keeps the data, so everything is looked at again once it is here.
        made = tuple(
            Step(address, Action.CREATE, None, wanted[address], effects, reveals=address.kind == "image")
            for address, effects in creations.items()
            if address not in seen and not (address.kind == "image" and not self._image_is_needed)
        )
        return (*self.plan_settings(), *made)

    def plan_settings(self) -> tuple[Step, ...]:
        """Read the settings of a major version that the program does not know from its image, once that is here."""
        major, image = self.spec.server.major, self.image
        if not major or image is None or is_known(major):
            return ()
        user = image["Config"].get("User") or "root"
        container = f"{self.container_name}.settings"
        is_root = user.partition(":")[0] in ("root", "0")
        return (reading(ReadSettings(major, image["Id"], self.creation.image, container, is_root)),)

    def _plan_network_removal(self) -> tuple[Step, ...]:
        """Remove our network when a container is made that does not use it."""
        why = ("the compose file does not declare it, and no other container is attached",)
        return tuple(
            Step(
                Address("network", name), Action.REMOVE, Network(name), None, (EngineCall("remove_network", name),), why
            )
            for name in networks.unused(self)
        )

    @property
    def _directory_mode(self) -> int:
        """The server owns what is mounted, or a directory below it, which it must be able to reach."""
        place = self.declared_place
        return 0o700 if place is not None and not place.below else 0o711

    @property
    def _image_is_needed(self) -> bool:
        """An image that was removed from the engine is missed only when a container has to be made from it."""
        return any(step.action in (Action.CREATE, Action.RECREATE) for step in self._plan_container())

    def _plan_container(self) -> tuple[Step, ...]:
        address = Address("container", self.container_name)
        after = self.desired[address]
        before = self.observed.get(address)
        if before == after or not isinstance(after, Container):
            return ()
        if not isinstance(before, Container):
            return (self._create(address),)
        why = changes(before, after)
        if [change.field for change in why] != ["status"]:
            return self._mend(address, before, after)
        return (self._begin(address, before, after, why),)

    def _mend(self, address: Address, before: Container, after: Container) -> tuple[Step, ...]:
        """Change the container in place where the engine can do that, else make it anew."""
        effects = mend(self.creation, before, after, self.look)
        if not effects:
            return (self._recreate(address, before, after),)
        text = "in place: nobody is disturbed"
        why = changes(before, after)
        if before.status == after.status:
            return (Step(address, Action.UPDATE, before, after, effects, why, text),)
        begun = self._begin(address, before, after, why)
        return (replace(begun, effects=(*effects, *begun.effects)),)

    def _begin(self, address: Address, before: Container, after: Container, why: tuple[Change, ...]) -> Step:
        """Have a container run that is as declared otherwise."""
        if before.status == "paused":
            thaw = (EngineCall("unpause_container", self.container_name),)
            return Step(address, Action.START, before, after, thaw, why=why)
        if before.status in IDLE:
            looks = data_contents.check_new(self, self.container_name)  # into data on which it never ran
            return Step(address, Action.START, before, after, (*looks, *self._publish, *self._start), why=why)
        effects = (*self._publish, self._call("restart_container"))
        return Step(address, Action.RESTART, before, after, effects, why=why)

    def _create(self, address: Address) -> Step:
        effects = (*self._make(self.container_name, self.creation.body), *self._start)
        return Step(address, Action.CREATE, None, self.desired[address], effects, consequence=privileges.words(self))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What differs in a container that is kept as it is, and what it has and the spec does not allow."""
        return (*super().remarks, *privileges.remarks(self))

    @property
    def _inheriting(self) -> Mapping[str, Any]:
        """The creation call with the volumes that have no name, which Compose hands on as well."""
        host = self.creation.body["HostConfig"]
        taken = {each["Target"] for each in host["Mounts"]}
        mounts = [
            {"Type": "volume", "Source": name, "Target": target}
            for target, name in self._extra.items()
            if target not in taken
        ]
        return {**self.creation.body, "HostConfig": {**host, "Mounts": [*host["Mounts"], *mounts]}}

    @property
    def _anonymous(self) -> Mapping[str, str]:
        return data_location.anonymous((self.container or {}).get("Mounts") or ())

    @property
    def _extra(self) -> Mapping[str, str]:
        """Those that may hold something: not the one that an image has from the official one, and does not use."""
        return {target: name for target, name in self._anonymous.items() if target not in data_location.OFFICIAL}

    def _remove(self, kept: Mapping[str, str]) -> tuple[Effect, ...]:
        """Remove the container, and those of its volumes without a name that are not kept."""
        gone = [name for target, name in self._anonymous.items() if target not in kept]
        remove = EngineCall("remove_container", self.container_name, _KEEPING)
        return (remove, *(EngineCall("remove_volume", each) for each in gone))

    @property
    def _start(self) -> tuple[Effect, ...]:
        return (EngineCall("start_container", self.container_name),)

    def _make(self, name: str, body: Mapping[str, Any]) -> tuple[Effect, ...]:
        """Create the container under a name; what an interrupted run left under the temporary name goes first."""
        return (
            EngineCall("remove_container", self._temporary),
            EngineCall("create_container", name, body),
            *data_contents.check_new(self, name),
            *self._copy_to(name),
            EngineCall("copy_to_container", name, {"files": scripts.uploads(self.creation.scripts)}),
        )

    @property
    def _temporary(self) -> str:
        return f"{self.container_name}.new"

    def _recreate(self, address: Address, before: Container, after: Container) -> Step:
        """Make the new container first, so that one that cannot be made leaves the old one running."""
        effects: list[Effect] = [
            *self._make(self._temporary, self._inheriting),
            *networks.reattach(self, self._temporary),
        ]
        effects += self._stopping(before.status)
        effects += [
            *self._remove(self._extra),
            EngineCall("rename_container", self._temporary, {"name": self.container_name}),
            *self._start,
        ]
        reasons = self._reasons(before, after)
        consequence = "recreate: connections are dropped, the data is kept"
        in_memory = any(each.startswith("tmpfs ") for each in before.mounts) and before.status not in IDLE
        if in_memory:
            consequence = "recreate: connections are dropped, and the data in memory is gone"
        elif before.mounts != after.mounts:
            consequence = self._moved(before)
        consequence = "; ".join(filter(None, (consequence, privileges.words(self))))
        return Step(address, Action.RECREATE, before, after, tuple(effects), reasons, consequence, destroys=in_memory)

    def _reasons(self, before: Container, after: Container) -> tuple[Change | str, ...]:
        # An older build prints the same reference twice, and the fingerprint only says that something differs.
        why = tuple(each for each in changes(before, after) if each.field not in ("fingerprint", "status"))
        if spec_label.differs_by_version(before, after, own_template=self.has_own_template):
            return (spec_label.OTHER_VERSION, *why)
        return why or ("it was created with other arguments than the compose file has now",)

    def _moved(self, before: Container) -> str:
        text = "recreate: connections are dropped; the data stays where it was, see the mounts"
        old, new = self.current_place, self.declared_place
        if old is None or (new and new.source == old.source) or before.status == "created":
            return text
        start = "with no data" if self.is_fresh or new is None else f"on what is in {new.source}"
        return f"{text}: the server starts {start}, and all rows so far are in {old.source}, which nothing uses then"

    def _stopping(self, status: str) -> list[Effect]:
        if status in IDLE:
            return []
        thaw = [EngineCall("unpause_container", self.container_name)] if status == "paused" else []
        return [*thaw, self._call("stop_container")]

    # --- around a start ---

    def _now(self) -> DockerSite:
        look = self.look
        volumes = {name: look.engine(f"/volumes/{name}") for name in self.volumes}
        return replace(self, container=look.engine(f"/containers/{self.container_name}/json"), volumes=volumes)

    def claim(self, *, creating: bool) -> Claim | None:
        """Return the data that the container uses, unless its labels keep others off."""
        now = self._now()
        return ownership.claim(now, as_it_is=now.is_there(creating=creating))

    def is_there(self, *, creating: bool) -> bool:
        """Tell whether the server starts in the container that is there."""
        return self.container is not None and not creating

    def look_again(self, *, creating: bool) -> None:
        """Look whose the container's name, the volumes and the port are, and who is on the data.

        Raises:
            RefusedError: they are another environment's.
        """
        now = self._now()
        checks.check_owner(self.spec, self.container_name, now.container, now.volumes, self.look)
        ownership.check_alone(now, as_it_is=now.is_there(creating=creating))
        checks.check_port(self.creation, now.container, self.look)

    def collision(self) -> Collision | None:
        """Compare the start of our container with that of another one on the same data."""
        now = self._now()
        other, place = ownership.other_container(now, as_it_is=True), now.current_place
        if other is None or place is None or now.container is None:
            return None
        return checks.collision(now.container, other, ownership.refusal(now, place.source, other), self.look)

    # --- verbs ---

    def _lifecycle(self, action: Action, effects: Sequence[Effect], **more: Any) -> Step:
        address = Address("container", self.container_name)
        before = self.observed.get(address)
        after = None if action is Action.REMOVE else before
        return Step(address, action, before, after if isinstance(after, State) else None, tuple(effects), **more)

    def start(self) -> tuple[Step, ...]:
        """Start or thaw a container that is there and does not run."""
        if self.container is None or self._state == "running":
            return ()
        checks.check_port(self.creation, self.container, self.look)
        ownership.check_alone(self, as_it_is=True)
        effect = EngineCall("unpause_container" if self._state == "paused" else "start_container", self.container_name)
        return (self._lifecycle(Action.START, (effect, self._ready)),)

    def stop(self) -> tuple[Step, ...]:
        """Stop the container; data in memory goes with it."""
        if self.container is None or self._state in IDLE:
            return ()
        lost = isinstance(self.spec.server.data, Ephemeral)
        text = "the data was in memory and is gone" if lost else "the data is kept"
        return (self._lifecycle(Action.STOP, self._stopping(self._state), consequence=text, destroys=lost),)

    def restart(self) -> tuple[Step, ...]:
        """Stop and start the container."""
        if self.container is None or self._state != "running":
            return self.start()
        ownership.check_alone(self, as_it_is=True)
        return (self._lifecycle(Action.RESTART, (self._call("restart_container"), self._ready)),)

    def _holds_a_cluster(self, path: Path) -> bool:
        """Whether a directory is what PostgreSQL made of it; anything else is not ours to remove."""
        place = self.declared_place
        places = (path, path / (place.below if place is not None else ""))
        return any(self.look.exists(each / "PG_VERSION") for each in places)

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Remove container and network; with ``data`` also the volume or directory, and what was rendered.

        Raises:
            RefusedError: the data is not known to be ours, or somebody else is on it.
        """
        if data:
            ownership.check_ours(self)
            ownership.check_alone(self)
        else:
            data_location.check_removal(self)
        steps: list[Step] = [*self.leftovers()]
        if self.container is not None:
            lost = isinstance(self.spec.server.data, Ephemeral) and self._state not in IDLE
            kept = {} if data or isinstance(self.spec.server.data, Ephemeral) else self._extra
            effects = (*self._stopping(self._state), *self._remove(kept))
            words = [f"the volume {name}, which was at {target}, stays" for target, name in kept.items()]
            text = "; ".join(["the data was in memory and is gone"] * lost + words)
            steps.append(self._lifecycle(Action.REMOVE, effects, consequence=text, destroys=lost))
        removals: list[tuple[Address, tuple[Effect, ...], bool]] = [
            (Address("network", name), (EngineCall("remove_network", name),), False)
            for name in networks.removable(self)
        ]
        if data:
            removals += [
                (Address("volume", name), (EngineCall("remove_volume", name),), True)
                for name, seen in self.volumes.items()
                if seen is not None
            ]
            old = (*(each.name for each in self.generations.kept), *self.generations.marks)
            removals += [(Address("volume", name), (EngineCall("remove_volume", name),), True) for name in old]
            if isinstance(self.spec.server.data, DataPath) and self._holds_a_cluster(self.spec.server.data.path):
                path = self.spec.server.data.path
                removals.append((Address("directory", str(path)), checks.remove_directory(self, path), True))
            if self.look.exists(self.spec.home):
                removals.append((Address("directory", str(self.spec.home)), (RemovePath(self.spec.home),), False))
        for address, effects, destroys in removals:
            steps.append(Step(address, Action.REMOVE, self.observed.get(address), None, effects, destroys=destroys))
        return tuple(steps)
