"""One environment's container, network and volumes: what the spec declares, and what the engine showed once."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping
from functools import cached_property

from provision.errors import ProvisionError
from provision.model import Address, Effect, Endpoint, Secret, State, Status, Unknown
from provision.model.effects import EngineCall, EngineOperation
from provision.model.value import dataclass, field, replace
from provision.runtimes import Existing, Site, Trouble, collected, server_log
from provision.runtimes.data_directory import with_kept
from provision.runtimes.docker import compose, containers, data_location, generations, golden_image, spec_label
from provision.runtimes.docker.compose import Creation, Json, Uploads
from provision.runtimes.docker.containers import IDLE, Container, desired_container, observed_container
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.generations import Generations
from provision.runtimes.docker.watch import ContainerWatch
from provision.runtimes.names import CURRENT_LOGFILES, PORT
from provision.spec.model import DataPath, Ephemeral, Spec
from provision.system.look import Look

_EXPORTED = (
    "the image's entrypoint gives the server the password in its environment, where SQL can read it; write"
    " `BASH_ENV: /etc/postgresql/postgres` below `environment:` in your docker-compose.yml.j2"
)


_COLLECTED = "Future log output will appear in directory"
"""What a server says last on its own output before logging_collector takes over."""
_LAST_LINES = 60


@dataclass(frozen=True)
class Inspection(Site):
    """What is declared, and what the JSON of the engine says is there."""

    spec: Spec
    creation: Creation
    uploads: Uploads
    container: Json | None
    image: Json | None
    own_image: Json | None
    has_network: bool
    volumes: Mapping[str, Json | None]
    look: Look = field(repr=False)
    generations: Generations = field(default_factory=Generations)

    config_file = "/etc/postgresql/postgresql.conf"

    # --- what is declared, what is there ---

    @property
    def container_name(self) -> str:
        """The container's name."""
        return self.creation.container

    @cached_property
    def _surroundings(self) -> dict[Address, bool]:
        """What the container needs, and whether it exists: image, network, volumes or data directory."""
        creation, data = self.creation, self.spec.server.data
        found = {Address("image", creation.image): self.image is not None}
        if creation.network is not None:
            found[Address("network", creation.network.name)] = self.has_network
        found |= {Address("volume", each.name): self.volumes[each.name] is not None for each in creation.volumes}
        if isinstance(data, DataPath):
            found[Address("directory", str(data.path))] = self.look.there(data.path)
        return found

    @property
    def desired(self) -> dict[Address, State]:
        """The container, and what it needs."""
        return {**{each: Existing(each.name) for each in self._surroundings}, self.address: self.desired_container}

    @property
    def address(self) -> Address:
        """The container's address in plans."""
        return Address("container", self.container_name)

    @property
    def temporary(self) -> str:
        """The name under which a container is made that takes the place of another."""
        return f"{self.container_name}.new"

    def call(self, operation: EngineOperation) -> EngineCall:
        """Return a call that stops the container, in the time that it has for that."""
        return EngineCall(operation, self.container_name, {"timeout": round(self.spec.server.stop_timeout)})

    @property
    def desired_container(self) -> Container:
        """The container as it is to run."""
        return self._kept_container or self._created_container

    @property
    def _created_container(self) -> Container:
        """The container that would be created today."""
        brought = (self.image or self.own_image or {}).get("Config") or {}
        return desired_container(self.creation, brought)

    @property
    def _kept_container(self) -> Container | None:
        """The running container with its data in memory, where only another version would create it differently."""
        before, after = self.observed_container, self._created_container
        if before is None or before.fingerprint == after.fingerprint:
            return None
        return spec_label.kept(self.spec, before, after, own_template=self.has_own_template)

    @property
    def has_own_template(self) -> bool:
        """Whether the compose file comes from a template of the project."""
        place = self.spec.templates
        return place is not None and self.look.exists(place / "docker-compose.yml.j2")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What differs in a container that is kept, limits that the engine ignores, and what SQL can read."""
        found: list[str] = []
        if self._kept_container is not None and self.observed_container is not None:
            found.append(spec_label.remark(self.container_name, self.observed_container, self._created_container))
        names = data_location.variables(self.creation.body)
        if self.container is not None and (lifted := containers.unlimited(self.container, self.creation)):
            keys = " and ".join(f"`resources.{containers.LIMITS[each]}`" for each in lifted)
            found.append(f"the engine cannot limit what a container uses, so it ignores {keys}")
        if {"POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"} & {*names} and "BASH_ENV" not in names:
            found.append(_EXPORTED)
        return tuple(found)

    @property
    def observed(self) -> dict[Address, State | Unknown]:
        """The same addresses, as far as there is something."""
        own = {} if self.observed_container is None else {self.address: self.observed_container}
        return {**{each: Existing(each.name) for each, exists in self._surroundings.items() if exists}, **own}

    @cached_property
    def observed_container(self) -> Container | None:
        """The container as a state."""
        if self.container is None:
            return None
        brought = (self.own_image or {}).get("Config") or {}
        shown = containers.in_words_of(self.container, self.creation)
        same = shown["Config"]["Image"] == self.creation.image
        current = (self.image or {}).get("Id", "") if same else ""
        if not same:
            words = golden_image.in_words(shown["Config"]["Image"], self.own_image)
            shown = {**shown, "Config": {**shown["Config"], "Image": words}}
        found = observed_container(shown, brought, current_image_id=current)
        if found.fingerprint == compose.fingerprint(self.creation, whole=True):
            found = replace(found, fingerprint=self.creation.fingerprint)
        declared = (self.creation.body["HostConfig"]["NetworkMode"],)
        # What is attached besides belongs to others, and is left alone.
        return replace(found, networks=declared) if set(declared) <= set(found.networks) else found

    @property
    def declared_directory(self) -> str:
        """The data directory of the declared container, as it sees it."""
        own = data_location.variables(self.creation.body).get("PGDATA")
        return posixpath.normpath(own) if own else data_location.of_spec(self.spec).directory

    @property
    def declared_place(self) -> Place | None:
        """The volume or directory that is to hold the data; None: it is to be in memory."""
        return data_location.kept(self.creation.body["HostConfig"]["Mounts"], self.declared_directory)

    @property
    def current_place(self) -> Place | None:
        """The volume or directory that the container that is there was made to keep its data in."""
        if self.container is None:
            return None
        return data_location.kept(self.container["Mounts"], self.current_directory)

    @property
    def current_directory(self) -> str:
        """The data directory of the container that is there, as far as its environment says."""
        config = (self.container or {}).get("Config") or {}
        return data_location.data_directory(config, data_location.major(config) or self.spec.server.major)

    @property
    def data_major(self) -> int:
        """The major version that made the data, as far as labels and the container tell, else the declared one."""
        current = self.generations.current
        if current is not None and current.major is not None:
            return current.major
        labelled = next(filter(None, (generations.major_of(each or {}) for each in self.volumes.values())), 0)
        made_by = data_location.major((self.container or {}).get("Config") or {})
        return labelled or made_by or self.spec.server.major

    @property
    def state(self) -> str:
        """The engine's word for what the container does, or ``absent``."""
        return "absent" if self.container is None else str(self.container["State"]["Status"])

    @property
    def working(self) -> Json | None:
        """The container, where it runs or has ended without an error."""
        ended_well = self.state == "exited" and self.container and not self.container["State"].get("ExitCode")
        return self.container if self.state == "running" or ended_well else None

    @property
    def has_golden_data(self) -> bool:
        """Whether the container has its data in its own layer, because it was made from a golden."""
        is_golden = bool(golden_image.labels_of(self.own_image))
        return self.container is not None and is_golden and isinstance(self.spec.server.data, Ephemeral)

    @property
    def base_image(self) -> Json | None:
        """The image that the declared container is made from, with the programs; the golden is FROM it."""
        return golden_image.base(self.image, self.look)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has initialised the data yet."""
        data = self.spec.server.data
        if isinstance(data, Ephemeral):
            return self.state == "absent" or (self.state in IDLE and not self.has_golden_data)
        if isinstance(data, DataPath):
            return not self.look.there(data.path)
        return all(seen is None for seen in self.volumes.values())

    @property
    def status(self) -> Status:
        """The container in a few words."""
        if self.container is None:
            coming = " (not made yet)" if self.is_fresh else ""
            return Status("absent", image=self._shown_image, data=self._data_place + coming)
        state = self.container["State"]
        ended = state["Status"] in ("exited", "restarting") and state["ExitCode"]
        detail = f"exit code {state['ExitCode']}" if ended else ""
        if state.get("OOMKilled"):
            detail += ", killed for lack of memory"
        return Status(
            "stopped" if state["Status"] in IDLE else state["Status"],
            with_kept(detail, [f"the volume {each.name!r}" for each in self.generations.kept]),
            image=self._shown_image,
            container=self.container_name,
            started=state["StartedAt"] if state["Running"] else None,
            data=self._data_place,
        )

    @property
    def _shown_image(self) -> str:
        if self.container is None:
            return golden_image.in_words(self.creation.image, self.image)
        return golden_image.in_words(self.container["Config"]["Image"], self.own_image)

    @property
    def _data_place(self) -> str:
        data = self.spec.server.data
        if isinstance(data, Ephemeral):
            return "in the container" if self.has_golden_data else "in memory"
        return f"directory {data.path}" if isinstance(data, DataPath) else f"volume {data.name}"

    def endpoint(self, password: Secret) -> Endpoint | None:
        """Return the published address of the running container, as the engine shows it."""
        if self.state != "running" or self.container is None:
            return None
        return self._published(self.container["HostConfig"]["PortBindings"] or {}, password)

    def directly(self, at: Endpoint) -> Endpoint:
        """Return where the running server is reached, also past the engine's proxy."""
        return self.look.past_proxy(at, self.container) if self.state == "running" and self.container else at

    def target(self, password: Secret) -> Endpoint:
        """Return the address that the compose file publishes.

        Raises:
            ProvisionError: it publishes none.
        """
        found = self._published(self.creation.body["HostConfig"].get("PortBindings", {}), password)
        if found is None:
            raise ProvisionError(
                "the rendered docker-compose.yml publishes no port, so the server cannot be reached from here",
                next_step="add `ports:` to your docker-compose.yml.j2",
            )
        return found

    def _published(self, bindings: Json, password: Secret) -> Endpoint | None:
        published = bindings.get(PORT) or next(iter(bindings.values()), None)
        if published is None:
            return None
        at = self.at(published[0]["HostIp"], int(published[0]["HostPort"]), password)
        return self.look.reached(at, self.spec.home)

    # --- what a run asks while it works ---

    @property
    def log_command(self) -> str:
        """The command that shows the log."""
        return f"{self.look.reader.program} logs {self.container_name}"

    def watch(self) -> ContainerWatch:
        """Return what tells whether the container has ended."""
        return ContainerWatch(self.look, self.container_name)

    def stop_restarts(self) -> tuple[Effect, ...]:
        """Stop a container that starts and ends again and again; what it said stays in its log."""
        seen = containers.inspect(self.look, self.container_name)
        if seen is None or not (seen["State"]["Restarting"] or seen["RestartCount"]):
            return ()
        return (EngineCall("stop_container", self.container_name, {"timeout": 1}),)

    def explain_end(self) -> Trouble:
        """Return what became of the container."""
        seen = containers.inspect(self.look, self.container_name)
        lines = self.look.reader.logs(self.container_name, _LAST_LINES) if seen is not None else ()
        return server_log.end_of_container(self.container_name, seen, lines, self.look.began)

    def collected_log(self) -> str:
        """Return the command that shows the log in the container's files; empty where the server writes none."""
        name, look = self.container_name, self.look
        lines = look.reader.logs(name, _LAST_LINES) if self.container is not None else ()
        if not any(_COLLECTED in line for line in lines):
            return ""  # to look into the data, the engine would have to mount it
        data = self.current_directory
        path = collected(look.reader.file(name, f"{data}/{CURRENT_LOGFILES}"), data)
        argv = (look.reader.program, "exec", name, "tail", "-n", "100", path)
        return shlex.join(argv) if path else ""

    def logs(self, *, follow: bool, tail: int | None) -> Iterator[str] | None:
        """Return the lines of the container's log."""
        if self.container is None:
            return None
        return self.look.container_log(self.container_name, follow=follow, tail=tail)
