"""The steps that make an environment's container, network and volumes, change the container, and remove all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provision.model import Action, Address, Change, Effect, Step, changes
from provision.model.effects import EngineCall, ReadSettings
from provision.model.value import replace
from provision.runtimes import removal, removing_home
from provision.runtimes.data_directory import reading_settings
from provision.runtimes.docker import (
    data_contents,
    data_location,
    networks,
    privileges,
    scripts,
    shared_files,
    spec_label,
)
from provision.runtimes.docker.containers import IDLE, Container, labels_of, update_in_place
from provision.runtimes.docker.inspection import Inspection
from provision.spec.model import DataPath, Ephemeral
from provision.spec.parameters import is_known

_KEEPING_VOLUMES = MappingProxyType({"volumes": False})
_DISCARDED = 3
"""Seconds to stop a server whose data goes away: an entrypoint that makes the data never answers a signal."""


def surroundings(seen: Inspection) -> tuple[Step, ...]:
    """Return the steps that make the image, the network, the volumes or the directory that the container needs."""
    creation = seen.creation
    made: dict[Address, tuple[Effect, ...]] = {}
    # An image that was removed from the engine is missed only when a container has to be made from it.
    if seen.image is None and any(step.action in (Action.CREATE, Action.RECREATE) for step in container(seen)):
        made[Address("image", creation.image)] = (_image(seen),)
    if creation.network is not None and not creation.network.external:
        call = EngineCall("create_network", creation.network.name, labels_of(creation.network))
        made[Address("network", creation.network.name)] = (call,)
    for each in creation.volumes:
        made[Address("volume", each.name)] = (EngineCall("create_volume", each.name, labels_of(each)),)
    if isinstance(seen.spec.server.data, DataPath):
        path = seen.spec.server.data.path
        made[Address("directory", str(path))] = shared_files.make_directory(seen, path)
    # An image shows where it keeps the data, so everything is looked at again once it is here.
    steps = (
        Step(address, Action.CREATE, None, seen.desired[address], effects, reveals=address.kind == "image")
        for address, effects in made.items()
        if address not in seen.observed
    )
    return (*read_settings(seen), *steps)


def _image(seen: Inspection) -> EngineCall:
    """Return what gives the image its name: no registry has a golden, and the container that runs from it keeps it."""
    name, data = seen.creation.image, seen.spec.server.data
    if seen.container is not None and isinstance(data, Ephemeral) and data.golden:
        return EngineCall("tag_image", seen.container["Image"], {"name": name})
    return EngineCall("pull_image", name)


def read_settings(seen: Inspection) -> tuple[Step, ...]:
    """Read the settings of a major version that the program does not know from its image, once that is here."""
    major, image = seen.spec.server.major, seen.image
    if not major or image is None or is_known(major):
        return ()
    user = image["Config"].get("User") or "root"
    is_root = user.partition(":")[0] in ("root", "0")
    name = f"{seen.container_name}.settings"
    return (reading_settings(ReadSettings(major, image["Id"], seen.creation.image, name, is_root)),)


def unused_networks(seen: Inspection) -> tuple[Step, ...]:
    """Remove our network when a container is made that does not use it."""
    why = "the compose file does not declare it, and no other container is attached"
    names = networks.unused(seen)
    return tuple(removal("network", name, EngineCall("remove_network", name), why=why) for name in names)


def container(seen: Inspection) -> tuple[Step, ...]:
    """Return the step after which the container runs as declared; nothing where it does."""
    before, after = seen.observed_container, seen.desired_container
    if before is None:
        return (create(seen),)
    if before == after:
        return ()
    why = changes(before, after)
    if [change.field for change in why] == ["status"]:
        return (_run(seen, before, after, why),)
    effects = update_in_place(seen.creation, before, after, seen.look)
    if not effects:
        return (_recreate(seen, before, after),)
    if before.status == after.status:
        text = "in place: no connection is dropped"
        return (Step(seen.address, Action.UPDATE, before, after, effects, why, text),)
    begun = _run(seen, before, after, why)
    return (replace(begun, effects=(*effects, *begun.effects)),)


def _run(seen: Inspection, before: Container, after: Container, why: tuple[Change, ...]) -> Step:
    """Have a container run that is otherwise as declared."""
    name, action = seen.container_name, Action.START
    effects: tuple[Effect, ...]
    if before.status == "paused":
        effects = (EngineCall("unpause_container", name),)
    elif before.status in IDLE:
        checked = data_contents.check_new(seen, name)  # data on which it never ran
        effects = (*checked, *publish(seen), EngineCall("start_container", name))
    else:
        action, effects = Action.RESTART, (*publish(seen), seen.call("restart_container"))
    return Step(seen.address, action, before, after, effects, why=why)


def publish(seen: Inspection, name: str = "") -> tuple[Effect, ...]:
    """Copy rendered files into a container, where the engine cannot mount them."""
    copy = EngineCall("copy_to_container", name or seen.container_name, {"files": seen.uploads})
    return (copy,) if seen.uploads else ()


def create(seen: Inspection) -> Step:
    """Create the container and start it."""
    name = seen.container_name
    effects = (*_make(seen, name, seen.creation.body), EngineCall("start_container", name))
    return Step(seen.address, Action.CREATE, None, seen.desired_container, effects, consequence=privileges.words(seen))


def _make(seen: Inspection, name: str, body: Mapping[str, Any]) -> tuple[Effect, ...]:
    """Create the container under a name; what an interrupted run left under the temporary name goes first."""
    copied = scripts.uploads(seen.creation.scripts)
    return (
        EngineCall("remove_container", seen.temporary),
        EngineCall("create_container", name, body),
        *data_contents.check_new(seen, name),
        *publish(seen, name),
        *((EngineCall("copy_to_container", name, {"files": copied}),) if copied else ()),
    )


def _recreate(seen: Inspection, before: Container, after: Container) -> Step:
    """Make the new container first, so that one that cannot be made leaves the old one running."""
    kept = _anonymous_in_use(seen)
    effects = (
        *_make(seen, seen.temporary, _inheriting(seen, kept)),
        *networks.reattach(seen, seen.temporary),
        *stop(seen),
        *_remove(seen, kept),
        EngineCall("rename_container", seen.temporary, {"name": seen.container_name}),
        EngineCall("start_container", seen.container_name),
    )
    in_memory = before.is_in_memory and (before.status not in IDLE or seen.has_golden_data)
    data = "the data is kept" if before.mounts == after.mounts else _moved(seen, before)
    data = f"and the data in {_memory(seen)} is gone" if in_memory else data
    text = "; ".join(filter(None, (f"recreate: connections are dropped, {data}", privileges.words(seen))))
    why = _reasons(seen, before, after)
    return Step(seen.address, Action.RECREATE, before, after, effects, why, text, destroys=in_memory)


def _memory(seen: Inspection) -> str:
    return "it" if seen.has_golden_data else "memory"


def _reasons(seen: Inspection, before: Container, after: Container) -> tuple[Change | str, ...]:
    # An older build prints the same reference twice, and the fingerprint only says that something differs.
    why = tuple(each for each in changes(before, after) if each.field not in ("fingerprint", "status"))
    if (moved := spec_label.moved(before, after)) is not None:
        return (moved, *why)
    if spec_label.differs_by_version(before, after, own_template=seen.has_own_template):
        return (spec_label.OTHER_VERSION, *why)
    return why or ("it was created with other arguments than the compose file has now",)


def _moved(seen: Inspection, before: Container) -> str:
    text = "the data stays where it was, see the mounts"
    old, new = seen.current_place, seen.declared_place
    if old is None or (new and new.source == old.source) or before.status == "created":
        return text
    start = "with no data" if seen.is_fresh or new is None else f"on what is in {new.source}"
    return f"{text}: the server starts {start}, and all rows so far are in {old.source}, which nothing uses then"


def _anonymous(seen: Inspection) -> Mapping[str, str]:
    return data_location.anonymous((seen.container or {}).get("Mounts") or ())


def _anonymous_in_use(seen: Inspection) -> Mapping[str, str]:
    """Return volumes without a name that may hold something: an image built on the official one has an empty one."""
    return {target: name for target, name in _anonymous(seen).items() if target not in data_location.OFFICIAL}


def _inheriting(seen: Inspection, anonymous: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the creation call with the volumes that have no name, which Compose keeps as well."""
    host = seen.creation.body["HostConfig"]
    taken = {each["Target"] for each in host["Mounts"]}
    more = (
        {"Type": "volume", "Source": anonymous[target], "Target": target} for target in sorted(anonymous.keys() - taken)
    )
    return {**seen.creation.body, "HostConfig": {**host, "Mounts": [*host["Mounts"], *more]}}


def _remove(seen: Inspection, kept: Mapping[str, str]) -> tuple[Effect, ...]:
    """Remove the container, and those of its volumes without a name that are not kept."""
    gone = (name for target, name in _anonymous(seen).items() if target not in kept)
    remove = EngineCall("remove_container", seen.container_name, _KEEPING_VOLUMES)
    return (remove, *(EngineCall("remove_volume", each) for each in gone))


def stop(seen: Inspection, seconds: int | None = None) -> tuple[Effect, ...]:
    """Stop the container, within its ``stop_timeout`` or so many seconds.

    One that is paused is thawed before, because nothing in it can answer.
    """
    if seen.state in IDLE:
        return ()
    thaw = (EngineCall("unpause_container", seen.container_name),) if seen.state == "paused" else ()
    call = seen.call("stop_container")
    return (*thaw, call if seconds is None else replace(call, body={"timeout": seconds}))


def lifecycle(seen: Inspection, action: Action, effects: Sequence[Effect], **more: Any) -> Step:
    """Return a step of a verb on the container."""
    before = seen.observed_container
    after = None if action is Action.REMOVE else before
    return Step(seen.address, action, before, after, tuple(effects), **more)


def destroy(seen: Inspection, *, data: bool) -> tuple[Step, ...]:
    """Remove container and network; with ``data`` also the volume or directory, and what was rendered."""
    steps: list[Step] = []
    is_ephemeral = isinstance(seen.spec.server.data, Ephemeral)
    if seen.container is not None:
        lost = is_ephemeral and (seen.state not in IDLE or seen.has_golden_data)
        kept = {} if data or is_ephemeral else _anonymous_in_use(seen)
        words = [f"the volume {name}, which was at {target}, stays" for target, name in kept.items()]
        text = "; ".join([f"the data was in {_memory(seen)} and is gone"] * lost + words)
        effects = (*stop(seen, _DISCARDED if data or is_ephemeral else None), *_remove(seen, kept))
        steps.append(lifecycle(seen, Action.REMOVE, effects, consequence=text, destroys=lost))
    steps += [removal("network", name, EngineCall("remove_network", name)) for name in networks.removable(seen)]
    return (*steps, *(_data_removals(seen) if data else ()))


def _data_removals(seen: Inspection) -> Iterator[Step]:
    data, home = seen.spec.server.data, seen.spec.home
    names = [name for name, volume in seen.volumes.items() if volume is not None]
    for name in (*names, *(each.name for each in seen.generations.kept), *seen.generations.marks):
        yield removal("volume", name, EngineCall("remove_volume", name), destroys=True)
    if isinstance(data, DataPath) and seen.look.address.is_local and _holds_a_cluster(seen, data.path):
        effects = shared_files.remove_directory(seen, data.path)
        yield removal("directory", str(data.path), *effects, destroys=True)
    elif isinstance(data, DataPath) and not seen.look.address.is_local and seen.look.there(data.path):
        yield removal("directory", str(data.path), *shared_files.remove_there(seen, data.path), destroys=True)
    yield from removing_home(seen.look, home)


def _holds_a_cluster(seen: Inspection, path: Path) -> bool:
    """Tell whether a directory is what PostgreSQL made of it; anything else is not ours to remove."""
    place = seen.declared_place
    places = (path, path / (place.below if place is not None else ""))
    return any(seen.look.exists(each / "PG_VERSION") for each in places)
