"""What a volume or directory holds: the majors that made data in it, read before any server starts on it.

Up to 17 the official image keeps the data in the mount itself, from 18 on in a directory per major, ``18/docker``;
other images have their own. A server that starts on the wrong layout or major ends at once, or makes an empty cluster
beside the data that people expect.
https://github.com/docker-library/postgres/issues/1259
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provision.errors import RefusedError
from provision.model import CheckData
from provision.runtimes import DATA_RECORD, occupancy
from provision.runtimes.docker.compose import MAJOR
from provision.runtimes.docker.generations import is_ours
from provision.runtimes.docker.guards import other_major
from provision.spec.model import DataPath, Ephemeral

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from provision.runtimes import Look
    from provision.runtimes.docker.seen import Seen
    from provision.spec.model import Spec

    Reader = Callable[[str], str | None]

_VERSION = "PG_VERSION"
_TELLS = re.compile(r"PG_MAJOR=\d")
_OLD_PLACES = (_VERSION, f"data/{_VERSION}")
_MAJORS = range(14, 40)


def check_old(seen: Seen) -> None:
    """Look into the data of a container that is there, if the one that is declared would use it.

    Raises:
        RefusedError: it is another major's.
    """
    before, after = seen.current_place, seen.declared_place
    if seen.container is None or before is None or after is None or before.source != after.source:
        return
    if seen.container["State"]["Running"] and any(_TELLS.match(each) for each in seen.container["Config"]["Env"] or ()):
        return  # it runs on this data, and says which major it is; to look, the engine would have to mount the volume
    name = seen.container_name
    at = CheckData(name, before.target)
    check_majors(seen.spec, f"the data of the container {name!r}", after.below, reader(seen.look, at))


def check_new(seen: Seen, container: str) -> tuple[CheckData, ...]:
    """Return the look into data that only a container that was made, and not started, can show."""
    before, after = seen.current_place, seen.declared_place
    data = seen.spec.server.data
    if after is None or isinstance(data, Ephemeral):
        return ()
    if before is not None and before.source == after.source and not _never_ran(seen):
        return ()
    if isinstance(data, DataPath):
        holds_something = seen.look.exists(data.path)
        is_foreign = holds_something and _found(seen, data.path, after.below) is None
    else:
        labels = (seen.volumes.get(after.source) or {}).get("Labels") or {}
        is_there = seen.volumes.get(after.source) is not None
        holds_something = is_there and labels.get(MAJOR) != str(seen.spec.server.major)
        is_foreign = is_there and not is_ours(seen.spec, labels, seen.look)
    if not (holds_something or is_foreign):
        return ()
    return (CheckData(container, after.target, is_foreign, after.below, after.source),)


def _never_ran(seen: Seen) -> bool:
    return seen.container is not None and str(seen.container["State"]["Status"]) == "created"


def check_directory(seen: Seen) -> None:
    """Refuse a directory of this machine that holds other files, unless our container has it already.

    Raises:
        RefusedError: with what is in it, and a directory to take instead.
    """
    before, after = seen.current_place, seen.declared_place
    data = seen.spec.server.data
    if after is None or not isinstance(data, DataPath) or (before is not None and before.source == after.source):
        return
    if found := _found(seen, data.path, after.below):
        raise occupancy.refusal(seen.spec, data.path, found)


def _found(seen: Seen, path: Path, below: str) -> tuple[str, ...] | None:
    """Return what else than data is in a directory; None where we may not look. What we made holds nothing else."""
    if not seen.look.engine_is_local or not seen.look.exists(path):
        return ()
    if seen.look.made(path, seen.spec.home / DATA_RECORD):
        return ()
    return occupancy.strangers(lambda name: seen.look.machine.entries(path / name), below=below)


def reader(look: Look, at: CheckData) -> Reader:
    """Return what reads a file below a mount of a container."""
    return lambda path: look.container_file(at.container, f"{at.target}/{path}")


def check(spec: Spec, at: CheckData, read: Reader, entries: Callable[[str], Sequence[str] | None]) -> None:
    """Refuse data that a server of the declared image would not use, or anything else in its place.

    ``read`` gives the text of a file in it. ``entries`` lists it as :func:`occupancy.strangers` has it, and is asked
    only where ``at`` is not known to be ours.

    Raises:
        RefusedError: with what was found where, and a way out.
    """
    if check_majors(spec, "the mounted data", at.below, read) or not at.is_foreign:
        return
    found = occupancy.strangers(entries, below=at.below)
    if found is None:
        raise occupancy.unseen(at.source)
    if found and isinstance(spec.server.data, DataPath):
        raise occupancy.refusal(spec, spec.server.data.path, found)
    if found:
        raise occupancy.refusal_of_volume(at.source, found)


def check_majors(spec: Spec, what: str, below: str, read: Reader) -> bool:
    """Tell whether there is data that the declared server would use; ``below`` is the path of its directory in it.

    Raises:
        RefusedError: there is data of another major version, or in another place.
    """
    major = str(spec.server.major)
    own = f"{below}/{_VERSION}" if below else _VERSION
    made_by = (read(own) or "").strip()
    if made_by == major:
        return True
    found = {own: made_by} if made_by else _everywhere(read)
    if found:
        raise _refusal(spec, what, found)
    return False


def _everywhere(read: Callable[[str], str | None]) -> dict[str, str]:
    places = (*_OLD_PLACES, *(f"{major}/docker/{_VERSION}" for major in _MAJORS))
    return {place: text.strip() for place in places if (text := read(place))}


def _refusal(spec: Spec, what: str, found: Mapping[str, str]) -> RefusedError:
    majors = " and ".join(dict.fromkeys(found.values()))
    evidence = [f"{place} in it says {major}" for place, major in found.items()]
    if set(found.values()) == {str(spec.server.major)}:
        return RefusedError(
            f"{what} lies where {spec.server.image!r} does not look, and an empty server would be made beside it",
            evidence=evidence,
            next_step="mount it one level higher or lower in your docker-compose.yml.j2",
        )
    return other_major(spec, what, majors, evidence)
