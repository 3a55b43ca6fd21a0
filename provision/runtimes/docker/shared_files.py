"""What the engine's host and this machine share: files and user ids, and what to do where they share neither.

An engine that maps user ids (``dockerd --userns-remap``) cannot read a file that only we may read, so provision copies
rendered files into the container, as for an engine on another host; and a directory for the data has to belong to the
user that is root in containers. https://docs.docker.com/engine/security/userns-remap/
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model.effects import ChangeDirectory, MakeDirectory, RemovePath
from provision.runtimes.names import DATA_RECORD
from provision.spec.model import DataPath

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Effect
    from provision.runtimes.docker.data_location import Place
    from provision.runtimes.docker.inspection import Inspection
    from provision.system.look import Look

_MAPPED = r"/(\d{4,})\.(\d{4,})(?:/containers/|$)"
"""How Docker names its directory where it maps user ids: after those of its root."""
_IDENTITY = "stat -c 'inode %i, born %W, on another host'"
_IDENTIFIED = r"inode \d+, born [1-9]\d*, on another host\n?"
"""What is remembered of a directory that was made there; `born 0` is said where the file system does not tell."""
_EMPTY = 'rm -rf -- "$1"/* "$1"/.[!.]* "$1"/..?*'


def shares_files(container: Mapping[str, Any] | None, look: Look) -> bool:
    """Tell whether a container reads files of this machine that only we may read."""
    return look.address.is_local and mapped_root(container, look) is None


def mapped_root(container: Mapping[str, Any] | None, look: Look) -> tuple[int, int] | None:
    """Return user and group id that the root of containers has on this machine, where the engine maps ids.

    A container that has run tells by its own paths; else the engine is asked.
    """
    own = str((container or {}).get("ResolvConfPath") or "")
    found = re.search(_MAPPED, own or str(look.engine_info.get("DockerRootDir")))
    return (int(found[1]), int(found[2])) if found else None


def make_directory(seen: Inspection, path: Path) -> tuple[Effect, ...]:
    """Return what makes a directory for the data that a container can write to."""
    place = seen.declared_place
    # The server owns what is mounted, or a directory below it, which it must be able to reach.
    mode = 0o700 if place is not None and not place.below else 0o711
    if not seen.look.address.is_local:
        return (_made_there(seen, path, mode),)
    return (MakeDirectory(path, mode, seen.spec.home / DATA_RECORD), *give_to_container(seen, path))


def _made_there(seen: Inspection, path: Path, mode: int) -> ChangeDirectory:
    """Return what makes a directory on the engine's host, which is another one."""
    above = next(each for each in path.parents if each == each.parent or seen.look.there(each))
    below, root = shlex.quote(str(path.relative_to(above))), mapped_root(seen.container, seen.look)
    script = f'set -- "$1"/{below}; mkdir -p "${{1%/*}}" && mkdir -m {mode:o} "$1" && {_IDENTITY} "$1"'
    if root is not None:
        script += f' && chown {root[0]}:{root[1]} "$1"'
    record = seen.spec.home / DATA_RECORD
    return ChangeDirectory(
        str(above), script, seen.creation.image, _helper(seen), unmapped=root is not None, record=record
    )


def give_to_container(seen: Inspection, path: Path) -> tuple[Effect, ...]:
    """Return what gives a directory that is made for the data to the root of containers, where that is another user."""
    root = mapped_root(seen.container, seen.look) if seen.look.address.is_local else None
    if root is None:
        return ()
    script = f'chown {root[0]}:{root[1]} "$1"'
    return (ChangeDirectory(str(path), script, seen.creation.image, _helper(seen), unmapped=True),)


def remove_directory(seen: Inspection, path: Path) -> tuple[Effect, ...]:
    """Return what removes a directory with data, which belongs to another user: the server's, or a mapped one."""
    image = seen.image or seen.own_image
    removal = RemovePath(path)
    if image is None or not seen.look.address.is_local or seen.look.machine.ourselves().uid == 0:
        return (removal,)
    return (ChangeDirectory(str(path), f'{_EMPTY}; chmod 0755 "$1"', image["Id"], _helper(seen)), removal)


def made_there(seen: Inspection) -> str:
    """Return what is remembered of the directory that we have made on the engine's host, another one; or nothing."""
    found = seen.look.kept(seen.spec.home / DATA_RECORD) or ""
    return found.strip() if re.fullmatch(_IDENTIFIED, found) else ""


def remove_there(seen: Inspection, path: Path) -> tuple[Effect, ...]:
    """Return what removes a directory of the engine's host, another one, if it is still the one that we have made.

    Raises:
        RefusedError: the engine has no image to do that with.
    """
    image = seen.image or seen.own_image
    if image is None:
        raise RefusedError(
            f"the image of {seen.spec.name!r} is needed to remove {path}, and the engine has it no longer",
            next_step=f"{seen.look.reader.program} pull {seen.creation.image}",
        )
    name, told = shlex.quote(path.name), shlex.quote(made_there(seen))
    other = 'echo "another directory is in its place: nothing was removed" >&2; exit 1'
    script = f'set -- "$1"/{name}; [ "$({_IDENTITY} "$1")" = {told} ] || {{ {other}; }}; rm -rf "$1"'
    is_mapped = mapped_root(seen.container, seen.look) is not None
    return (ChangeDirectory(str(path.parent), script, image["Id"], _helper(seen), unmapped=is_mapped),)


def empty(seen: Inspection, place: Place) -> ChangeDirectory:
    """Return what removes all files of a data directory, in a volume or a directory that stays."""
    inner = f'set -- "$1"/{shlex.quote(place.below)}; ' if place.below else ""
    return ChangeDirectory(place.source, inner + _EMPTY, seen.creation.image, _helper(seen), kind=place.kind)


def _helper(seen: Inspection) -> str:
    return f"{seen.container_name}.directory"


def check_visible(seen: Inspection) -> None:
    """Refuse to make a container whose files the engine does not see: it runs in a virtual machine, or is confined.

    Raises:
        RefusedError: with the directory, and how to share it.
    """
    if seen.container is not None:
        return
    data = seen.spec.server.data
    if not seen.look.address.is_local:
        _check_there(seen)
        return
    places = [seen.spec.directory, *([data.path] if isinstance(data, DataPath) else ())]
    for place in dict.fromkeys(_existing(each, seen.look) for each in places):
        if (why := seen.look.reader.misses(place)) is not None:
            raise RefusedError(
                f"{seen.look.engine_name} does not see the directory {place}; nothing was made",
                evidence=[why],
                next_step="share it with the engine (Colima: colima start --mount DIRECTORY:w; Docker Desktop: "
                "Settings, Resources, File sharing), or name a directory that is shared, such as one in your home",
            )


def _check_there(seen: Inspection) -> None:
    """Refuse what is mounted from the engine's host, another one, and is not there; it is not made as an empty one."""
    data, podman = seen.spec.server.data, seen.look.reader.podman
    made = str(data.path) if isinstance(data, DataPath) else None
    if made is not None and podman is not None:
        raise RefusedError(
            f"{seen.look.engine_name} is Podman on another host, which does not tell whether {made} is there",
            next_step="write `data: {volume: NAME}`, or leave `data` out",
        )
    for mount in seen.creation.body["HostConfig"]["Mounts"]:
        source = mount.get("Source", "")
        if mount["Type"] == "bind" and source != made and (why := seen.look.reader.misses(Path(source))) is not None:
            raise RefusedError(
                f"{source} is mounted, and is not on the host of {seen.look.engine_name}; nothing was made",
                evidence=[why],
                next_step="put it there, or take it out of your docker-compose.yml.j2",
            )


def _existing(path: Path, look: Look) -> Path:
    """Return a path, or the nearest directory above it that is there."""
    return next((each for each in (path, *path.parents) if look.exists(each)), path)
