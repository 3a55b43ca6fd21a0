"""Where an image keeps its data, and which mount holds that: its ``PGDATA``, and the nearest ``VOLUME`` above it.

Data on no declared mount would be gone with its container, so such a container is never removed. The image's programs
may ignore its ``PGDATA``, so provision looks for data on the mount before it removes a container, and asks the server
after each start. https://github.com/docker-library/docs/blob/master/postgres/README.md#pgdata ;
https://docs.docker.com/reference/dockerfile/#volume
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError, command
from provision.spec.model import Ephemeral, Layout, Volume
from provision.spec.parameters import MAJORS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from typing import Any

    from provision.runtimes.docker.seen import Seen
    from provision.spec.model import Spec

_FIRST_MAJOR_WITH_ITS_OWN_DIRECTORY = 18
_ROOT = "/var/lib/postgresql"
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
# Kernel file systems, and what the compose file mounts itself.
_OTHERS = ("/proc", "/sys", "/dev", "/run/secrets", "/etc/postgresql")


@dataclass(frozen=True, slots=True)
class Place:
    """The mount that holds a data directory; ``below`` is the directory's path in it, empty for the mount itself."""

    source: str
    target: str
    below: str
    kind: str

    @property
    def directory(self) -> str:
        """The data directory as the container sees it."""
        return posixpath.join(self.target, self.below) if self.below else self.target

    @property
    def is_anonymous(self) -> bool:
        """Whether the engine made the volume for this container only, because of a ``VOLUME`` of the image."""
        return is_anonymous(self.kind, self.source)


def official(major: int) -> Layout:
    """Return the layout of the official image: from 18 on it keeps a directory per major version below the mount."""
    if major >= _FIRST_MAJOR_WITH_ITS_OWN_DIRECTORY:
        return Layout(f"{_ROOT}/{major}/docker", _ROOT)
    return Layout(f"{_ROOT}/data", f"{_ROOT}/data")


OFFICIAL = frozenset({f"{_ROOT}/data", _ROOT})
"""Where the official images have their volume."""


def of_image(config: Mapping[str, Any], major: int) -> Layout:
    """Return the layout of an image: the data directory, and the nearest volume above it or the directory itself.

    The official image's mount counts as a volume, so that a directory below it is where it always was.
    """
    usual = official(major)
    directory = data_directory(config, major)
    volumes = [*map(posixpath.normpath, config.get("Volumes") or ()), usual.mount]
    above = [each for each in volumes if each != "/" and holds(each, directory)]
    return Layout(directory, max(above, key=len, default=directory))


def data_directory(config: Mapping[str, Any], major: int) -> str:
    """Return the ``PGDATA`` in the configuration of an image or a container, or else the official image's."""
    return posixpath.normpath(variables(config).get("PGDATA") or official(major).directory)


def of_spec(spec: Spec) -> Layout:
    """Return the layout of the declared image; one that was not pulled yet counts as an official one."""
    return spec.server.layout or official(spec.server.major or MAJORS[-1])


def with_memory(mounts: Iterable[Mapping[str, Any]], host: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return mounts, and with them what the key ``tmpfs`` of a service mounts."""
    return [*mounts, *({"Type": "tmpfs", "Target": target} for target in host.get("Tmpfs") or ())]


def place(mounts: Iterable[Mapping[str, Any]], directory: str) -> Place | None:
    """Return the mount that holds a directory, in a creation call or an inspected container; None: its own layer."""
    found = None
    for each in mounts:
        target = target_of(each)
        if holds(target, directory) and (found is None or len(target) > len(found.target)):
            source, below = str(each.get("Name") or each.get("Source") or ""), posixpath.relpath(directory, target)
            found = Place(source, target, "" if below == "." else below, str(each["Type"]))
    return found


def kept(mounts: Iterable[Mapping[str, Any]], directory: str) -> Place | None:
    """Return the mount of a volume or a directory that holds a data directory; None: memory, or the own layer."""
    found = place(mounts, directory)
    return found if found is not None and found.kind != "tmpfs" else None


def anonymous(mounts: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Return target → name of the volumes that the engine made for the ``VOLUME`` lines of an image."""
    return {
        str(each["Destination"]): str(each["Name"])
        for each in mounts
        if is_anonymous(str(each["Type"]), str(each.get("Name") or ""))
    }


def is_anonymous(kind: str, name: str) -> bool:
    """Tell whether a mount is a volume whose name the engine made up."""
    return kind == "volume" and _ANONYMOUS.fullmatch(name) is not None


def why_not(
    directory: str,
    config: Mapping[str, Any],
    mounts: Sequence[Mapping[str, Any]],
    *,
    is_fresh: bool = True,
    used: Container[str] = (),
) -> str | None:
    """Say why the mounts of a creation call do not keep the data of an image; None: they do.

    ``is_fresh``: there is no data yet. ``used``: the targets of the mounts that a server works with already.
    """
    if not directory.startswith("/") or directory == "/" or any(holds(each, directory) for each in _OTHERS):
        return "no volume can be mounted there"
    if any(holds(directory, each) for each in _OTHERS):
        return "it holds more than data"
    targets = [target_of(each) for each in mounts]
    if (found := place(mounts, directory)) is None:
        return "nothing is mounted there"
    if targets.count(found.target) > 1:
        return f"more than one mount has the target {found.target}"
    if found.kind == "tmpfs":
        return f"the tmpfs at {found.target} is memory, which each stop empties"
    parts = [each for each in map(posixpath.normpath, config.get("Volumes") or ()) if each != directory]
    for each in sorted(parts):
        if holds(directory, each) and each not in targets:
            return f"a part of it is in a volume of its own, `VOLUME {each}`, which no name keeps"
    # initdb takes an empty directory only, and a mount point makes it one that is not.
    for each in mounts:
        target, in_memory = target_of(each), each["Type"] == "tmpfs"
        if target != directory and holds(directory, target) and target not in used and (is_fresh or in_memory):
            return f"a {each['Type']} is mounted below it, at {target}"
    return _why_not_wal(config, mounts)


def _why_not_wal(config: Mapping[str, Any], mounts: Sequence[Mapping[str, Any]]) -> str | None:
    if not (wal := variables(config).get("POSTGRES_INITDB_WALDIR")):
        return None
    found = place(mounts, posixpath.normpath(wal))
    if found is None:
        return f"its WAL is in {wal} (POSTGRES_INITDB_WALDIR), and nothing is mounted there"
    return f"its WAL is in memory, the tmpfs at {found.target}" if found.kind == "tmpfs" else None


def target_of(mount: Mapping[str, Any]) -> str:
    """Return where a mount is in the container, in a creation call or an inspected container, normalised."""
    # normpath keeps two slashes at the beginning, which POSIX allows to mean something else.
    return "/" + posixpath.normpath(str(mount.get("Target") or mount.get("Destination"))).lstrip("/")


def holds(directory: str, path: str) -> bool:
    """Tell whether a path is a directory or in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def major(config: Mapping[str, Any]) -> int:
    """Return the major version in the environment of an image or a container, or 0 where none is."""
    text = variables(config).get("PG_MAJOR", "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of an image or a container."""
    return dict(each.partition("=")[::2] for each in config.get("Env") or ())


# --- data on no declared mount

_VERSION = "PG_VERSION"
_CONTROL = "/global/pg_control"
_STOP = 120


def check_declared(seen: Seen) -> None:
    """Refuse an image whose data the declared container would not keep.

    Raises:
        RefusedError: with what the image says, and what to write.
    """
    if isinstance(seen.spec.server.data, Ephemeral):
        return
    config = (seen.image or seen.own_image or {}).get("Config") or {}
    directory, mounts = seen.declared_directory, _declared_mounts(seen)
    environment = variables(config) | variables(seen.creation.body)
    why: str | None
    works = variables((seen.working or {}).get("Config") or {}).get("PGDATA") == ""
    if environment.get("PGDATA") == "" and not works:
        directory, why = "not known", "PGDATA is empty"
    elif (why := why_not(directory, config, mounts, is_fresh=seen.is_fresh, used=_used(seen))) is None:
        return
    raise RefusedError(
        f"the data of {seen.creation.image!r} cannot be kept: its data directory is {directory}, and {why}",
        evidence=[
            f"PGDATA is {variables(config).get('PGDATA', 'not set') or 'empty'} in the image",
            *(f"the image has VOLUME {each}" for each in sorted(config.get("Volumes") or ())),
            *(
                f"docker-compose.yml has a {each['Type']} at {each['Target']}"
                for each in mounts
                if _is_near(each, directory)
            ),
        ],
        next_step=_correct(seen),
    )


def _declared_mounts(seen: Seen) -> list[Mapping[str, Any]]:
    host = seen.creation.body["HostConfig"]
    return with_memory(host["Mounts"], host)


def _used(seen: Seen) -> frozenset[str]:
    """Return the targets of what a server that works has mounted."""
    container = seen.working or {"Mounts": ()}
    host = container.get("HostConfig") or {}
    return frozenset(map(target_of, with_memory(container["Mounts"], host)))


def _is_near(mount: Mapping[str, Any], directory: str) -> bool:
    target = target_of(mount)
    return holds(target, directory) or holds(directory, target)


def _correct(seen: Seen) -> str:
    """Return what to write in the compose file, and what to save before."""
    if not seen.has_own_template:
        return (
            "set `PGDATA` under `environment`, and mount the data there, in a docker-compose.yml.j2 of your own "
            "(`templates`)"
        )
    text = (
        "in your docker-compose.yml.j2, mount the data at the data directory or above it (`PGDATA` under `environment` "
        "sets another), and nothing else there or below it (`volumes`, `tmpfs`)"
    )
    place = _mount_of(seen, seen.current_directory) if seen.working else None
    is_in_memory = place is not None and place.kind == "tmpfs"
    return f"save the rows, which are in memory, with pg_dump; then, {text}" if is_in_memory else text


def check_current(seen: Seen) -> None:
    """Refuse to go on with a container that was made to keep its data elsewhere than in a volume or directory.

    Raises:
        RefusedError: with the commands that move the data.
    """
    if _has_data(seen) and _is_lost(_mount_of(seen, seen.current_directory)):
        raise _misplaced(seen, seen.current_directory)


def check_reported(seen: Seen, directory: str) -> None:
    """Refuse to go on with a running server whose data directory, as it says itself, is on no declared mount.

    Raises:
        RefusedError: with the commands that move the data.
    """
    if directory and _has_data(seen) and _is_lost(_mount_of(seen, directory)):
        raise _misplaced(seen, directory)


def check_removal(seen: Seen) -> None:
    """Refuse to remove a container whose data is not where it was made to keep it; the engine is asked.

    Raises:
        RefusedError: with the commands that move the data.
    """
    if not _has_data(seen):
        return
    check_current(seen)
    if (found := _search(seen)) is not None:
        raise _misplaced(seen, found)


def _has_data(seen: Seen) -> bool:
    """Tell whether a server has run in a container of data that is to be kept."""
    if seen.container is None or isinstance(seen.spec.server.data, Ephemeral):
        return False
    place = _mount_of(seen, seen.current_directory)
    return seen.container["State"]["Status"] != "created" and (place is None or place.kind != "tmpfs")


def _mount_of(seen: Seen, directory: str) -> Place | None:
    container = seen.container or {}
    return place(with_memory(container["Mounts"], container.get("HostConfig") or {}), directory)


def _is_lost(place: Place | None) -> bool:
    return place is None or place.is_anonymous or place.kind == "tmpfs"


def _search(seen: Seen) -> str | None:
    """Return the data directory in the container's own layer, or in a volume that has no name.

    No file of another volume is read: the engine mounts all volumes for that, which others see as an event.
    """
    mounts = (seen.container or {}).get("Mounts") or ()
    for target in anonymous(mounts):
        for below in ("", "/data", f"/{seen.spec.server.major}/docker", f"/{seen.spec.server.major}/main"):
            if seen.look.container_file(seen.container_name, f"{target}{below}/{_VERSION}") is not None:
                return f"{target}{below}"
    changed = (each["Path"] for each in seen.look.engine(f"/containers/{seen.container_name}/changes") or ())
    return next((each.removesuffix(_CONTROL) for each in changed if each.endswith(_CONTROL)), None)


def _misplaced(seen: Seen, directory: str) -> RefusedError:
    name, data = seen.container_name, seen.spec.server.data
    assert not isinstance(data, Ephemeral)  # noqa: S101  # asked by the callers
    wanted = f"the volume {data.name!r}" if isinstance(data, Volume) else f"the directory {data.path}"
    place = _mount_of(seen, directory)
    where = f"in the volume {place.source[:12]}…, which has no name" if place else "in the container's own layer"
    is_known = directory in (seen.declared_directory, seen.current_directory)
    return RefusedError(
        f"the data of {seen.spec.name!r} is in {directory} of the container {name!r}, and not in {wanted}",
        evidence=[f"it is {where}, and would be gone with the container; so nothing was changed", *_shown_mounts(seen)],
        next_step=_move(seen, directory) if is_known else _declare(seen, directory),
    )


def _shown_mounts(seen: Seen) -> list[str]:
    mounts = (seen.container or {}).get("Mounts") or ()
    return [
        f"{each.get('Name') or each['Source']} is mounted at {each['Destination']}"
        for each in mounts
        if each["Destination"] != "/etc/postgresql" and not each["Destination"].startswith("/run/secrets")
    ]


def _declare(seen: Seen, directory: str) -> str:
    """Return what to write where the image's programs, and not its PGDATA, decide about the data directory."""
    return (
        f"write `PGDATA: {directory}` under `environment`, and `target: {directory}` for the data, in a "
        f"docker-compose.yml.j2 of your own (`templates`); or, without the data: {_without(seen)}"
    )


def _without(seen: Seen) -> str:
    return f"{seen.look.engine_program} rm -f -v {seen.container_name}"


def _move(seen: Seen, directory: str) -> str:
    """Return the commands that copy the data to where the declared container looks for it, and keep the old one."""
    name, place, program = shlex.quote(seen.container_name), seen.declared_place, seen.look.engine_program
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
