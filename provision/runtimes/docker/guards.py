"""What is refused before anything is touched: things that belong to somebody else, and data of another major."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provision.errors import RefusedError
from provision.model import EngineCall
from provision.runtimes import Collision, majors
from provision.runtimes.docker import layout
from provision.runtimes.docker.compose import DIRECTORY, ENVIRONMENT, MAJOR
from provision.spec.image import OLDEST, major_of
from provision.spec.model import Ephemeral, Volume
from provision.spec.parameters import MAJORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provision.runtimes import Look
    from provision.runtimes.docker.compose import Creation
    from provision.runtimes.docker.generations import Generations
    from provision.runtimes.docker.seen import Seen
    from provision.runtimes.tenants import Tenant
    from provision.spec.model import Spec


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
        _check_owner(spec, f"the volume {each!r}", labels, look, way_out="server.data.volume")


def check_image(spec: Spec, image: Mapping[str, Any] | None) -> None:
    """Refuse an image that is of another major version than its tag or the spec says, or does not say which.

    Raises:
        RefusedError: with both, and what to write.
    """
    if image is None:
        return
    reference, declared, found = spec.server.image, spec.server.major, layout.major(image["Config"])
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
    if container is None or layout.major(container["Config"]) or found in ("", str(spec.server.major)):
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
    return is_on_it and layout.major(container["Config"]) == spec.server.major


def _check_container(spec: Spec, name: str, labels: Mapping[str, str], look: Look) -> None:
    if ENVIRONMENT not in labels:
        raise RefusedError(
            f"a container named {name!r} is there already, and it was not made from a spec",
            evidence=[f"it has no label {ENVIRONMENT!r}"],
            next_step=f"set another `server.container_name`, or remove it: {look.engine_program} rm -f {name}",
        )
    _check_owner(spec, f"the container {name!r}", labels, look, way_out="name")


def _check_owner(spec: Spec, what: str, labels: Mapping[str, str], look: Look, *, way_out: str) -> None:
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
    return majors.other_major(spec, what, major, evidence, kept=kept, can_upgrade=can_upgrade)


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
