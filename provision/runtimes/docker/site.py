"""A server in a container: what is checked before it is planned and started, and what the verbs do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from provision.errors import RefusedError, command
from provision.kinds import Ground
from provision.model import Action, File, Secret, Step
from provision.model.effects import EngineCall, RunLocalSql
from provision.model.value import dataclass, replace
from provision.runtimes import Claim, Collision, removal, superusers
from provision.runtimes.docker import (
    checks,
    compose,
    containers,
    data_contents,
    data_location,
    generations,
    golden_image,
    ownership,
    privileges,
    shared_files,
    snapshots,
    steps,
    unmounted_data,
)
from provision.runtimes.docker.compose import Json, Uploads
from provision.runtimes.docker.containers import IDLE
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.inspection import Inspection
from provision.spec.model import Ephemeral, Spec
from provision.system.look import Look


def examine(spec: Spec, files: Mapping[str, File], look: Look) -> DockerSite:
    """Read the compose file among ``files`` and look at everything in the engine that it names.

    Raises:
        RefusedError: it belongs to something else.
    """
    creation = compose.read(str(files["compose"].content), files["compose"].path)
    uploads: Uploads = {}
    container = containers.inspect(look, creation.container)
    if not shared_files.shares_files(container, look):
        creation, uploads = compose.without_host_files(creation, files)
    own_image = image = look.image(creation.image)
    if container is not None and (image is None or container["Image"] != image["Id"]):
        own_image = look.image(container["Image"])
    ours = generations.volumes(spec, look) if creation.volumes else {}
    site = DockerSite(
        spec=spec,
        creation=creation,
        uploads=uploads,
        container=container,
        image=image,
        own_image=own_image,
        has_network=creation.network is not None and _has_network(creation.network.name, container, look),
        volumes={each.name: ours.get(each.name) or look.engine(f"/volumes/{each.name}") for each in creation.volumes},
        look=look,
        generations=generations.find(spec, look),
    )
    ownership.check_owner(site)
    return site


def _has_network(name: str, container: Json | None, look: Look) -> bool:
    """Tell whether a network exists: the engine removes none to which a running container is attached."""
    attached = container["NetworkSettings"]["Networks"] if container and container["State"]["Running"] else {}
    return bool((attached.get(name) or {}).get("NetworkID")) or look.engine(f"/networks/{name}") is not None


@dataclass(frozen=True)
class DockerSite(Inspection):
    """One environment's container."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What differs in a container that is kept as it is, and what it has without the spec's permission."""
        return (*super().remarks, *privileges.remarks(self))

    @property
    def needs_apply(self) -> bool:
        """Whether a restore of the whole cluster was interrupted."""
        return snapshots.interrupted(self) is not None

    @cached_property
    def _broken_off(self) -> Place | None:
        """Where data lies whose making was broken off; while a restore replaces it, data can look the same.

        What another container uses is not even read: the engine would mount it.
        """
        if self.state not in data_contents.DOWN or self.needs_apply:
            return None
        return None if ownership.occupied(self, as_it_is=False) else data_contents.broken_off(self)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has initialised the data yet, or what did was broken off in a place that we have made."""
        if super().is_fresh:
            return True
        place = self._broken_off
        return place is not None and data_contents.is_made_here(self, place)

    # --- what kinds build on ---

    def ground(self, *, starting: bool) -> Ground:
        """Return how this container is restarted and entered."""
        superuser = data_location.variables((self.container or {}).get("Config") or {}).get("POSTGRES_USER", "")

        def local_sql(script: str, password: Secret) -> RunLocalSql:
            others = superusers(self.spec, self.look, superuser)
            return RunLocalSql(script, password, self.spec.server.user, container=self.container_name, others=others)

        line, file = "host all all all scram-sha-256", '"$PGDATA/pg_hba.conf"'
        inside = f"{self.look.reader.program} exec -u postgres {self.container_name}"
        return Ground(
            steps.publish(self),
            (self.call("restart_container"), self.ready),
            local_sql,
            starting,
            restart_destroys=isinstance(self.spec.server.data, Ephemeral) and not self.has_golden_data,
            superuser=superuser,
            admitting=f"{inside} sh -c 'echo {line} >> {file}; pg_ctl reload'",
        )

    @property
    def uses_config_file(self) -> bool:
        """Whether the container's command names our configuration file."""
        words = ((self.container or {}).get("Config") or {}).get("Cmd") or ()
        return f"config_file={self.config_file}" in words

    def check_data(self, directory: str, version: str) -> None:
        """Refuse a running server of another version, or with data that would be gone with its container."""
        checks.check_version(self.spec, self.container, version)
        if directory:
            unmounted_data.check_current(self, directory)

    # --- the plan ---

    def plan(self) -> tuple[Step, ...]:
        """Return the steps to a running container."""
        checks.check_image(self.spec, self.image)
        checks.check_reached(self)
        checks.check_user(self)
        unmounted_data.check_declared(self)
        unmounted_data.check_current(self)
        privileges.check(self)
        checks.check_major(self)
        shared_files.check_visible(self)
        ownership.check_alone(self)
        if (interrupted := snapshots.interrupted(self)) is not None:
            return (interrupted,)
        data_contents.check_directory(self)
        data_contents.check_finished(self)
        before = (*self.leftovers(), *steps.surroundings(self))
        if (place := self._broken_off) is not None:
            again = data_contents.initialise_again(self, place)
            return (*before, again, steps.create(self), *steps.unused_networks(self))
        container = steps.container(self)
        actions = {step.action for step in container}
        if container:
            checks.check_port(self.creation, self.container, self.look)
        if actions - {Action.UPDATE}:
            data_contents.check_old(self)
        if Action.RECREATE in actions:
            unmounted_data.check_removal(self)
        made = actions & {Action.CREATE, Action.RECREATE}
        return (*before, *container, *(steps.unused_networks(self) if made else ()))

    def leftovers(self) -> tuple[Step, ...]:
        """Remove what an interrupted upgrade, or an interrupted use of a golden, has left: nothing ever used it."""
        left = (*generations.leftovers(self.generations, self.container_name), *self._helpers())
        return (*left, *snapshots.leftovers(self))

    def _helpers(self) -> tuple[Step, ...]:
        """Remove the container that fills new data, or makes a golden, where a run was killed meanwhile.

        It is looked for only where there can be one, because that costs a question.
        """
        name, running = golden_image.helper(self.container_name), self.state == "running"
        is_filled = any(golden_image.KEY in ((each or {}).get("Labels") or {}) for each in self.volumes.values())
        was_killed = bool(self.look.text(self.spec.home / "lock"))  # or a run is under way, which has its own
        if running and not was_killed and not is_filled and not isinstance(self.spec.server.data, Ephemeral):
            return ()
        if self.look.engine(f"/containers/{name}/json") is None:
            return ()
        why = "an interrupted run has left it"
        return (removal("container", name, EngineCall("remove_container", name, {"force": True}), why=why),)

    # --- around a start ---

    def _now(self) -> DockerSite:
        look = self.look
        volumes = {name: look.engine(f"/volumes/{name}") for name in self.volumes}
        return replace(self, container=look.engine(f"/containers/{self.container_name}/json"), volumes=volumes)

    def claim(self, *, creating: bool) -> Claim | None:
        """Return the data that the container uses, unless its labels keep others off."""
        now = self._now()
        return ownership.claim(now, as_it_is=now.container is not None and not creating)

    def look_again(self, *, creating: bool) -> None:
        """Look whose the container's name, the volumes and the port are, and who uses the data."""
        now = self._now()
        ownership.check_owner(now)
        ownership.check_alone(now, as_it_is=now.container is not None and not creating)
        checks.check_port(self.creation, now.container, self.look)

    def collision(self) -> Collision | None:
        """Compare the start of our container with that of another one on the same data."""
        now = self._now()
        other = ownership.occupied(now, as_it_is=True)
        if other is None or now.container is None:
            return None
        return ownership.collision(now.container, *other, self.look)

    # --- verbs ---

    def start(self) -> tuple[Step, ...]:
        """Start or thaw a container that exists and does not run."""
        if self.container is None or self.state == "running":
            return ()
        if self.needs_apply:
            raise RefusedError("a restore of the whole cluster was interrupted", next_step=command("apply"))
        checks.check_port(self.creation, self.container, self.look)
        ownership.check_alone(self, as_it_is=True)
        effect = EngineCall("unpause_container" if self.state == "paused" else "start_container", self.container_name)
        return (steps.lifecycle(self, Action.START, (effect, self.ready)),)

    def stop(self) -> tuple[Step, ...]:
        """Stop the container; data in memory goes with it."""
        if self.container is None or self.state in IDLE:
            return ()
        lost = isinstance(self.spec.server.data, Ephemeral) and not self.has_golden_data
        text = "the data was in memory and is gone" if lost else "the data is kept"
        if self.has_golden_data:
            text = "the data is kept until the container is removed"
        return (steps.lifecycle(self, Action.STOP, steps.stop(self), consequence=text, destroys=lost),)

    def restart(self) -> tuple[Step, ...]:
        """Stop and start the container."""
        if self.container is None or self.state != "running":
            return self.start()
        ownership.check_alone(self, as_it_is=True)
        return (steps.lifecycle(self, Action.RESTART, (self.call("restart_container"), self.ready)),)

    def destroy(self, *, data: bool) -> tuple[Step, ...]:
        """Remove container and network; with ``data`` also the data, and what was rendered.

        Raises:
            RefusedError: the data is not known to be ours, or something else uses it.
        """
        if data:
            ownership.check_ours(self)
            ownership.check_alone(self)
        else:
            unmounted_data.check_removal(self)
        kept = snapshots.removals(self) if data else ()
        left = self.leftovers()
        gone = {step.address for step in left}
        return (*left, *steps.destroy(self, data=data), *(step for step in kept if step.address not in gone))
