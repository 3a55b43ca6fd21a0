"""What can be mended in a running container: limits, the restart policy, and a network that was detached.

The engine changes these while the server runs, so drift that somebody brought with ``docker update`` or ``docker network
disconnect`` costs no connection. A limit cannot be lifted again (0 means "leave it" there), and whatever the container
was created with cannot be changed at all: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerUpdate
"""  # noqa: E501  # an address

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.model import EngineCall, changes

if TYPE_CHECKING:
    from provision.model import Effect
    from provision.runtimes import Look
    from provision.runtimes.docker.compose import Creation
    from provision.runtimes.docker.states import Container

PODMAN = "podman"
_PERIOD = 100_000  # microseconds, the engine's own
_UPDATED = {"memory": "Memory", "cpus": "NanoCpus", "restart": "RestartPolicy"}


def mend(creation: Creation, before: Container, after: Container, look: Look) -> tuple[Effect, ...]:
    """Return the calls that mend everything but the status in place; nothing where that is not possible.

    Podman 4 cannot; Podman 5 knows no ``NanoCpus`` there, and takes a restart policy that is left out for none.
    """
    differing = {change.field for change in changes(before, after)} - {"status"}
    if differing - {*_UPDATED, "networks"}:
        return ()
    effects: list[Effect] = []
    body: dict[str, Any] = {}
    host = creation.body["HostConfig"]
    for field in sorted(differing - {"networks"}):
        if not getattr(after, field):
            return ()
        body[_UPDATED[field]] = host.get(_UPDATED[field], {"Name": "no"})
    if "Memory" in body:
        body["MemorySwap"] = 2 * body["Memory"]  # the engine's own choice when it creates a container
    if body and not look.engine_updates:
        return ()
    if body and look.engine_program == PODMAN:
        body.setdefault("RestartPolicy", host.get("RestartPolicy", {"Name": "no"}))
        if (cpus := body.pop("NanoCpus", None)) is not None:
            body |= {"CpuPeriod": _PERIOD, "CpuQuota": round(cpus * _PERIOD / 10**9)}
    if body:
        effects.append(EngineCall("update_container", creation.container, body))
    endpoints = creation.body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
    effects += [
        EngineCall("connect_network", name, {"container": creation.container, "endpoint": endpoints.get(name, {})})
        for name in after.networks
        if name not in before.networks
    ]
    return tuple(effects)
