"""Goldens of environments in Docker: images in their engine, see :mod:`provision.runtimes.docker.golden_image`.

New data in a volume or a directory is filled from the image after the environment's container was made, and before it
is started; an ephemeral container runs from the image. A copy that was broken off is known by what only a server
writes: in a volume with our label ``postmaster.opts`` is missing. A directory gets ``PG_VERSION`` last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from provision import desired as desires
from provision.errors import ProvisionError, command
from provision.golden import keyed, scrub
from provision.golden.docker_store import ImageStore
from provision.golden.key import Golden
from provision.kinds import file, login, server
from provision.model import Address, Effect, File, Secret, Step
from provision.model.effects import EngineCall, SaveGolden, WaitReady
from provision.model.value import replace
from provision.observe.outside import World
from provision.rendering import quote
from provision.runtimes.docker import compose, data_location, golden_image, shared_files, steps
from provision.runtimes.docker.golden_image import BASE, KEY, PLACE
from provision.runtimes.docker.site import DockerSite
from provision.runtimes.names import DATA_RECORD
from provision.spec.model import DataPath, Ephemeral, Spec
from provision.system.files import explaining, is_remembered
from provision.system.limits import limited
from provision.system.look import Look

_INSIDE = "/directory"
_SEEN = ("mount ", "initdb/", "scripts")
"""How the names of inputs begin that only a container of the environment has."""
_FILL = """set -e
cd "$1"
mkdir -p "$2"
find . -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec cp -a {} "$2/" \\;
chown "$(stat -c %u:%g .)" "$2"
chmod 0700 "$2"
cp -a PG_VERSION "$2/"
"""
"""Copies a data directory; the file that says that there is one comes last."""


def store(look: Look) -> ImageStore:
    """Return the goldens of the engine."""
    return ImageStore(look)


def export(look: Look, key: str, file: Path) -> None:
    """Write a golden into a file, with all of its image.

    Raises:
        ProvisionError: it cannot be written, or the engine failed.
    """
    from provision.system import golden_images

    with explaining(f"the golden cannot be written to {file}", file):
        golden_images.export(ImageStore(look).engine, golden_image.reference(key), file)


def take(look: Look, file: Path, sha256: str) -> Golden:
    """Load the golden of such a file, and return it.

    Raises:
        ProvisionError: it is another file, or no golden.
    """
    from provision.system import golden_images

    (name,) = golden_images.import_(ImageStore(look).engine, file, sha256, golden_image.REPOSITORY)
    for each in ImageStore(look).candidates():
        if golden_image.reference(each.key) == name:
            return each
    golden_images.remove(ImageStore(look).engine, name)
    raise ProvisionError(
        f"{file} holds no golden that this version of provision can read; nothing was kept",
        next_step=command("golden export") + "   (with this version)",
    )


def using(world: World, golden: Golden, planned: tuple[Step, ...]) -> tuple[World, tuple[Step, ...]]:
    """Return the world and the steps with a container from the image, or with new data that is filled from it."""
    site, changed = DockerSite.of(world.site), planned
    if not _is_from(site, golden):
        return world, planned
    if isinstance(world.spec.server.data, Ephemeral):
        world, changed = _running(world, golden, planned)
    else:
        changed = tuple(_filling(site, golden, planned))
    return world, tuple(_logging_in(world, golden, changed))


def _is_from(site: DockerSite, golden: Golden) -> bool:
    """Tell whether the image of a golden is made from the environment's own, and has the data where that has it."""
    image, own = site.look.image(golden_image.reference(golden.key)), site.image
    if image is None or own is None or golden_image.labels_of(image).get(BASE) != own["Id"]:
        return False
    layers, below = [(each.get("RootFS") or {}).get("Layers") or [] for each in (image, own)]
    place = site.declared_place
    is_there = place is None or _within(PLACE, place.below) == data_location.variables(image["Config"]).get("PGDATA")
    return bool(layers[: len(below)] == below) and is_there


def _within(place: str, below: str) -> str:
    return f"{place}/{below}" if below else place


def _logging_in(world: World, golden: Golden, planned: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps with the declared login, which the golden has with another password, once the server answers."""
    site, known = DockerSite.of(world.site), Secret(keyed.password(golden.key))
    sql = site.ground(starting=True).local_sql(login.converge_login(world.spec.server.user), world.inputs.password)
    is_kept = not isinstance(world.spec.server.data, Ephemeral)
    sql = replace(sql, user=scrub.SUPERUSER, others=(world.spec.server.user,), sync=is_kept, known=known)
    for step in planned:
        yield replace(step, effects=(*step.effects, sql)) if _waits(step) else step


# --- data in a volume or a directory


def _filling(site: DockerSite, golden: Golden, planned: Sequence[Step]) -> Iterator[Step]:
    """Yield the steps with a volume that says where its data is from, and what fills it before the server starts."""
    reference = golden_image.reference(golden.key)
    before, after = _filled(site, golden)
    after = (*after, EngineCall("tag_image", reference, {"name": reference}))
    for step in planned:
        effects: list[Effect] = []
        for each in step.effects:
            operation = each.operation if isinstance(each, EngineCall) else ""
            if operation == "start_container":
                effects += [*before, each, *after]
            else:
                effects.append(_labelled(each, golden) if operation == "create_volume" else each)
        yield replace(step, effects=tuple(effects))


def _labelled(effect: Effect, golden: Golden) -> Effect:
    assert isinstance(effect, EngineCall)  # noqa: S101  # asked by the caller
    return replace(effect, body={**effect.body, "labels": {**effect.body["labels"], KEY: golden.key}})


def _filled(site: DockerSite, golden: Golden) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return what fills the data before the server starts, and what goes away after that.

    Docker copies what an image has at the mount of a new volume when it creates a container, also one that never runs:
    that takes half the time of a program in the container. Podman does so only when it starts one.
    """
    name, place = golden_image.helper(site.container_name), site.declared_place
    assert place is not None  # noqa: S101  # only ephemeral data has none
    reference = golden_image.reference(golden.key)
    host: dict[str, Any] = {"NetworkMode": "none"}
    away = EngineCall("remove_container", name, {"force": True})
    if place.kind == "volume" and site.look.reader.podman is None:
        mount = {"Type": "volume", "Source": place.source, "Target": PLACE}
        body = {"Image": reference, "Cmd": ["true"], "HostConfig": {**host, "Mounts": [mount]}}
        return (EngineCall("create_container", name, body),), (away,)
    mount = {"Type": place.kind, "Source": place.source, "Target": _INSIDE}
    body = {
        "Image": reference,
        "Entrypoint": ["sh", "-c", _FILL, "sh", _within(PLACE, place.below), _within(_INSIDE, place.below)],
        "Cmd": [],
        "User": "0",
        # A directory that belongs to a container of SELinux's is closed to all others.
        "HostConfig": {**host, "Mounts": [mount], "SecurityOpt": ["label=disable"]},
    }
    return (EngineCall("run_container", name, body),), ()


# --- ephemeral data


def _running(world: World, golden: Golden, planned: Sequence[Step]) -> tuple[World, tuple[Step, ...]]:
    """Return the world and the steps of a spec whose container runs from the golden."""
    look, before = world.look, DockerSite.of(world.site)
    spec = replace(world.spec, server=replace(world.spec.server, data=Ephemeral(golden.key)))
    files = _files(world, spec)
    path, reference = files["compose"].path, golden_image.reference(golden.key)
    creation, uploads = compose.read(str(files["compose"].content), path), before.uploads
    if creation.image != reference:
        return world, tuple(planned)  # a template of the project names an image of its own
    if uploads:
        creation, uploads = compose.without_host_files(creation, files)
    site = replace(before, spec=spec, creation=creation, uploads=uploads, image=look.image(reference))
    address, text = Address(file.KIND, str(path.relative_to(spec.home))), look.text(path)
    there = None if text is None else replace(files["compose"], content=text)
    written = file.steps(address, there, files["compose"], cast("Any", None)).steps
    others = [each for each in planned if each.address not in (address, site.address)]
    at = next(number for number, each in enumerate(others) if each.address.kind == server.KIND)
    found = (*written, *others[:at], *steps.container(site), *others[at:])
    return replace(world, spec=spec, files=files, site=site), found


def _files(world: World, spec: Spec) -> dict[str, File]:
    """Return the files of a spec that differs from that of the world in the image only."""
    site, rendered = DockerSite.of(world.site), world.files["compose"]
    before, text = f"    image: {quote(site.creation.image)}\n", str(rendered.content)
    if site.has_own_template or text.count(before) != 1:
        return desires.files(spec, replace(world.inputs, rendered={}, memo=None), limited)
    # As the template has it, without the time that it takes to render it.
    assert isinstance(spec.server.data, Ephemeral)  # noqa: S101  # made by the caller
    text = text.replace(before, f"    image: {quote(golden_image.reference(spec.server.data.golden))}\n")
    text = text.replace(site.creation.fingerprint, compose.FINGERPRINT_PLACEHOLDER)
    content = compose.with_fingerprint(text, rendered.path)
    return {**world.files, "compose": replace(rendered, content=content)}


def discarding(world: World, containers: Sequence[str], *, with_data: bool) -> tuple[Effect, ...]:
    """Return what removes the containers and the data that the plan has made."""
    site, data = DockerSite.of(world.site), world.spec.server.data
    gone = tuple([EngineCall("remove_container", each, {"force": True}) for each in containers])
    if not with_data:
        return gone
    volumes = [EngineCall("remove_volume", each.name) for each in site.creation.volumes]
    is_ours = isinstance(data, DataPath) and is_remembered(data.path, world.spec.home / DATA_RECORD)
    directory = shared_files.remove_directory(site, data.path) if isinstance(data, DataPath) and is_ours else ()
    return (*gone, *volumes, *directory)


def is_in_memory(world: World) -> bool:
    """Tell whether the data of the server that runs is gone when it stops."""
    site = DockerSite.of(world.site)
    return isinstance(world.spec.server.data, Ephemeral) and site.state == "running" and not site.has_golden_data


def restarting(world: World) -> tuple[Effect, ...]:
    """Return what stops a container that runs and starts it again."""
    site = DockerSite.of(world.site)
    if site.state != "running":
        return ()
    return (site.call("stop_container"), EngineCall("start_container", site.container_name), site.ready)


def stops(world: World, effect: Effect) -> bool:
    """Tell whether an effect stops the environment's container."""
    if not isinstance(effect, EngineCall) or effect.operation != "stop_container":
        return False
    return effect.target == world.site.container_name


def beginning(world: World, effect: SaveGolden, planned: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the steps with ``effect`` once the server runs; its data is made in a container of its own.

    What a template has the entrypoint read, run or replace is not known there, nor are settings that it asks for.
    """
    site, cluster = DockerSite.of(world.site), json.loads(effect.about)["inputs"]["cluster"]
    is_own = any(site.creation.body.get(each) for each in ("Entrypoint", "User"))
    is_own = is_own or cluster["command"] != f"postgres -c config_file={site.config_file}"
    if is_own or cluster["password_encryption"] or any(each.startswith(_SEEN) for each in cluster):
        return planned
    return tuple([replace(each, effects=(*each.effects, effect)) if _waits(each) else each for each in planned])


def _waits(step: Step) -> bool:
    """Tell whether a step waits for the environment's server."""
    return step.address.kind == server.KIND and any(isinstance(each, WaitReady) for each in step.effects)


def save(world: World, effect: SaveGolden, perform: Callable[[Effect], None]) -> None:
    """Make an image of the data.

    Raises:
        ProvisionError: it cannot be made, or must not be kept.
    """
    from provision.golden import docker_saving

    if is_in_memory(world):  # replaying its log, as after a crash, would move sequences on by up to 32
        perform(DockerSite.of(world.site).ground(starting=True).local_sql("CHECKPOINT;", Secret("")))
    docker_saving.save(DockerSite.of(world.site), effect)
