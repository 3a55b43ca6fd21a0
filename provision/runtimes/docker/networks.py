"""The networks of a container that an environment made, and those that others attached to it.

A network takes a range of the engine's address pools, of which there are about thirty; so an environment has one of its
own only where its template asks for it. https://docs.docker.com/reference/compose-file/networks/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provision.model import Effect
from provision.model.effects import EngineCall
from provision.runtimes.docker.compose import BRIDGE, PROJECT
from provision.runtimes.docker.inspection import Inspection


def unused(seen: Inspection) -> tuple[str, ...]:
    """Return our networks that are not declared any more and that no other container is attached to."""
    names = {f"{_project(seen)}_default", *_attached(seen)} - _declared(seen)
    return tuple(name for name in sorted(names) if _is_ours(seen, name) and not _is_shared(seen, name))


def removable(seen: Inspection) -> tuple[str, ...]:
    """Return our networks, declared or not, that no other container is attached to."""
    network = seen.creation.network
    names = () if network is None or network.external else (network.name,)
    return (*(each for each in names if _is_ours(seen, each) and not _is_shared(seen, each)), *unused(seen))


def reattach(seen: Inspection, container: str) -> tuple[Effect, ...]:
    """Return what attaches a new container to the networks of the old one that no compose file declares."""
    gone = {BRIDGE, *_declared(seen), *unused(seen)}
    return tuple(
        EngineCall("connect_network", name, {"container": container, "endpoint": {"Aliases": _aliases(seen, endpoint)}})
        for name, endpoint in sorted(_attached(seen).items())
        if name not in gone and seen.look.engine(f"/networks/{name}") is not None
    )


def _project(seen: Inspection) -> str:
    return str(seen.creation.body["Labels"][PROJECT])


def _declared(seen: Inspection) -> set[str]:
    return {BRIDGE if seen.creation.network is None else seen.creation.network.name}


def _attached(seen: Inspection) -> Mapping[str, Mapping[str, Any]]:
    """Return the networks of the container that is there: name → endpoint."""
    return {} if seen.container is None else seen.container["NetworkSettings"]["Networks"]


def _is_ours(seen: Inspection, name: str) -> bool:
    network = seen.look.engine(f"/networks/{name}") or {}
    return (network.get("Labels") or {}).get(PROJECT) == _project(seen)


def _is_shared(seen: Inspection, name: str) -> bool:
    """Tell whether another container, running or not, is attached; a network's own JSON lists only those that run."""
    attached = seen.look.engine("/containers/json", all=1, filters=json.dumps({"network": [name]})) or ()
    ours = {f"/{seen.container_name}", f"/{seen.temporary}"}
    return any(not ours & {*(each.get("Names") or ())} for each in attached)


def _aliases(seen: Inspection, endpoint: Mapping[str, Any]) -> list[str]:
    """Return the aliases of an endpoint without the container's id, which the engine adds."""
    short_id = str((seen.container or {}).get("Id"))[:12]
    return sorted(each for each in endpoint.get("Aliases") or () if each != short_id)
