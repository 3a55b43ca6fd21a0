"""Data of a container that is on no declared mount: it would be gone with the container, so that is never removed.

The image's programs may ignore its ``PGDATA``. So provision looks for data on the mount before it removes a container
with data, and asks the server after each start.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping
from typing import Any

from provision.errors import RefusedError, command
from provision.runtimes.docker import data_location
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.inspection import Inspection
from provision.runtimes.docker.scripts import ANEW
from provision.spec.model import Ephemeral, Volume

_VERSION = "PG_VERSION"
_CONTROL = "/global/pg_control"
_STOP = 120


def check_declared(seen: Inspection) -> None:
    """Refuse an image whose data the declared container would not keep.

    Raises:
        RefusedError: with what the image says, and what to write.
    """
    if isinstance(seen.spec.server.data, Ephemeral):
        return
    config = brought = (seen.image or seen.own_image or {}).get("Config") or {}
    host, directory = seen.creation.body["HostConfig"], seen.declared_directory
    mounts = [*host["Mounts"], *({"Type": "tmpfs", "Target": target} for target in host.get("Tmpfs") or ())]
    environment = data_location.variables(config) | data_location.variables(seen.creation.body)
    working = seen.working or {"Config": {}, "Mounts": ()}
    if _wal_directory(working) is None:  # it counts at the initialisation only
        config = {**config, "Env": [f"{name}={value}" for name, value in environment.items()]}
    used = frozenset(map(data_location.target_of, working["Mounts"]))
    why = data_location.why_not(directory, config, mounts, is_fresh=seen.is_fresh, used=used)
    if environment.get("PGDATA") == "" and data_location.variables(working["Config"]).get("PGDATA") != "":
        directory, why = "not known", "PGDATA is empty"
    if why is None:
        return
    holds, target_of = data_location.holds, data_location.target_of
    near = [each for each in mounts if holds(target_of(each), directory) or holds(directory, target_of(each))]
    raise RefusedError(
        f"the data of {seen.creation.image!r} cannot be kept: its data directory is {directory}, and {why}",
        evidence=[
            f"PGDATA is {data_location.variables(brought).get('PGDATA', 'not set') or 'empty'} in the image",
            *(f"the image has VOLUME {each}" for each in sorted(config.get("Volumes") or ())),
            *(f"docker-compose.yml has a {each['Type']} at {each['Target']}" for each in near),
        ],
        next_step=_correct(seen),
    )


def _correct(seen: Inspection) -> str:
    """Return what to write in the compose file, and what to save before."""
    place = _mount_of(seen, seen.current_directory) if seen.working else None
    is_in_memory = place is not None and place.kind == "tmpfs"
    return ("save the rows, which are in memory, with pg_dump; then, " if is_in_memory else "") + (
        "in a docker-compose.yml.j2 of your own (`templates`), mount the data at the data directory or above it "
        "(`PGDATA` under `environment` sets another), and nothing else there or below it (`volumes`, `tmpfs`)"
    )


def check_current(seen: Inspection, reported: str = "") -> None:
    """Refuse to go on with a container whose data directory is on no declared mount; a server may have ``reported`` it.

    Raises:
        RefusedError: with the commands that move the data.
    """
    directory = reported or seen.current_directory
    if _has_data(seen) and _is_lost(_mount_of(seen, directory)):
        raise _misplaced(seen, directory)


def check_removal(seen: Inspection) -> None:
    """Refuse to remove a container whose data is not where it was made to keep it; the engine is asked.

    Raises:
        RefusedError: with the commands that move the data.
    """
    if not _has_data(seen):
        return
    check_current(seen)
    _check_wal(seen)
    if (found := _search(seen)) is not None:
        raise _misplaced(seen, found)


def _wal_directory(container: Mapping[str, Any]) -> str | None:
    """Return where a container keeps its write-ahead log, if that is not in the data directory."""
    return data_location.variables(container["Config"]).get("POSTGRES_INITDB_WALDIR")


def _check_wal(seen: Inspection) -> None:
    wal = _wal_directory(seen.container) if seen.container is not None else None
    if not wal or not _is_lost(_mount_of(seen, posixpath.normpath(wal))):
        return
    raise RefusedError(
        f"the write-ahead log of {seen.spec.name!r} is in {wal} of the container {seen.container_name!r}, on no volume",
        evidence=[
            "POSTGRES_INITDB_WALDIR moved it there when the data was initialised",
            "it would be gone with the container, and without it the data cannot be used; so nothing was changed",
        ],
        next_step=f"save the rows with pg_dump; then mount {wal} in your docker-compose.yml.j2, and begin again: "
        + ANEW,
    )


def _has_data(seen: Inspection) -> bool:
    """Tell whether a server has run in a container of data that is to be kept."""
    if seen.container is None or isinstance(seen.spec.server.data, Ephemeral):
        return False
    place = _mount_of(seen, seen.current_directory)
    return seen.container["State"]["Status"] != "created" and (place is None or place.kind != "tmpfs")


def _mount_of(seen: Inspection, directory: str) -> Place | None:
    return None if seen.container is None else data_location.place(seen.container["Mounts"], directory)


def _is_lost(place: Place | None) -> bool:
    return place is None or place.is_anonymous or place.kind == "tmpfs"


def _search(seen: Inspection) -> str | None:
    """Return the data directory in the container's own layer, or in a volume that has no name.

    No file of another volume is read: the engine mounts all volumes for that, which others see as an event.
    """
    mounts = (seen.container or {}).get("Mounts") or ()
    for target in data_location.anonymous(mounts):
        for below in ("", "/data", f"/{seen.spec.server.major}/docker", f"/{seen.spec.server.major}/main"):
            if seen.look.reader.file(seen.container_name, f"{target}{below}/{_VERSION}") is not None:
                return f"{target}{below}"
    changed = (each["Path"] for each in seen.look.engine(f"/containers/{seen.container_name}/changes") or ())
    return next((each.removesuffix(_CONTROL) for each in changed if each.endswith(_CONTROL)), None)


def _misplaced(seen: Inspection, directory: str) -> RefusedError:
    name, data = seen.container_name, seen.spec.server.data
    assert not isinstance(data, Ephemeral)  # noqa: S101  # asked by the callers
    wanted = f"the volume {data.name!r}" if isinstance(data, Volume) else f"the directory {data.path}"
    place = _mount_of(seen, directory)
    where = f"in the volume {place.source[:12]}…, which has no name" if place else "in the container's own layer"
    # Where the image's programs, and not its PGDATA, decide about the data directory, it has to be declared.
    is_known = directory in (seen.declared_directory, seen.current_directory)
    declare = (
        f"write `PGDATA: {directory}` under `environment`, and `target: {directory}` for the data, in a "
        f"docker-compose.yml.j2 of your own (`templates`); or, without the data: {_without(seen)}"
    )
    return RefusedError(
        f"the data of {seen.spec.name!r} is in {directory} of the container {name!r}, and not in {wanted}",
        evidence=[f"it is {where}, and would be gone with the container; so nothing was changed", *_shown_mounts(seen)],
        next_step=_move(seen, directory) if is_known else declare,
    )


def _shown_mounts(seen: Inspection) -> list[str]:
    mounts = (seen.container or {}).get("Mounts") or ()
    shown = [each for each in mounts if not each["Destination"].startswith(("/etc/postgresql", "/run/secrets"))]
    return [f"{each.get('Name') or each['Source']} is mounted at {each['Destination']}" for each in shown]


def _without(seen: Inspection) -> str:
    return f"{seen.look.reader.program} rm -f -v {seen.container_name}"


def _move(seen: Inspection, directory: str) -> str:
    """Return the commands that copy the data to where the declared container looks for it, and keep the old one."""
    name, place, program = shlex.quote(seen.container_name), seen.declared_place, seen.look.reader.program
    if place is None:
        return f"{program} stop {name}"
    to = shlex.quote(place.directory)
    refused = f"{{ echo {to} holds data already >&2; exit 1; }}"
    script = f"test ! -e {to}/{_VERSION} || {refused}; mkdir -p {to} && tar -xpC {to}"
    source, volume = shlex.quote(f"{name}:{directory}/."), shlex.quote(f"{place.source}:{place.target}")
    return (
        f"{program} stop -t {_STOP} {name} && {program} cp {source} - | {program} run --rm -i -u 0 --entrypoint sh "
        f"-v {volume} {shlex.quote(seen.creation.image)} -c {shlex.quote(script)} "
        f"&& {program} rename {name} {name}.old && "
        + command("apply")
        + f"   (it keeps the old container as {name}.old; or, without the data: {_without(seen)})"
    )
