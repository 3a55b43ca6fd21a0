"""What provision refuses before it touches anything: a wrong image, user, major version, port or directory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provision.errors import RefusedError
from provision.runtimes import data_directory, ownership
from provision.runtimes.docker import data_location
from provision.runtimes.docker.compose import MAJOR, Creation
from provision.runtimes.docker.inspection import Inspection
from provision.runtimes.names import ENVIRONMENT
from provision.spec.image import OLDEST, major_of
from provision.spec.model import Ephemeral, Spec, Volume
from provision.spec.parameters import MAJORS
from provision.system.look import Look


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


def check_user(seen: Inspection) -> None:
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


def _owners(seen: Inspection) -> tuple[int, ...]:
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


def check_major(seen: Inspection) -> None:
    """Refuse to start one major's data with another.

    Raises:
        RefusedError: with both majors and a way out.
    """
    spec, found, container = seen.spec, seen.generations, seen.container
    if not spec.server.major:
        return  # the image says it once it was pulled
    runs = data_location.major(container["Config"]) if container is not None else 0
    kept = [each.major for each in found.kept] if isinstance(spec.server.data, Volume) else None
    served = {each.get("Name") for each in container["Mounts"]} if container and seen.state != "created" else set()
    for name, volume in seen.volumes.items():
        major = ((volume or {}).get("Labels") or {}).get(MAJOR)
        # A label may repeat a tag that the spec corrects: the data is looked into before a server starts on it.
        if major in (None, str(spec.server.major), str(major_of(spec.server.image))):
            continue
        if runs != spec.server.major or name not in served:
            raise data_directory.other_major(spec, f"the volume {name!r}", major, kept=kept)
    # The container of an upgraded environment may still be the old one: it is recreated, on the new volume.
    if runs not in (0, spec.server.major) and not isinstance(spec.server.data, Ephemeral) and not found.is_upgraded:
        what = f"the data of the container {seen.container_name!r}"
        raise data_directory.other_major(spec, what, str(runs), kept=kept)


def check_port(creation: Creation, container: Mapping[str, Any] | None, look: Look) -> None:
    """Refuse a published port that a container, or another process of the engine's host, has.

    Raises:
        RefusedError: with the owner and, on this machine, a free port.
    """
    ours = set()
    if container is not None and container["State"]["Running"]:
        ours = _published(container["HostConfig"].get("PortBindings") or {})
    for host, port in sorted(_published(creation.body["HostConfig"].get("PortBindings", {})) - ours):
        find = look.listener if look.address.is_local else look.listener_there
        look.sign_port(port)
        # The engine may just be starting ours again, for a run that was killed.
        owner = find(host or "0.0.0.0", port, creation.container)  # noqa: S104  # asked, not bound
        if owner is not None:
            free = look.free_port(host, creation.container) if look.address.is_local else None
            raise ownership.taken_port(host, port, owner, free, name=creation.body["Labels"].get(ENVIRONMENT, ""))


def check_reached(seen: Inspection) -> None:
    """Refuse an address that only the engine's host reaches, where no ssh leads there.

    Raises:
        RefusedError: with the line to write.
    """
    published = _published(seen.creation.body["HostConfig"].get("PortBindings", {}))
    if not published or any(seen.look.reaches(host) for host, _ in published):
        return
    address = seen.look.address
    host = address.hostname
    line = host if re.fullmatch(r"[0-9.]+|.*:.*", host) else "0.0.0.0"  # noqa: S104  # written, not bound
    raise RefusedError(
        f"the server would listen at {seen.spec.server.host} of {host} alone, which is not reached from here",
        evidence=[f"the engine is at {address}"],
        next_step=f"write `server.host: {line}`, which opens it to the network, or reach the engine by ssh, which does "
        f"not: DOCKER_HOST=ssh://{host}",
    )


def _published(bindings: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {(each["HostIp"], int(each["HostPort"])) for all_ in bindings.values() for each in all_}
