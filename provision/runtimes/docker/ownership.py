"""Who may use the data of a container, and what may be removed: only what was made for this environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import RefusedError, command
from provision.runtimes import DATA_RECORD, Claim, ownership
from provision.runtimes.docker.compose import DIRECTORY, ENVIRONMENT
from provision.runtimes.docker.generations import is_ours, temporary_name
from provision.spec.model import DataPath, Ephemeral

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.runtimes.docker.data_location import Place
    from provision.runtimes.docker.seen import Seen
    from provision.runtimes.ownership import Tenant


def check_alone(seen: Seen, *, as_it_is: bool = False) -> None:
    """Refuse data that another container has mounted, or that a server of this machine works on.

    ``as_it_is``: the data is that of the container that is there, and not that of the declared one.

    Raises:
        RefusedError: with who has it, and what to type.
    """
    found = _place(seen, as_it_is=as_it_is)
    if found is None:
        return
    if (other := other_container(seen, as_it_is=as_it_is)) is not None:
        raise refusal(seen, found.source, other)
    if isinstance(seen.spec.server.data, DataPath) and seen.look.engine_is_local:
        path = seen.spec.server.data.path
        ownership.check_processes(seen.look, path, path / found.below)


def other_container(seen: Seen, *, as_it_is: bool) -> Tenant | None:
    """Return a container of another environment, or of nobody's, that could write to the data."""
    found, name = _place(seen, as_it_is=as_it_is), seen.container_name
    if found is None:
        return None
    volume = seen.volumes.get(found.source) or {}  # one that is not there yet, nobody has
    ours = (name, f"{name}.new", temporary_name(name))
    place = found.source if found.source.startswith("/") else str(volume.get("Mountpoint") or "")
    return ownership.container_on(seen.look, found.source, place=place, but=ours)


def refusal(seen: Seen, source: str, other: Tenant) -> RefusedError:
    """Return the error for a container on the data, which may be ours under another name."""
    is_renamed = seen.container is None and is_ours(seen.spec, other.labels, seen.look)
    what = f"the directory {source}" if source.startswith("/") else f"the volume {source!r}"
    return other.refusal(
        what, next_step=f"{seen.look.engine_program} rename {other.name} {seen.container_name}" if is_renamed else ""
    )


def claim(seen: Seen, *, as_it_is: bool) -> Claim | None:
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
        paths = dict.fromkeys((Path(place), Path(place) / found.below)) if seen.look.engine_is_local else ()
        return Claim(holder, tuple(paths), place, image, volumes)
    volume = seen.volumes.get(found.source) or seen.look.engine(f"/volumes/{found.source}") or {}
    if is_ours(seen.spec, volume.get("Labels") or {}, seen.look):
        return None
    return Claim(holder, (), str(volume.get("Mountpoint") or found.source), image, volumes)


def _place(seen: Seen, *, as_it_is: bool) -> Place | None:
    found = seen.current_place if as_it_is else seen.declared_place
    return None if isinstance(seen.spec.server.data, Ephemeral) else found


def check_ours(seen: Seen) -> None:
    """Refuse to remove volumes or a directory, where one of them was not made for this environment.

    Raises:
        RefusedError: with the commands that remove it by hand.
    """
    there = [name for name, volume in seen.volumes.items() if volume is not None]
    check_volumes(seen, [*there, *(each.name for each in seen.generations.kept)], first=command("destroy") + " && ")
    data = seen.spec.server.data
    if isinstance(data, DataPath) and seen.look.exists(data.path):
        ownership.check_made(seen.spec, data.path, seen.look, record=seen.spec.home / DATA_RECORD)


def check_volumes(seen: Seen, names: Sequence[str], *, first: str = "") -> None:
    """Refuse to remove volumes of which one was not made for this environment; their labels tell.

    Raises:
        RefusedError: with the command that removes it by hand, after the command ``first``.
    """
    for name in dict.fromkeys(names):
        volume = seen.volumes.get(name) or seen.look.engine(f"/volumes/{name}") or {}
        if not is_ours(seen.spec, volume.get("Labels") or {}, seen.look):
            raise RefusedError(
                f"the volume {name!r} was not made for the environment {seen.spec.name!r}; nothing was removed",
                evidence=[f"it lacks the labels of this environment, {ENVIRONMENT!r} and {DIRECTORY!r}"],
                next_step=first + f"{seen.look.engine_program} volume rm {name}   (if nobody needs it)",
            )
