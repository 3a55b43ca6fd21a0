"""What a volume or directory holds, read before a server starts on it: data of some major version, and other files.

Up to 17 the official image keeps the data in the mount itself, from 18 on in a directory per major, ``18/docker``;
other images have their own layout. A server that starts on the wrong layout or major ends at once, or makes an empty
cluster beside the data that people expect: https://github.com/docker-library/postgres/issues/1259
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from provision.errors import ProvisionError, RefusedError, command
from provision.model import Action, Address, Effect, Step
from provision.model.effects import CheckData, EngineCall
from provision.runtimes import data_directory
from provision.runtimes.docker import compose, containers, data_location, golden_image, scripts, shared_files
from provision.runtimes.docker.compose import MAJOR, Creation
from provision.runtimes.docker.containers import IDLE, labels_of
from provision.runtimes.names import DATA_RECORD, DIRECTORY, ENVIRONMENT
from provision.runtimes.ownership import is_ours
from provision.spec.model import DataPath, Ephemeral, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from provision.runtimes.docker.data_location import Place
    from provision.runtimes.docker.inspection import Inspection
    from provision.system.look import Look

    Reader = Callable[[str], str | None]

_VERSION = "PG_VERSION"
_OLD_PLACES = (_VERSION, f"data/{_VERSION}")
_MAJORS = range(14, 40)


def check_old(seen: Inspection) -> None:
    """Look into the data of a container that is there, if the one that is declared would use it.

    Raises:
        RefusedError: it is another major's.
    """
    before, after, name = seen.current_place, seen.declared_place, seen.container_name
    if seen.container is None or before is None or after is None or before.source != after.source:
        return
    if seen.container["State"]["Running"] and data_location.major(seen.container["Config"]):
        return  # it runs on this data, and says which major it is; to look, the engine would have to mount the volume
    read = reader(seen.look, CheckData(name, before.target))
    check_majors(seen.spec, f"the data of the container {name!r}", after.below, read)


def check_new(seen: Inspection, container: str) -> tuple[CheckData, ...]:
    """Return the look into data that only a container that was made, and not started, can show."""
    before, after = seen.current_place, seen.declared_place
    data = seen.spec.server.data
    if after is None or isinstance(data, Ephemeral):
        return ()
    if before is not None and before.source == after.source and seen.state != "created":
        return ()
    if isinstance(data, DataPath):
        holds_something = seen.look.there(data.path)
        is_seen = seen.look.address.is_local and _found(seen, data.path, after.below) is not None
        is_foreign = holds_something and not is_seen
        from_golden = False
    else:
        volume = seen.volumes.get(after.source)
        labels = (volume or {}).get("Labels") or {}
        is_known = labels.get(MAJOR) == str(seen.spec.server.major) and golden_image.KEY not in labels
        holds_something = volume is not None and not is_known
        from_golden = golden_image.KEY in labels
        is_foreign = volume is not None and not is_ours(seen.spec, labels, seen.look)
    is_looked_into = holds_something or is_foreign
    look = CheckData(container, after.target, is_foreign, after.below, after.source, from_golden)
    return (look,) if is_looked_into else ()


def check_directory(seen: Inspection) -> None:
    """Refuse a directory of this machine that holds other files, unless our container has it already.

    Raises:
        RefusedError: with what is in it, and a directory to take instead.
    """
    before, after = seen.current_place, seen.declared_place
    data = seen.spec.server.data
    if after is None or not isinstance(data, DataPath) or (before is not None and before.source == after.source):
        return
    if found := _found(seen, data.path, after.below):
        raise data_directory.occupied(seen.spec, str(data.path), found)


def _found(seen: Inspection, path: Path, below: str) -> tuple[str, ...] | None:
    """Return what else than data is in a directory; None where we may not look. What we made holds nothing else."""
    look = seen.look
    if not look.address.is_local or not look.exists(path) or look.made(path, seen.spec.home / DATA_RECORD):
        return ()
    return data_directory.strangers(lambda name: look.machine.entries(path / name), below=below)


def reader(look: Look, at: CheckData) -> Reader:
    """Return what reads a file below a mount of a container."""
    return lambda path: look.reader.file(at.container, f"{at.target}/{path}")


def check(spec: Spec, at: CheckData, read: Reader, entries: Callable[[str], Sequence[str] | None]) -> None:
    """Refuse data that a server of the declared image would not use, or anything else in its place.

    ``read`` gives the text of a file in it. ``entries`` lists it as in :func:`data_directory.strangers`, and is called
    only where ``at`` is not known to be ours.

    Raises:
        RefusedError: with what was found where, and a way out.
    """
    if at.from_golden:
        _check_copied(at, read, entries)
    if check_majors(spec, "the mounted data", at.below, read) or not at.is_foreign:
        return
    data, found = spec.server.data, data_directory.strangers(entries, below=at.below)
    if found is None:
        raise data_directory.unreadable(at.source)
    if found:
        raise data_directory.occupied(spec, str(data.path) if isinstance(data, DataPath) else at.source, found)


def _check_copied(at: CheckData, read: Reader, entries: Callable[[str], Sequence[str] | None]) -> None:
    """Refuse a copy of a golden on which no server ever ran: it may have been broken off, and nothing is in it yet."""
    if any(read(posixpath.join(at.below, sign)) is not None for sign in _SIGNS_OF_LIFE) or entries("") == ():
        return
    raise RefusedError(
        f"the volume {at.source!r} is a copy of a golden that was broken off before any server ran on it",
        next_step=command("destroy", "--data") + "   (it has no data of yours), then: " + command("apply"),
    )


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
    if not found:
        return False
    evidence = [f"{place} in it says {major}" for place, major in found.items()]
    if {*found.values()} != {major}:
        raise data_directory.other_major(spec, what, " and ".join(dict.fromkeys(found.values())), evidence)
    raise RefusedError(
        f"{what} lies where {spec.server.image!r} does not look, and an empty server would be made beside it",
        evidence=evidence,
        next_step="mount it one level higher or lower in your docker-compose.yml.j2",
    )


def _everywhere(read: Reader) -> dict[str, str]:
    places = (*_OLD_PLACES, *(f"{major}/docker/{_VERSION}" for major in _MAJORS))
    return {place: text.strip() for place in places if (text := read(place))}


# --- an initialisation that did not finish
#
# The image takes a directory with PG_VERSION for initialised, although initdb writes that file before all others
# (https://github.com/docker-library/postgres/issues/891); where only directories are there, initdb refuses to continue.
# Such data needs no mark of ours: a server writes postmaster.opts whenever it starts, and initdb starts none. Without
# that file no server ever ran, so nothing is lost. A restored backup lacks it too, and has other files that show it.

DOWN = (*IDLE, "restarting")
_SIGNS_OF_LIFE = ("postmaster.opts", "backup_manifest", "backup_label", "backup_label.old", "standby.signal")
# What initdb makes before PG_VERSION, or has not yet removed where it failed; and what every complete cluster has.
_PARTS, _LAST = ("pg_wal/archive_status", "base", "global"), "global/pg_control"
# The image's last act before it starts the first server.
_OPENED = r"(?m)^host\s+all\s+all\s+all\s"
# What initdb says once it has found that its directory is empty.
_BEGAN = "creating subdirectories ... ok"
_LOG_LINES = 1000
_IN_EVERY_IMAGE = "/etc/passwd"
WHY = "its first initialisation was broken off before any server ran on it, so there is nothing in it"


def broken_off(seen: Inspection) -> Place | None:
    """Return where the data of a container that is :data:`DOWN` lies, if its first initialisation was broken off."""
    place, data = seen.current_place, seen.spec.server.data
    if place is None or place != seen.declared_place or isinstance(data, Ephemeral):
        return None
    read = reader(seen.look, CheckData(seen.container_name, place.directory))
    has, name = seen.look.reader.has, seen.container_name
    # Where any mount has no source, Docker denies all files of the container.
    if any(read(sign) is not None for sign in _SIGNS_OF_LIFE) or not has(name, _IN_EVERY_IMAGE):
        return None
    is_ours = is_made_here(seen, place)
    if is_ours and golden_image.KEY in _labels(seen, place):  # a copy that may have been broken off
        return place
    if read(_VERSION) is not None:
        is_begun = re.search(_OPENED, read("pg_hba.conf") or "") is None
    elif is_ours and isinstance(data, DataPath) and seen.state == "created":
        is_begun = True  # a copy of a golden gets this file last, and initdb, which makes it first, never ran here
    else:
        is_begun = read(_LAST) is None and any(has(name, f"{place.directory}/{each}") for each in _PARTS)
    return place if is_begun and (is_ours or _initialised_by(seen)) else None


def _labels(seen: Inspection, place: Place) -> Mapping[str, str]:
    return (seen.volumes.get(place.source) or {}).get("Labels") or {}


def _is_labelled(seen: Inspection, place: Place) -> bool:
    """Tell whether we have made the volume."""
    return {ENVIRONMENT, DIRECTORY} <= set(_labels(seen, place))


def is_made_here(seen: Inspection, place: Place) -> bool:
    """Tell whether we have made the volume, or the directory."""
    data = seen.spec.server.data
    is_made = isinstance(data, DataPath) and seen.look.made(data.path, seen.spec.home / DATA_RECORD)
    return is_made or _is_labelled(seen, place)


def _initialised_by(seen: Inspection) -> bool:
    """Tell whether the log of the container shows that initdb began in an empty directory, and was not the last.

    So what is there is initdb's, also in a volume or a directory that we did not make.
    """
    said = "\n".join(seen.look.reader.logs(seen.container_name, _LOG_LINES))
    return _BEGAN in said and scripts.OVER not in said


def initialise_again(seen: Inspection, place: Place) -> Step:
    """Return the step that makes the data again whose first initialisation was broken off.

    The container that used it is removed before, and created after.
    """
    data, name = seen.spec.server.data, seen.container_name
    address = Address("directory", str(data.path)) if isinstance(data, DataPath) else Address("volume", place.source)
    stop, gone = EngineCall("stop_container", name, {"timeout": 1}), EngineCall("remove_container", name)
    if _is_labelled(seen, place):
        declared = next(each for each in seen.creation.volumes if each.name == place.source)
        made: tuple[Effect, ...] = (
            EngineCall("remove_volume", place.source, {"filler": golden_image.helper(name)}),
            EngineCall("create_volume", place.source, labels_of(declared)),
        )
    else:
        made = (shared_files.empty(seen, place),)
    before, after = seen.observed.get(address), seen.desired[address]
    return Step(address, Action.RECREATE, before, after, (stop, gone, *made), (WHY,))


def check_finished(seen: Inspection) -> None:
    """Refuse to start a container whose scripts did not come to their end: its data is incomplete.

    Raises:
        RefusedError: with the way to begin again.
    """
    name, mark = seen.container_name, f"{seen.current_directory}/{scripts.MARK}"
    if seen.current_place is None or seen.state not in ("exited", "dead", "restarting"):
        return
    if seen.look.reader.file(name, mark) is not None:
        raise RefusedError(
            f"the scripts that initialise the data of {name!r} did not finish, so the data is incomplete",
            evidence=[f"{mark} is still there, which the last script removes"],
            next_step=scripts.AGAIN,
        )


# --- a compose file that was rendered, and perhaps never applied


def is_applied(rendered: str, path: Path, look: Look) -> bool:
    """Tell whether the container, a volume or a directory with data is there that a compose file names.

    Where that cannot be found out, it is: data that stays behind is worse than an error.
    """
    try:
        creation = compose.read(rendered, path)
        return containers.inspect(look, creation.container) is not None or any(_holds(creation, look))
    except ProvisionError:
        return True


def _holds(creation: Creation, look: Look) -> Iterator[bool]:
    """Tell of each volume whether it is there, and of each directory whether something is in it, or may be."""
    mounts = creation.body["HostConfig"]["Mounts"]
    names = {each.name for each in creation.volumes} | {each["Source"] for each in mounts if each["Type"] == "volume"}
    for name in sorted(names):
        yield look.engine(f"/volumes/{name}") is not None
    for each in mounts:
        if each["Type"] == "bind" and not each.get("ReadOnly"):
            yield not look.address.is_local or look.machine.entries(Path(each["Source"])) != ()
