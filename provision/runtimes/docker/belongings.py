"""Whose the data is: nobody else may be on it when our server starts, and only what we made is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.runtimes import DATA_RECORD, tenants
from provision.runtimes.docker.compose import DIRECTORY, ENVIRONMENT
from provision.runtimes.docker.generations import is_ours, temporary_name
from provision.spec.model import DataPath, Ephemeral

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.runtimes.docker.seen import Seen


def check_alone(seen: Seen, *, as_it_is: bool = False) -> None:
    """Refuse data that another container has mounted, or that a server of this machine works on.

    ``as_it_is``: the data is that of the container that is there, and not that of the declared one.

    Raises:
        RefusedError: with who has it, and what to type.
    """
    found = seen.current_place if as_it_is else seen.declared_place
    if found is None or isinstance(seen.spec.server.data, Ephemeral):
        return
    source, name = found.source, seen.container_name
    volume = seen.volumes.get(source) or {}  # one that is not there yet, nobody has
    ours = (name, f"{name}.new", temporary_name(name))
    place = source if source.startswith("/") else str(volume.get("Mountpoint") or "")
    other = tenants.container_on(seen.look, source, place=place, but=ours)
    if other is not None:
        is_renamed = seen.container is None and is_ours(seen.spec, other.labels, seen.look)
        what = f"the directory {source}" if source.startswith("/") else f"the volume {source!r}"
        raise other.refusal(
            what, next_step=f"{seen.look.engine_program} rename {other.name} {name}" if is_renamed else ""
        )
    if isinstance(seen.spec.server.data, DataPath) and seen.look.engine_is_local:
        path = seen.spec.server.data.path
        tenants.check_processes(seen.look, path, path / found.below)


def check_ours(seen: Seen) -> None:
    """Refuse to remove volumes or a directory, where one of them was not made for this environment.

    Raises:
        RefusedError: with the commands that remove it by hand.
    """
    there = [name for name, volume in seen.volumes.items() if volume is not None]
    check_volumes(seen, [*there, *(each.name for each in seen.generations.kept)], first="provision destroy SPEC && ")
    data = seen.spec.server.data
    if isinstance(data, DataPath) and seen.look.exists(data.path):
        tenants.check_made(seen.spec, data.path, seen.look, record=seen.spec.home / DATA_RECORD)


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
                next_step=f"{first}{seen.look.engine_program} volume rm {name}   (if nobody needs it)",
            )
