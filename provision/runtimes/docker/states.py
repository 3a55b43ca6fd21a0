"""What the Docker runtime owns, as states: each is read from what is to be created, and from what the engine shows.

What an image brings itself (its environment, labels, command, volumes without a name) is taken out of an inspected
container, so that both sides hold exactly what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provision.model import Size, State
from provision.runtimes.docker.compose import DECLARED, FINGERPRINT
from provision.runtimes.docker.inspected import COMPOSE_LABELS, signal_name
from provision.runtimes.docker.layout import is_anonymous
from provision.runtimes.docker.scripts import DATABASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provision.runtimes.docker import networks
    from provision.runtimes.docker.compose import Creation, Named

_SUMS = (FINGERPRINT, DECLARED)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Image(State):
    """An image that the engine has."""

    reference: str


@dataclass(frozen=True, slots=True)
class Network(State):
    """A network of the engine."""

    name: str


@dataclass(frozen=True, slots=True)
class Directory(State):
    """A directory of the host that holds the data."""

    path: Path


@dataclass(frozen=True, slots=True)
class VolumeState(State):
    """A named volume, with the labels that say whose it is."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Container(State):
    """A container: what it was created with, and whether it runs."""

    image: str
    status: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    mounts: tuple[str, ...]
    ports: tuple[str, ...]
    networks: tuple[str, ...]
    healthcheck: Mapping[str, Any]
    stop_signal: str
    stop_timeout: int
    restart: str
    memory: Size
    cpus: float
    shm_size: Size
    fingerprint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


IDLE = ("created", "exited", "dead")
"""Container states in which a start begins from nothing."""


def desired_container(creation: Creation, image: Mapping[str, Any]) -> Container:
    """Return what a creation call makes, running; ``image`` is the image's configuration."""
    body, host = creation.body, creation.body["HostConfig"]
    return Container(
        image=creation.image,
        status="running",
        command=tuple(body.get("Cmd") or image.get("Cmd") or ()),
        entrypoint=tuple(body.get("Entrypoint") or image.get("Entrypoint") or ()),
        environment=_without(_environment(body.get("Env", ())), _environment(image.get("Env") or ())),
        labels=_own_labels(body["Labels"], image.get("Labels") or {}),
        mounts=_mounts([*host["Mounts"], *({"Type": "tmpfs", "Target": each} for each in host.get("Tmpfs") or ())]),
        ports=_ports(host.get("PortBindings", {})),
        networks=(host["NetworkMode"],),
        healthcheck=_healthcheck(body.get("Healthcheck") or image.get("Healthcheck")),
        stop_signal=signal_name(body.get("StopSignal") or image.get("StopSignal") or "SIGTERM"),
        stop_timeout=int(body.get("StopTimeout") or 10),
        restart=_restart(host.get("RestartPolicy")),
        memory=Size(host.get("Memory") or 0),
        cpus=(host.get("NanoCpus") or 0) / 10**9,
        shm_size=Size(host.get("ShmSize") or 64 << 20),
        fingerprint=creation.fingerprint,
        facts={"labels": body["Labels"]},
    )


def observed_container(inspected: Mapping[str, Any], image: Mapping[str, Any], *, current_image_id: str) -> Container:
    """Return what the engine shows of a container.

    ``image`` is the configuration of the image it was made from; ``current_image_id`` what its reference means now.
    """
    config, host = inspected["Config"], inspected["HostConfig"]
    reference = config["Image"]
    if current_image_id and inspected["Image"] != current_image_id:
        reference += f" (an older build, {inspected['Image'].removeprefix('sha256:')[:12]})"
    return Container(
        image=reference,
        status=inspected["State"]["Status"],
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        environment=_without(_environment(config.get("Env") or ()), _environment(image.get("Env") or ())),
        labels=_own_labels(config.get("Labels") or {}, image.get("Labels") or {}),
        mounts=_mounts(
            {**each, "Source": each.get("Name") or each.get("Source"), "Target": each["Destination"],
             "ReadOnly": not each["RW"]}
            for each in inspected["Mounts"]
            if not is_anonymous(each["Type"], each.get("Name") or "")
        ),
        ports=_ports(host.get("PortBindings") or {}),
        networks=tuple(sorted(inspected["NetworkSettings"]["Networks"])),
        healthcheck=_healthcheck(config.get("Healthcheck")),
        stop_signal=config.get("StopSignal") or "SIGTERM",
        stop_timeout=int(config.get("StopTimeout") or 10),
        restart=_restart(host.get("RestartPolicy")),
        memory=Size(host.get("Memory") or 0),
        cpus=(host.get("NanoCpus") or 0) / 10**9,
        shm_size=Size(host.get("ShmSize") or 0),
        fingerprint=(config.get("Labels") or {}).get(FINGERPRINT, ""),
        facts={
            "id": inspected["Id"],
            "state": inspected["State"],
            "labels": config.get("Labels") or {},
            "major": _environment(config.get("Env") or ()).get("PG_MAJOR"),
        },
    )  # fmt: skip


def labels_of(named: Named | networks.Network) -> dict[str, Any]:
    """Return the body of a creation call for a network or volume."""
    return {"labels": dict(named.labels)}


def _environment(pairs: Iterable[str]) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in pairs)


def _without(pairs: Mapping[str, str], brought: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if brought.get(key) != value and f"{key}=" != DATABASE}


def _own_labels(labels: Mapping[str, str], image: Mapping[str, str]) -> dict[str, str]:
    """Leave out the image's labels, Compose's (another version of it writes others) and those that sum up the rest."""
    own = {k: v for k, v in labels.items() if not k.startswith(COMPOSE_LABELS) and k not in _SUMS}
    return _without(own, image)


def _mounts(mounts: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(
        sorted(
            f"{each['Type']} {each.get('Source') or ''} at {each['Target']}".replace("  ", " ")
            + (" (read-only)" if each.get("ReadOnly") else "")
            for each in mounts
        )
    )


def _ports(bindings: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        sorted(f"{each['HostIp']}:{each['HostPort']} to {inside}" for inside, all_ in bindings.items() for each in all_)
    )


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in (check or {}).items() if value}


def _restart(policy: Mapping[str, Any] | None) -> str:
    if not policy or not policy.get("Name"):
        return "no"
    return str(policy["Name"]) + (f":{policy['MaximumRetryCount']}" if policy.get("MaximumRetryCount") else "")
