"""A first initialisation that was broken off: recognised by what the data directory shows, and done again.

The image takes a directory with ``PG_VERSION`` for initialised, although initdb writes that file before all others
(https://github.com/docker-library/postgres/issues/891); in one that has only directories so far, initdb refuses to go
on. No marker of ours is needed to tell such data from real data: ``postmaster.opts`` is written whenever a server
starts, and initdb starts none. Where it is missing no server ever ran, so nothing is lost. A restored backup lacks it
as well, and shows in other ways that it is one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.model import Action, Address, CheckData, EngineCall, Step
from provision.runtimes.docker import contents
from provision.runtimes.docker.compose import DIRECTORY, ENVIRONMENT
from provision.runtimes.docker.states import IDLE, labels_of
from provision.spec.model import Volume

if TYPE_CHECKING:
    from provision.runtimes.docker.seen import Seen

_DOWN = (*IDLE, "restarting")
_SIGNS_OF_LIFE = ("postmaster.opts", "backup_manifest", "backup_label", "backup_label.old", "standby.signal")
# What initdb makes before PG_VERSION, and what only a cluster has that is complete.
_FIRST, _LAST = "pg_wal/archive_status", "global/pg_control"
# The image's last act before it starts the first server.
_OPENED = re.compile(r"^host\s+all\s+all\s+all\s", re.MULTILINE)
WHY = "its first initialisation was broken off before any server ran on it, so there is nothing in it"


def volume(seen: Seen) -> str | None:
    """Return the volume whose first initialisation was broken off, if this environment's is one."""
    if seen.container is None or seen.container["State"]["Status"] not in _DOWN:
        return None
    place = seen.current_place
    if place is None or not isinstance(seen.spec.server.data, Volume) or place.source not in seen.volumes:
        return None
    labels = (seen.volumes[place.source] or {}).get("Labels") or {}
    if not {ENVIRONMENT, DIRECTORY} <= set(labels):
        return None
    read = contents.reader(seen.look, CheckData(seen.container_name, place.directory))
    if any(read(sign) is not None for sign in _SIGNS_OF_LIFE):
        return None
    if read("PG_VERSION") is None:
        begun = seen.look.container_has(seen.container_name, f"{place.directory}/{_FIRST}")
        return place.source if begun and read(_LAST) is None else None
    return None if _OPENED.search(read("pg_hba.conf") or "") else place.source


def again(seen: Seen, name: str) -> Step:
    """Return the step that makes the volume anew; the container that used it goes first, and is made after it."""
    address = Address("volume", name)
    declared = next(each for each in seen.creation.volumes if each.name == name)
    effects = (
        EngineCall("stop_container", seen.container_name, {"timeout": 1}),
        EngineCall("remove_container", seen.container_name),
        EngineCall("remove_volume", name),
        EngineCall("create_volume", name, labels_of(declared)),
    )
    return Step(address, Action.RECREATE, seen.observed.get(address), seen.desired[address], effects, (WHY,))
