"""What provision refuses before it touches anything: a wrong image, user, major version, port or directory."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model.effects import ChangeDirectory, EngineCall, RemovePath
from provision.runtimes import Collision, data_directory
from provision.runtimes.docker import data_location
from provision.runtimes.docker.compose import DIRECTORY, ENVIRONMENT, MAJOR
from provision.spec.image import OLDEST, major_of
from provision.spec.model import DataPath, Ephemeral, Volume
from provision.spec.parameters import MAJORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.model import Effect
    from provision.runtimes.docker.compose import Creation
    from provision.runtimes.docker.generations import Generations
    from provision.runtimes.docker.seen import Seen
    from provision.runtimes.ownership import Tenant
    from provision.spec.model import Spec
    from provision.system.look import Look


def check_owner(
    spec: Spec,
    name: str,
    container: Mapping[str, Any] | None,
    volumes: Mapping[str, Mapping[str, Any] | None],
    look: Look,
) -> None:
    """Refuse to have anything to do with the container ``name``, or a volume, of somebody else.

    Raises:
        RefusedError: with the owner and a way out.
    """
    if container is not None:
        _check_container(spec, name, container["Config"].get("Labels") or {}, look)
    for each, volume in volumes.items():
        labels = (volume or {}).get("Labels") or {}
        _check_labels(spec, f"the volume {each!r}", labels, look, way_out="server.data.volume")


def check_image(spec: Spec, image: Mapping[str, Any] | None) -> None:
    """Refuse an image that is of another major version than its tag or the spec says, or does not say which.

    Raises:
        RefusedError: with both, and what to write.
    """
    if image is None:
        return
    reference, declared, found = spec.server.image, spec.server.major, data_location.major(image["Config"])
    if found and found < OLDEST:
        raise RefusedError(
            f"the image {reference!r} is PostgreSQL {found}, which is not supported",
            next_step=f"use an image of PostgreSQL {OLDEST} or newer",
        )
    if not declared and not found:
        raise RefusedError(
            f"neither its tag nor its environment says which major version of PostgreSQL {reference!r} is",
            evidence=["the image has no PG_MAJOR"],
            next_step=f"write it in the spec, for example `server.major: {MAJORS[-1]}`",
        )
    if found and found != declared:
        where = "its tag" if major_of(reference) == declared else "`server.major`"
        raise RefusedError(
            f"the image {reference!r} is PostgreSQL {found}, and {where} says {declared}",
            evidence=[f"PG_MAJOR is {found} in the image that the engine has"],
            next_step=f"write `major: {found}` under `server`, or name an image of PostgreSQL {declared}",
        )


def check_user(seen: Seen) -> None:
    """Refuse to start the image's programs as a user who cannot read the password's file.

    Raises:
        RefusedError: with the user, and what to write.
    """
    body, config = seen.creation.body, (seen.image or {}).get("Config") or {}
    user = str(body.get("User") or config.get("User") or "")
    name, files = user.partition(":")[0], [*(each["Target"] for each in body["HostConfig"]["Mounts"]), *seen.uploads]
    works = seen.working is not None and seen.working["Config"].get("User") == user
    if works or name in ("", "root") or not any(each.startswith("/run/secrets/") for each in files):
        return
    if name.isdecimal() and int(name) in (0, *_owners(seen)):
        return
    where = "your docker-compose.yml.j2 has `user:`" if body.get("User") else f"{seen.creation.image!r} has `USER`"
    raise RefusedError(
        f"the container of {seen.spec.name!r} starts as the user {name!r}, who cannot read the file with the password",
        evidence=[f"{where} {user}; only root and the file's owner may read /run/secrets/postgres_password"],
        next_step="write `user: root` for the service in a docker-compose.yml.j2 of your own (`templates`): the "
        "official image's entrypoint starts the server as the user postgres itself",
    )


def _owners(seen: Seen) -> tuple[int, ...]:
    """Return who owns the files of the environment: the user of this run, or, for root, whose the directory is."""
    mine = seen.look.machine.ourselves().uid
    if mine:
        return (mine,)
    owner = seen.look.machine.owner(seen.spec.directory)
    return (owner.uid,) if owner is not None else ()


def check_version(spec: Spec, container: Mapping[str, Any] | None, version: str) -> None:
    """Refuse a server of another major version than declared, where its image does not say which it is.

    Raises:
        RefusedError: with both, and what to write.
    """
    found = version.split(".", 1)[0]
    if container is None or data_location.major(container["Config"]) or found in ("", str(spec.server.major)):
        return
    if found.isdecimal():
        raise RefusedError(
            f"the server in {spec.server.image!r} is PostgreSQL {found}, and the spec says {spec.server.major}",
            evidence=[f"it reports the version {version}; its image has no PG_MAJOR"],
            next_step=f"write `major: {found}` under `server`",
        )


def check_major(
    spec: Spec,
    name: str,
    container: Mapping[str, Any] | None,
    volumes: Mapping[str, Mapping[str, Any] | None],
    generations: Generations,
) -> None:
    """Refuse to start one major's data with another.

    Raises:
        RefusedError: with both majors and a way out.
    """
    if not spec.server.major:
        return  # the image says it once it was pulled
    for each, volume in volumes.items():
        if _shows_its_major(spec, each, volume, container):
            continue
        if (major := ((volume or {}).get("Labels") or {}).get(MAJOR)) not in (None, str(spec.server.major)):
            raise other_major(spec, f"the volume {each!r}", str(major), generations=generations)
    # The container of an upgraded environment may still be the old one: it is made anew, on the new volume.
    if container is not None and not isinstance(spec.server.data, Ephemeral) and not generations.is_upgraded:
        environment = dict(each.partition("=")[::2] for each in container["Config"].get("Env") or ())
        major = environment.get("PG_MAJOR", str(spec.server.major))
        if major != str(spec.server.major):
            raise other_major(spec, f"the data of the container {name!r}", major, generations=generations)


def _shows_its_major(
    spec: Spec, name: str, volume: Mapping[str, Any] | None, container: Mapping[str, Any] | None
) -> bool:
    """Tell whether the label of a volume does not count: a server of the declared major version has run on it.

    Nor does it where it repeats the tag, which the spec corrects: the data is looked into before a server starts on it.
    """
    said = ((volume or {}).get("Labels") or {}).get(MAJOR)
    if said == str(major_of(spec.server.image)) and said != str(spec.server.major):
        return True
    if container is None or container["State"]["Status"] == "created":
        return False
    is_on_it = any(each.get("Name") == name for each in container["Mounts"])
    return is_on_it and data_location.major(container["Config"]) == spec.server.major


def _check_container(spec: Spec, name: str, labels: Mapping[str, str], look: Look) -> None:
    if ENVIRONMENT not in labels:
        raise RefusedError(
            f"a container named {name!r} is there already, and it was not made from a spec",
            evidence=[f"it has no label {ENVIRONMENT!r}"],
            next_step=f"set another `server.container_name`, or remove it: {look.engine_program} rm -f {name}",
        )
    _check_labels(spec, f"the container {name!r}", labels, look, way_out="name")


def _check_labels(spec: Spec, what: str, labels: Mapping[str, str], look: Look, *, way_out: str) -> None:
    """Compare the labels with this spec. An owner whose directory is gone has moved here."""
    directory, name = labels.get(DIRECTORY), labels.get(ENVIRONMENT)
    if directory is None or name is None:
        return
    same_place = directory == str(spec.directory) or not look.exists(Path(directory))
    if same_place and name == spec.name:
        return
    raise RefusedError(
        f"{what} belongs to the environment {name!r} of {directory}",
        evidence=[f"this spec is the environment {spec.name!r} of {spec.directory}"],
        next_step=f"give this spec another `{way_out}`",
    )


def other_major(
    spec: Spec, what: str, major: str, evidence: Sequence[str] = (), *, generations: Generations | None = None
) -> RefusedError:
    """Return the error for data of another major version; ``generations`` are those that an upgrade could be for."""
    can_upgrade = generations is not None and isinstance(spec.server.data, Volume)
    kept = [each.major for each in generations.kept] if generations is not None else []
    return data_directory.other_major(spec, what, major, evidence, kept=kept, can_upgrade=can_upgrade)


def check_port(creation: Creation, container: Mapping[str, Any] | None, look: Look) -> None:
    """Refuse a published port that somebody else listens on.

    Raises:
        RefusedError: with the owner and a free port.
    """
    if not look.engine_is_local:
        return
    ours = set()
    if container is not None and container["State"]["Running"]:
        ours = _published(container["HostConfig"].get("PortBindings") or {})
    for host, port in sorted(_published(creation.body["HostConfig"].get("PortBindings", {})) - ours):
        if (owner := look.listener(host or "0.0.0.0", port)) is not None:  # noqa: S104  # asked, not bound
            raise RefusedError(
                f"the port {port} of {host or 'every address'} is taken by {owner}",
                next_step=f"set `server.port: {look.free_port(host, creation.container)}` (free now), or `port: auto`",
            )


def collision(ours: Mapping[str, Any], other: Tenant, refusal: RefusedError, look: Look) -> Collision | None:
    """Decide which of two containers on the same data started second, and what to do about it.

    It is killed, not stopped: a server that shuts down writes to the data once more.
    """
    theirs = look.engine(f"/containers/{other.name}/json")
    if theirs is None:
        return None
    kill = {"signal": "KILL"}
    if _started(theirs) <= _started(ours):
        refusal.evidence = (*refusal.evidence, "it started first, so the server of this environment was killed")
        name = str(ours["Name"]).lstrip("/")
        return Collision((EngineCall("signal_container", name, kill),), "", refusal)
    if ENVIRONMENT not in other.labels:
        return Collision((), "", refusal)
    whose = f"the environment {other.labels[ENVIRONMENT]!r} of {other.labels.get(DIRECTORY)}"
    note = f"killed the container {other.name!r} of {whose}: it started on the data of this server after it"
    return Collision((EngineCall("signal_container", other.name, kill),), note, None)


def _started(container: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(container["State"]["StartedAt"])


def _published(bindings: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {(each["HostIp"], int(each["HostPort"])) for all_ in bindings.values() for each in all_}


# --- files and user ids that the engine shares with this machine
#
# An engine that maps user ids (`dockerd --userns-remap`) cannot read a file that only we may read, so provision copies
# rendered files into the container, as for an engine on another host; and a directory for the data has to belong to the
# user that is root in containers. https://docs.docker.com/engine/security/userns-remap/

_MAPPED = re.compile(r"/(\d{4,})\.(\d{4,})(?:/containers/|$)")
"""How Docker names its directory where it maps user ids: after those of its root."""
_REMOVE = 'rm -rf -- "$1"/* "$1"/.[!.]* "$1"/..?*; chmod 0755 "$1"'


def shares_files(container: Mapping[str, Any] | None, look: Look) -> bool:
    """Tell whether a container reads files of this machine that only we may read."""
    return look.engine_is_local and mapped_root(container, look) is None


def mapped_root(container: Mapping[str, Any] | None, look: Look) -> tuple[int, int] | None:
    """Return user and group id that the root of containers has on this machine, where the engine maps ids.

    A container that has run tells by its own paths; else the engine is asked.
    """
    own = str((container or {}).get("ResolvConfPath") or "")
    found = _MAPPED.search(own or str((look.engine("/info") or {}).get("DockerRootDir")))
    return (int(found[1]), int(found[2])) if found else None


def give_to_container(seen: Seen, path: Path) -> tuple[Effect, ...]:
    """Return what gives a directory that is made for the data to the root of containers, where that is another user."""
    root = mapped_root(seen.container, seen.look) if seen.look.engine_is_local else None
    if root is None:
        return ()
    script = f'chown {root[0]}:{root[1]} "$1"'
    return (ChangeDirectory(path, script, seen.creation.image, _helper(seen), unmapped=True),)


def remove_directory(seen: Seen, path: Path) -> tuple[Effect, ...]:
    """Return what removes a directory with data, which belongs to another user: the server's, or a mapped one."""
    image = seen.image or seen.own_image
    removal = RemovePath(path)
    if image is None or not seen.look.engine_is_local or seen.look.machine.ourselves().uid == 0:
        return (removal,)
    return (ChangeDirectory(path, _REMOVE, image["Id"], _helper(seen)), removal)


def _helper(seen: Seen) -> str:
    return f"{seen.container_name}.directory"


def check_seen(seen: Seen) -> None:
    """Refuse to make a container whose files the engine does not see: it runs in a virtual machine, or is confined.

    Raises:
        RefusedError: with the directory, and how to share it.
    """
    if seen.container is not None or not seen.look.engine_is_local:
        return
    data = seen.spec.server.data
    places = [seen.spec.directory, *([data.path] if isinstance(data, DataPath) else ())]
    for place in dict.fromkeys(_existing(each, seen.look) for each in places):
        if (why := seen.look.engine_misses(place)) is not None:
            raise RefusedError(
                f"{seen.look.engine_name} does not see the directory {place}; nothing was made",
                evidence=[why],
                next_step="share it with the engine (Colima: colima start --mount DIRECTORY:w; Docker Desktop: "
                "Settings, Resources, File sharing), or name a directory that is shared, such as one in your home",
            )


def _existing(path: Path, look: Look) -> Path:
    """Return a path, or the nearest directory above it that is there."""
    return next((each for each in (path, *path.parents) if look.exists(each)), path)
