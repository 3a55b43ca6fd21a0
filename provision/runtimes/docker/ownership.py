"""Whose container, volumes and data these are: provision uses and removes only what it made for this environment."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from provision.errors import RefusedError, command
from provision.model.effects import EngineCall
from provision.runtimes import Claim, Collision, ownership
from provision.runtimes.docker import golden_image, shared_files, snapshots
from provision.runtimes.docker.data_location import Place
from provision.runtimes.docker.generations import temporary_name
from provision.runtimes.docker.inspection import Inspection
from provision.runtimes.names import DATA_RECORD, DIRECTORY, ENVIRONMENT, MACHINE, whose
from provision.runtimes.ownership import DataUser, is_ours
from provision.spec.model import DataPath, Ephemeral
from provision.system.look import Look


def check_owner(seen: Inspection) -> None:
    """Refuse to have anything to do with a container or a volume that belongs to something else.

    Raises:
        RefusedError: with the owner and a way out.
    """
    name, program = seen.container_name, seen.look.reader.program
    if seen.container is not None:
        labels = seen.container["Config"].get("Labels") or {}
        if ENVIRONMENT not in labels:
            raise RefusedError(
                f"a container named {name!r} is there already, and it was not made from a spec",
                evidence=[f"it has no label {ENVIRONMENT!r}"],
                next_step=f"set another `server.container_name`, or remove it: {program} rm -f {name}",
            )
        _check_labels(seen, f"the container {name!r}", labels, way_out="name")
    for each, volume in seen.volumes.items():
        _check_labels(seen, f"the volume {each!r}", (volume or {}).get("Labels") or {}, way_out="server.data.volume")


def _check_labels(seen: Inspection, what: str, labels: Mapping[str, str], *, way_out: str) -> None:
    spec, directory, name = seen.spec, labels.get(DIRECTORY), labels.get(ENVIRONMENT)
    if directory is None or name is None or is_ours(spec, labels, seen.look):
        return
    if name == spec.name and seen.look.knows(labels.get(MACHINE, "")) and not seen.look.exists(Path(directory)):
        raise ownership.gone(spec, what, directory)
    if name == spec.name and directory == str(spec.kept_in):
        raise RefusedError(
            f"{what} belongs to the environment {name!r} of {directory} on {labels[MACHINE].rpartition('.')[0]}",
            evidence=["this is another machine with a spec at the same place, and no apply has been here"],
            next_step=ownership.another_name(name) + ", or, if it is the same project: " + command("apply --adopt"),
        )
    raise RefusedError(
        f"{what} belongs to the environment {name!r} of {directory}",
        evidence=[f"this spec is {ownership.holder(spec)}"],
        next_step=ownership.another_name(name) if name == spec.name else f"give this spec another `{way_out}`",
    )


def check_alone(seen: Inspection, *, as_it_is: bool = False) -> None:
    """Refuse data that another container has mounted, or that a server of this machine uses.

    ``as_it_is``: the data is that of the existing container, and not that of the declared one.

    Raises:
        RefusedError: with who has it, and what to type.
    """
    found = _place(seen, as_it_is=as_it_is)
    if found is None:
        return
    if (other := occupied(seen, as_it_is=as_it_is)) is not None:
        raise other[1]
    if isinstance(seen.spec.server.data, DataPath) and seen.look.address.is_local:
        path = seen.spec.server.data.path
        ownership.check_processes(seen.look, path, path / found.below)


def occupied(seen: Inspection, *, as_it_is: bool) -> tuple[DataUser, RefusedError] | None:
    """Return a container of another environment, or of none, that can write to the data, and the error for it."""
    found, name = _place(seen, as_it_is=as_it_is), seen.container_name
    if found is None:
        return None
    volume = seen.volumes.get(found.source) or {}  # nothing uses one that does not exist yet
    ours = (name, seen.temporary, temporary_name(name), golden_image.helper(name), snapshots.helper(seen))
    is_path = found.source.startswith("/")
    place = found.source if is_path else str(volume.get("Mountpoint") or "")
    other = ownership.container_on(seen.look, found.source, place=place, but=ours)
    if other is None:
        return None
    is_renamed = seen.container is None and is_ours(seen.spec, other.labels, seen.look)
    rename = f"{seen.look.reader.program} rename {other.name} {name}" if is_renamed else ""
    what = f"the directory {found.source}" if is_path else f"the volume {found.source!r}"
    return other, other.refusal(what, next_step=rename)


def claim(seen: Inspection, *, as_it_is: bool) -> Claim | None:
    """Return what to hold before a server starts on the data.

    A volume with our labels needs no lock: its labels cannot be changed, and every other environment refuses it.
    """
    found = _place(seen, as_it_is=as_it_is)
    if found is None:
        return None
    brought = (seen.own_image or seen.image or {}).get("Config") or {}
    image = seen.creation.image if seen.container is None else str(seen.container["Image"])
    holder, volumes = ownership.holder(seen.spec), tuple(brought.get("Volumes") or ())
    if found.source.startswith("/"):
        place = ownership.real(found.source, seen.look)
        paths = dict.fromkeys((Path(place), Path(place) / found.below)) if seen.look.address.is_local else ()
        return Claim(holder, tuple(paths), place, image, volumes)
    volume = seen.volumes.get(found.source) or seen.look.engine(f"/volumes/{found.source}") or {}
    if is_ours(seen.spec, volume.get("Labels") or {}, seen.look):
        return None
    return Claim(holder, (), str(volume.get("Mountpoint") or found.source), image, volumes)


def _place(seen: Inspection, *, as_it_is: bool) -> Place | None:
    found = seen.current_place if as_it_is else seen.declared_place
    return None if isinstance(seen.spec.server.data, Ephemeral) else found


def collision(ours: Mapping[str, Any], other: DataUser, refusal: RefusedError, look: Look) -> Collision | None:
    """Decide which of two containers on the same data started second, and what to do about it.

    It is killed, not stopped: a server that shuts down writes to the data once more.
    """
    theirs = look.engine(f"/containers/{other.name}/json")
    if theirs is None:
        return None
    kill = {"signal": "KILL"}
    started, first = (datetime.fromisoformat(each["State"]["StartedAt"]) for each in (ours, theirs))
    if first <= started:
        refusal.evidence = (*refusal.evidence, ownership.STARTED_FIRST)
        name = str(ours["Name"]).lstrip("/")
        return Collision((EngineCall("signal_container", name, kill),), "", refusal)
    if ENVIRONMENT not in other.labels:
        return Collision((), "", refusal)
    note = f"killed the container {other.name!r}{whose(other.labels)}: it started on the data of this server after it"
    return Collision((EngineCall("signal_container", other.name, kill),), note, None)


def check_ours(seen: Inspection) -> None:
    """Refuse to remove volumes or a directory, where one of them was not made for this environment.

    Raises:
        RefusedError: with the commands that remove it by hand.
    """
    existing = [name for name, volume in seen.volumes.items() if volume is not None]
    check_volumes(seen, [*existing, *(each.name for each in seen.generations.kept)], first=command("destroy") + " && ")
    data = seen.spec.server.data
    if isinstance(data, DataPath) and seen.look.there(data.path):
        if not seen.look.address.is_local:
            if shared_files.made_there(seen):
                return
            place = shlex.quote(str(data.path))
            is_used = seen.current_place and seen.current_place.source == str(data.path)
            then = f"sudo rm -rf {place}" if is_used else f"ls -la {place}   (no server of this environment uses it)"
            raise RefusedError(
                f"the directory {data.path} is on the host of {seen.look.engine_name}, and was not made by provision",
                next_step=command("destroy") + f"   (the directory stays), then on that host: {then}",
            )
        ownership.check_made(seen.spec, data.path, seen.look, record=seen.spec.home / DATA_RECORD)


def check_volumes(seen: Inspection, names: Sequence[str], *, first: str = "") -> None:
    """Refuse to remove volumes of which one was not made for this environment, as their labels show.

    Raises:
        RefusedError: with the command that removes it by hand, after the command ``first``.
    """
    for name in dict.fromkeys(names):
        volume = seen.volumes.get(name) or seen.look.engine(f"/volumes/{name}") or {}
        if not is_ours(seen.spec, volume.get("Labels") or {}, seen.look):
            raise RefusedError(
                f"the volume {name!r} was not made for the environment {seen.spec.name!r}; nothing was removed",
                evidence=[f"it lacks the labels of this environment, {ENVIRONMENT!r} and {DIRECTORY!r}"],
                next_step=first + f"{seen.look.reader.program} volume rm {name}   (if nothing needs it)",
            )
