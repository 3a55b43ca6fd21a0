"""The network of a container: the engine's default bridge, or the one that the compose file declares.

A network takes a range of the engine's address pools, of which there are about thirty; so an environment has one of its
own only where its template asks for it. https://docs.docker.com/reference/compose-file/networks/
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provision.model.effects import EngineCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model import Effect
    from provision.runtimes.docker.seen import Seen

BRIDGE = "bridge"
KEYS = ("network_mode", "networks")
_PROJECT, _NETWORK = "com.docker.compose.project", "com.docker.compose.network"


@dataclass(frozen=True, slots=True)
class Network:
    """A network that the compose file declares. ``external``: it exists already, and is never made or removed."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    external: bool = False


def default(project: str) -> Network:
    """Return the network that Compose makes for a service that names none."""
    return Network(f"{project}_default", {_PROJECT: project, _NETWORK: "default"})


def declared(project: str, service: Mapping[str, Any], document: Mapping[str, Any]) -> Network | None:
    """Return the network of a service as Compose chooses it; None for the engine's default bridge.

    Raises:
        ValueError, TypeError: it is not supported, and why.
    """
    if "network_mode" in service:
        if service["network_mode"] != BRIDGE or service.get("networks"):
            message = f"network_mode: only {BRIDGE!r}, without `networks`, is supported here"
            raise ValueError(message)
        return None
    attached = service.get("networks") or {"default": None}
    if not isinstance(attached, dict | list):
        message = f"networks: {attached!r} is not supported here"
        raise TypeError(message)
    if len(attached) != 1:
        message = f"networks: {len(attached)} are declared; one is supported here"
        raise ValueError(message)
    (key,) = attached
    endpoint = (attached[key] if isinstance(attached, dict) else None) or {}
    networks = document.get("networks") or {}
    if key not in networks and key != "default":
        message = f"networks: {key!r} is not declared under the file's `networks:`"
        raise ValueError(message)
    network = networks.get(key) or {}
    if unknown := [*(set(endpoint) - {"aliases"}), *(set(network) - {"name", "labels", "external", "driver"})]:
        message = f"networks: {', '.join(sorted(map(repr, unknown)))} of {key!r} is not supported here"
        raise ValueError(message)
    if network.get("driver") not in (None, BRIDGE):
        message = f"networks: the driver {network['driver']!r} of {key!r} is not supported here"
        raise ValueError(message)
    labels = {str(name): str(value) for name, value in (network.get("labels") or {}).items()}
    return Network(
        str(network.get("name") or (key if network.get("external") else f"{project}_{key}")),
        {**labels, _PROJECT: project, _NETWORK: str(key)},
        tuple(str(each) for each in endpoint.get("aliases") or ()),
        external=bool(network.get("external")),
    )


def unused(seen: Seen) -> tuple[str, ...]:
    """Return our networks that are not declared any more and that no other container is attached to."""
    names = {f"{_project(seen)}_default", *_attached(seen)} - _declared(seen)
    return tuple(name for name in sorted(names) if _is_ours(seen, name) and not _is_shared(seen, name))


def removable(seen: Seen) -> tuple[str, ...]:
    """Return our networks, declared or not, that no other container is attached to."""
    network = seen.creation.network
    names = () if network is None or network.external else (network.name,)
    return (*(each for each in names if _is_ours(seen, each) and not _is_shared(seen, each)), *unused(seen))


def reattach(seen: Seen, container: str) -> tuple[Effect, ...]:
    """Return what attaches a new container to the networks of the old one that no compose file declares."""
    gone = {BRIDGE, *_declared(seen), *unused(seen)}
    return tuple(
        EngineCall("connect_network", name, {"container": container, "endpoint": {"Aliases": _aliases(seen, endpoint)}})
        for name, endpoint in sorted(_attached(seen).items())
        if name not in gone and seen.look.engine(f"/networks/{name}") is not None
    )


def _project(seen: Seen) -> str:
    return str(seen.creation.body["Labels"][_PROJECT])


def _declared(seen: Seen) -> set[str]:
    return {BRIDGE if seen.creation.network is None else seen.creation.network.name}


def _attached(seen: Seen) -> Mapping[str, Mapping[str, Any]]:
    """Return the networks of the container that is there: name → endpoint."""
    return {} if seen.container is None else seen.container["NetworkSettings"]["Networks"]


def _is_ours(seen: Seen, name: str) -> bool:
    network = seen.look.engine(f"/networks/{name}") or {}
    return (network.get("Labels") or {}).get(_PROJECT) == _project(seen)


def _is_shared(seen: Seen, name: str) -> bool:
    """Tell whether another container, running or not, is attached; a network's own JSON lists only those that run."""
    attached = seen.look.engine("/containers/json", all=1, filters=json.dumps({"network": [name]})) or ()
    ours = {f"/{seen.container_name}", f"/{seen.container_name}.new"}
    return any(not ours & {*(each.get("Names") or ())} for each in attached)


def _aliases(seen: Seen, endpoint: Mapping[str, Any]) -> list[str]:
    """Return the aliases of an endpoint without the container's id, which the engine adds."""
    short_id = str((seen.container or {}).get("Id"))[:12]
    return sorted(each for each in endpoint.get("Aliases") or () if each != short_id)
