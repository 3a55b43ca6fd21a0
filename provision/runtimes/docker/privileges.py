"""What a container gets on its host: files of the host, the engine, the kernel, or a port on all addresses.

The shipped template asks for none of this. A template of the project may, and the spec has to name it in
``templates_may``. A container that already has a privilege keeps it.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator
from typing import Final

from provision.errors import RefusedError
from provision.model.value import dataclass
from provision.runtimes.docker.compose import Json
from provision.runtimes.docker.inspection import Inspection

ROOT: Final = "root"
SOCKET: Final = "engine_socket"
CAPABILITIES: Final = "capabilities"
PUBLISH: Final = "publish_all"

_SOCKETS: Final = (
    *("/run/docker.sock", "/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"),
    *("/run/podman/podman.sock", "/run/crio/crio.sock"),
    *("/run/user/0/docker.sock", "/run/user/0/podman/podman.sock"),
)
"""Where engines listen, with 0 for any user. https://docs.docker.com/engine/security/protect-access/"""
_ENGINE: Final = r"(docker|podman|containerd|crio|buildkitd|dockershim)[\w.-]*\.sock"
_ALIAS: Final = r"/proc/[^/]+/(?:task/[^/]+/)?root(?=/|$)"  # the root of a process of the host
_HOST_NAMESPACES: Final = {"PidMode": "processes", "IpcMode": "IPC", "UTSMode": "host name", "UsernsMode": "user ids"}
# A profile of the template's own can allow anything, so only what the engine brings, or what confines more, is passed.
_CONFINED: Final = (
    r"no-new-privileges(?:[:=](?:true|false))?|label[:=](?!disable).*|apparmor[:=]docker-default|seccomp[:=]builtin"
)


@dataclass(frozen=True)
class Privilege:
    """One of them: its word in ``templates_may``, and what it is."""

    word: str
    text: str


def asked(seen: Inspection) -> tuple[Privilege, ...]:
    """Return what the rendered compose file asks for; an address that the spec itself publishes on is the spec's."""
    mounts = [_behind(each, seen) for each in seen.creation.body["HostConfig"]["Mounts"]]
    found = granted(seen.creation.body["HostConfig"], mounts, seen.look.address.socket_path)
    return tuple(each for each in found if each.word != PUBLISH or not _is_every(seen.spec.server.host))


def missing(seen: Inspection) -> tuple[tuple[Privilege, ...], tuple[Privilege, ...]]:
    """Return what the spec does not allow: what the container would get, and what it has already."""
    new = [each for each in asked(seen) if each.word not in seen.spec.templates_may]
    there = seen.container or {"HostConfig": {}, "Mounts": ()}
    had = {each.word for each in granted(there["HostConfig"], there["Mounts"], seen.look.address.socket_path)}
    return (tuple(each for each in new if each.word not in had), tuple(each for each in new if each.word in had))


def check(seen: Inspection) -> None:
    """Refuse what the spec does not allow.

    Raises:
        RefusedError: with each of them, and the key that allows it.
    """
    new, _ = missing(seen)
    if new:
        raise RefusedError(
            "the rendered docker-compose.yml gives the container more than the spec allows",
            evidence=[f"{each.word}: it {each.text}" for each in new],
            next_step=f"take it out of your docker-compose.yml.j2, or allow it in the spec: {_key(seen, new)}",
        )


def words(seen: Inspection) -> str:
    """Say what the container gets, where that is anything."""
    return "; ".join(f"it {each.text} ({each.word})" for each in asked(seen))


def remarks(seen: Inspection) -> tuple[str, ...]:
    """Return a warning for each thing that the container has although the spec does not allow it."""
    _, kept = missing(seen)
    return tuple(f"the container {each.text}; write {_key(seen, kept)} in the spec to keep it" for each in kept)


def _key(seen: Inspection, more: Iterable[Privilege]) -> str:
    all_of_them = dict.fromkeys((*seen.spec.templates_may, *(each.word for each in more)))
    return f"`templates_may: [{', '.join(all_of_them)}]`"


def granted(host: Json, mounts: Iterable[Json], socket: str | None = None) -> tuple[Privilege, ...]:
    """Return what a ``HostConfig`` and its mounts give; ``socket`` is where the caller's own engine listens."""
    return (*_of_mounts(mounts, socket), *_of_kernel(host), *_of_network(host))


def _of_mounts(mounts: Iterable[Json], socket: str | None) -> Iterator[Privilege]:
    sockets = (*_SOCKETS, *([_normal(socket)] if socket else ()))
    for each in (each for each in mounts if each["Type"] == "bind"):
        source, at = str(each.get("Source") or ""), each.get("Target") or each.get("Destination")
        path = _normal(source)
        general = re.sub(r"^/run/user/\d+(?=/|$)", "/run/user/0", path)
        if path == "/":
            yield Privilege(ROOT, f"mounts / of the engine's host at {at}")
        elif general in sockets or path in sockets or re.fullmatch(_ENGINE, os.path.basename(path)):  # noqa: PTH119
            yield Privilege(SOCKET, f"mounts the engine's socket {source} at {at}")
        elif any(name.startswith(f"{way}/") for name in sockets for way in (path, general)):
            yield Privilege(SOCKET, f"mounts {source}, the directory of the engine's socket, at {at}")


def _of_kernel(host: Json) -> Iterator[Privilege]:
    if host.get("Privileged"):
        yield Privilege(CAPABILITIES, "runs privileged")
    if names := host.get("CapAdd"):
        yield Privilege(CAPABILITIES, f"adds the capabilities {', '.join(map(str, names))}")
    for each in (*(host.get("Devices") or ()), *(host.get("DeviceRequests") or ())):
        name = each.get("PathOnHost") or each.get("Driver") or each
        yield Privilege(CAPABILITIES, f"takes the device {name}")
    if rules := host.get("DeviceCgroupRules"):
        yield Privilege(CAPABILITIES, f"takes the devices {', '.join(map(str, rules))}")
    if weak := [str(each) for each in host.get("SecurityOpt") or () if not re.fullmatch(_CONFINED, str(each))]:
        yield Privilege(CAPABILITIES, f"is confined by another profile than the engine's: {', '.join(weak)}")
    for key, what in _HOST_NAMESPACES.items():
        if host.get(key) == "host":
            yield Privilege(CAPABILITIES, f"shares the host's {what}")


def _of_network(host: Json) -> Iterator[Privilege]:
    if host.get("NetworkMode") == "host":
        yield Privilege(PUBLISH, "uses the host's network")
    for inside, bindings in sorted((host.get("PortBindings") or {}).items()):
        for each in bindings or ():
            if _is_every(each.get("HostIp") or ""):
                yield Privilege(PUBLISH, f"publishes {inside} on all addresses (port {each.get('HostPort')})")


def _is_every(address: str) -> bool:
    """Whether an address stands for all of them: ``0.0.0.0``, ``::``, or nothing at all."""
    return not address.strip("0:.[]*")


def _normal(path: str) -> str:
    """Return the one spelling of a path of a Linux host. ``/var/run`` is a link to ``/run`` on all that have engines.

    >>> _normal("//var/run/../run//docker.sock/"), _normal("/proc/self/root/./"), _normal("/.")
    ('/run/docker.sock', '/', '/')
    """
    found = os.path.normpath(f"/{path.lstrip('/')}")
    while alias := re.match(_ALIAS, found):
        found = os.path.normpath(f"/{found[alias.end() :].lstrip('/')}")
    return re.sub(r"^/var/run(?=/|$)", "/run", found)


def _behind(mount: Json, seen: Inspection) -> Json:
    """Return a mount as the bind that it is: a volume can stand for a directory of the host.

    https://docs.docker.com/reference/cli/docker/volume/create/#opt
    """
    options = (seen.volumes.get(str(mount.get("Source"))) or {}).get("Options") or {}
    is_bind = mount["Type"] == "volume" and options.get("device") and "bind" in str(options.get("o", ""))
    return {**mount, "Type": "bind", "Source": options["device"]} if is_bind else mount
