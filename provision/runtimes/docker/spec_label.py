"""Tell a change of the spec from a change of provision: the next version may create the same container differently.

A server whose data is in memory loses it with its container. So provision recreates a running one when the spec
changed, and never because another version of provision would create it differently. The label :data:`DECLARED` keeps
what the spec said; a container without that label shows it in its own fields.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provision.model import changes
from provision.model.value import replace
from provision.runtimes.names import DIRECTORY
from provision.spec.model import DataPath, Ephemeral, Spec

if TYPE_CHECKING:
    from provision.runtimes.docker.containers import Container

_FIRST = {"data", "ports", "user", "stop_timeout", "shm_size", "memory", "cpus"}
"""The keys that containers without the label show."""
_LIMITS = ("memory", "cpus")
_RUNNING = ("running", "paused")
_OF_THE_ENGINE = {"memory", "cpus", "restart", "networks", "image", "status"}
"""What others can change in a container, or in its image, after it was created."""
OTHER_VERSION = "this version of provision creates it differently"


def declared(spec: Spec, port: int) -> str:
    """Return what the spec says of its container, as JSON for the label.

    A key of the spec that our template uses belongs here, so that a change to it is recognised. One that is younger
    than the label is left out while it has its default: containers without it then still match.
    """
    server = spec.server
    said = {
        "data": _data(spec),
        "ports": f"{server.host}:{port} to 5432/tcp",
        "user": server.user,
        "stop_timeout": round(server.stop_timeout),
        "shm_size": server.resources.shm_size,
        "memory": server.resources.memory,
        "cpus": server.resources.cpus,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None}, sort_keys=True)


def is_same(before: Container, after: Container, *, own_template: bool) -> bool:
    """Tell whether the spec says of both the same, so that all else that differs came with the program.

    ``own_template``: all that it renders is the spec's.
    """
    if before.image != after.image:
        return False
    if own_template:
        return before.fingerprint == after.fingerprint
    said, now = json.loads(before.declared or "{}"), json.loads(after.declared or "{}")
    if said:
        return bool(said == now)
    shown = _shown(after)
    kept = {each: shown[each] for each in _LIMITS if each in shown}  # the engine changes these in place
    return set(now) <= _FIRST and {**_shown(before), **kept} == shown


def kept(spec: Spec, before: Container, after: Container, *, own_template: bool) -> Container | None:
    """Return the container that a running server with its data in memory keeps, or None where it is not kept.

    What the engine changes in place is as it is declared now.
    """
    if not isinstance(spec.server.data, Ephemeral) or before.status not in _RUNNING:
        return None
    if not before.is_in_memory or not is_same(before, after, own_template=own_template):
        return None
    return replace(
        before,
        status=after.status,
        memory=after.memory or before.memory,
        cpus=after.cpus or before.cpus,
        restart=after.restart,
        networks=before.networks or after.networks,
    )


def differs_by_version(before: Container, after: Container, *, own_template: bool) -> bool:
    """Tell whether a container has to be recreated only because another version of provision created it."""
    created = {each.field.split(" ")[0] for each in changes(before, after)} - _OF_THE_ENGINE
    return bool(created) and is_same(before, after, own_template=own_template)


def moved(before: Container, after: Container) -> str | None:
    """Return in words that the project's directory was moved since the container was created; None: it was not."""
    old, new = before.labels.get(DIRECTORY), after.labels.get(DIRECTORY)
    return f"the project's directory was {old} and is {new}" if old and new and old != new else None


def remark(name: str, before: Container, after: Container) -> str:
    """Return what to say about a container that is kept and would be created differently today."""
    why = moved(before, after) or "another version of provision created it"
    differing = "; ".join(str(each) for each in changes(before, after) if each.field not in ("fingerprint", "status"))
    return (
        f"the container {name!r} stays as it was created, because its data is in memory: {why}"
        f" ({differing or 'only the labels differ'}); `provision stop` and `provision apply` recreate it, without data"
    )


def _data(spec: Spec) -> str:
    data = spec.server.data
    if isinstance(data, Ephemeral):
        return "tmpfs"
    return f"bind {data.path}" if isinstance(data, DataPath) else f"volume {data.name}"


def _shown(container: Container) -> dict[str, object]:
    """Return what the fields of a container say that has no label."""
    ours = ("/etc/postgresql", "/run/secrets/")
    mounts = [each.removesuffix(" (read-only)").rpartition(" at ") for each in sorted(container.mounts)]
    shown = {
        "data": " ".join(source for source, _, target in mounts if not target.startswith(ours)),
        "ports": " ".join(sorted(container.ports)),
        "user": container.environment.get("POSTGRES_USER"),
        "stop_timeout": container.stop_timeout,
        "shm_size": container.shm_size,
        "memory": container.memory or None,
        "cpus": container.cpus or None,
    }
    return {key: value for key, value in shown.items() if value is not None}
