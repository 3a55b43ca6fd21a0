"""The environments of an engine, by the labels of containers and volumes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final

from provision.errors import StepFailedError, UnavailableError
from provision.everywhere.found import Found, Known
from provision.model import Endpoint, Secret
from provision.model.value import replace
from provision.runtimes.docker import data_location
from provision.runtimes.docker.compose import MAJOR
from provision.runtimes.docker.containers import IDLE
from provision.runtimes.names import DATA_RECORD, DIRECTORY, ENVIRONMENT, EVERY_ADDRESS, MACHINE, PORT, USER
from provision.system import files, machine, owned, postmaster, register
from provision.system.engine import EngineReader
from provision.system.look import Look

Json = Mapping[str, Any]

_AT_ONCE: Final = 16
_PATIENCE: Final = 1.0
_FILES = "secrets/postgres_password"


def found(look: Look, known: Mapping[str, register.Entry]) -> list[Found]:
    """Return the environments of the engine.

    Raises:
        UnavailableError: none answers.
    """
    containers = [each for each in look.engine("/containers/json", all=1) or () if _owner(each) is not None]
    sizes = _Sizes(look)
    volumes = look.volumes(ENVIRONMENT)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        inspected = list(pool.map(lambda each: look.engine(f"/containers/{each['Id']}/json"), containers))
    there = [each for each in inspected if each is not None]
    groups: dict[tuple[str, str], list[Json]] = {}
    for each in there:
        groups.setdefault(_owner(each["Config"]) or ("", ""), []).append(each)
    of = {mount["Name"]: _owner(each["Config"]) for each in there for mount in each["Mounts"] if mount.get("Name")}
    kept: dict[tuple[str, str], list[Json]] = {}
    for name, volume in volumes.items():
        if (owner := of.get(name) or _owner(volume)) is not None:  # the project of a container may have been moved
            kept.setdefault(owner, []).append(volume)
    rows = [
        _environment(*owner, groups.get(owner, ()), kept.get(owner, ()), look, known)
        for owner in dict.fromkeys((*groups, *kept))
    ]
    there_too = {each.listed.home for each in rows}
    rows += [each for each in map(_left, known.values()) if each is not None and each.listed.home not in there_too]
    known_sizes = sizes.found()
    return [each._replace(listed=_sized(each.listed, known_sizes)) for each in rows]


def _left(entry: register.Entry) -> Found | None:
    """Return an environment of which only a directory with its data is left: it has no labels."""
    home, data = Path(entry.home), Path(entry.data)
    if entry.runtime != "docker" or not entry.data or not files.is_remembered(data, home / DATA_RECORD):
        return None
    version = postmaster.version(data) or ""
    return Found(Known(home.name, home.parents[1], "docker", "absent", version=version, data=data), None, entry.trees)


class _Sizes:
    """Asks for the sizes of all volumes beside what else is asked: the engine goes through all of their files."""

    def __init__(self, look: Look) -> None:
        self._sizes: dict[str, int] = {}
        self._reader = EngineReader(look.address)
        self._thread = Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with suppress(UnavailableError, StepFailedError):
            seen = self._reader.get("/system/df", type="volume") or {}
            sizes = {
                each["Name"]: int((each.get("UsageData") or {}).get("Size", -1)) for each in seen.get("Volumes") or ()
            }
            self._sizes = sizes

    def found(self) -> Mapping[str, int]:
        """Return the sizes in bytes by name; an engine that takes too long tells none."""
        self._thread.join(_PATIENCE)
        return self._sizes


def _sized(row: Known, sizes: Mapping[str, int]) -> Known:
    found = [sizes.get(each, -1) for each in row.volumes]
    return replace(row, size=sum(found)) if found and min(found) >= 0 else row


def _owner(labelled: Json) -> tuple[str, str] | None:
    labels = labelled.get("Labels") or {}
    return (labels[ENVIRONMENT], labels[DIRECTORY]) if {ENVIRONMENT, DIRECTORY} <= {*labels} else None


def _environment(
    name: str,
    directory: str,
    containers: Sequence[Json],
    volumes: Sequence[Json],
    look: Look,
    known: Mapping[str, register.Entry],
) -> Found:
    main = min(containers, key=lambda each: len(each["Name"]), default=None)  # helpers have longer names
    labels = [(main or {}).get("Config", {}).get("Labels") or {}, *(each.get("Labels") or {} for each in volumes)]
    signed = next((each for each in labels if USER in each), {})
    is_here = register.is_here(signed[MACHINE]) if MACHINE in signed else look.address.is_local
    row = Known(
        name,
        Path(directory),
        "docker",
        _state(main),
        version=_version(main, volumes),
        is_gone=is_here and not Path(directory).is_dir(),
        not_mine=_not_mine(signed, Path(directory)),
        volumes=tuple(sorted(each["Name"] for each in volumes)),
        names=tuple(sorted(each["Name"].lstrip("/") for each in containers)),
        **_of_container(main, look),
    )
    entry = known.get(str(row.home))
    return Found(row, _login(row, main, look), entry.trees if entry is not None else None)


def _state(container: Json | None) -> str:
    if container is None:
        return "absent"
    state = str(container["State"]["Status"])
    return "stopped" if state in IDLE else state


def _version(container: Json | None, volumes: Sequence[Json]) -> str:
    """Return the version that the image says it has, else the major version of the data."""
    variables = data_location.variables((container or {}).get("Config") or {})
    said = variables.get("PG_VERSION", "").partition("-")[0] or variables.get("PG_MAJOR", "")
    majors = [(each.get("Labels") or {}).get(MAJOR, "") for each in volumes]
    return said or max(majors, key=lambda each: int(each) if each.isdecimal() else 0, default="")


def _of_container(container: Json | None, look: Look) -> dict[str, Any]:
    if container is None:
        return {}
    host, config = container["HostConfig"], container["Config"]
    published = ((host.get("PortBindings") or {}).get(PORT) or [{}])[0]
    where: dict[str, Any] = {}
    if published.get("HostPort"):
        ip = published.get("HostIp") or ""
        local = "127.0.0.1" if ip in EVERY_ADDRESS else ip
        is_there = look.address.is_local or look.address.is_ssh
        where = {"host": local if is_there else look.address.hostname, "port": int(published["HostPort"])}
        where["behind"] = look.address.hostname if look.address.is_ssh else ""
    mounts = [*(host.get("Mounts") or ()), *({"Type": "tmpfs"} for _ in host.get("Tmpfs") or ())]
    return {
        "container": container["Name"].lstrip("/"),
        "patience": int(config.get("StopTimeout") or 10),
        "in_memory": any(each.get("Type") == "tmpfs" for each in mounts),
        **_data(container),
        **where,
    }


def _data(container: Json) -> dict[str, Any]:
    """Return which directories of the host it writes to, and whether its data goes away with it."""
    written = [each for each in container["Mounts"] if each.get("RW", True)]
    binds = tuple(sorted(str(each["Source"]) for each in written if each["Type"] == "bind"))
    return {"mounted": binds, "in_container": not binds and not any(each["Type"] == "volume" for each in written)}


def _not_mine(signed: Mapping[str, str], directory: Path) -> str:
    """Return why something was not made by this user from this machine; empty: it was."""
    me = register.me()
    if not signed:
        owner = machine.owner(directory)
        if owner is not None and owner.uid == os.geteuid():
            return ""
        whose = f"belongs to {owner.name!r}" if owner is not None else "is not there"
        return f"it does not say who made it, and its directory {whose}"
    if signed.get(USER) != me[USER]:
        return f"it was made by {signed.get(USER)!r}"
    if not register.is_here(signed.get(MACHINE, "")):
        return f"it was made on {signed.get(MACHINE, '').rpartition('.')[0] or 'another machine'}"
    return ""


def _login(row: Known, container: Json | None, look: Look) -> Endpoint | None:
    """Return how to log in by the password that the container mounts, where this user may read it."""
    if row.state != "running" or not row.port or container is None or row.not_mine or not look.address.is_local:
        return None
    password = owned.text(row.home / _FILES) if row.home.is_dir() else None
    variables = data_location.variables(container["Config"])
    if not password:
        return None
    user = variables.get("POSTGRES_USER", "postgres")
    return Endpoint(row.host, row.port, user, Secret(password), variables.get("POSTGRES_DB", "postgres"))
