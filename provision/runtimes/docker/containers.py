"""A container as a state: read from the creation call, and from what the engine shows; and what changes while it runs.

What an image brings itself (environment, labels, command, volumes without a name) is taken out of an inspected
container, so that both sides hold exactly what was asked for. Podman writes some things differently: the image with its
registry, the stop signal as a number, a tmpfs among the options and not among the mounts, states of its own, and null
where Docker has an empty value. It adds variables, and labels of podman-compose and systemd.
https://docs.podman.io/en/latest/_static/api.html#tag/containers-(compat)
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping
from typing import Any

from provision.model import Effect, Size, State, changes
from provision.model.effects import EngineCall
from provision.model.value import dataclass, field
from provision.runtimes.docker.compose import FINGERPRINT, Creation, Named, Network
from provision.runtimes.docker.data_location import is_anonymous, variables
from provision.runtimes.docker.scripts import DATABASE
from provision.runtimes.names import DECLARED, MACHINE, USER
from provision.system.look import Look

_SUMS = (FINGERPRINT, DECLARED, USER, MACHINE)


@dataclass(frozen=True)
class Container(State):
    """A container: what it was created with, and whether it runs."""

    image: str
    status: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    mounts: frozenset[str]
    ports: frozenset[str]
    networks: tuple[str, ...]
    healthcheck: Mapping[str, Any]
    stop_signal: str
    stop_timeout: int
    restart: str
    memory: Size
    cpus: float
    shm_size: Size
    fingerprint: str = ""
    declared: str = field(default="", compare=False)
    """What the spec said, as JSON; empty where another version of provision created the container."""

    @property
    def is_in_memory(self) -> bool:
        """Whether its data is."""
        return any(each.startswith("tmpfs ") for each in self.mounts)


IDLE = ("created", "exited", "dead")
"""Container states in which a start begins from nothing."""


def desired_container(creation: Creation, image: Mapping[str, Any]) -> Container:
    """Return what a creation call makes, running; ``image`` is the image's configuration."""
    body, host = creation.body, creation.body["HostConfig"]
    taken_over = {key: image.get(key) for key in ("Cmd", "Entrypoint", "Healthcheck", "StopSignal")}
    return _container(
        {**taken_over, **{key: value for key, value in body.items() if value}, "Image": creation.image},
        {**host, "ShmSize": host.get("ShmSize") or 64 << 20},
        image,
        status="running",
        mounts=_mounts([*host["Mounts"], *({"Type": "tmpfs", "Target": each} for each in host.get("Tmpfs") or ())]),
        networks=(host["NetworkMode"],),
    )


def observed_container(inspected: Mapping[str, Any], image: Mapping[str, Any], *, current_image_id: str) -> Container:
    """Return what the engine shows of a container.

    ``image`` is the configuration of the image it was made from; ``current_image_id`` what its reference means now.
    """
    config = inspected["Config"]
    if current_image_id and inspected["Image"] != current_image_id:
        build = inspected["Image"].removeprefix("sha256:")[:12]
        config = {**config, "Image": f"{config['Image']} (an older build, {build})"}
    named = (each for each in inspected["Mounts"] if not is_anonymous(each["Type"], each.get("Name") or ""))
    return _container(
        config,
        inspected["HostConfig"],
        image,
        status=inspected["State"]["Status"],
        mounts=_mounts(
            {**each, "Source": each.get("Name") or each.get("Source"), "Target": each["Destination"],
             "ReadOnly": not each["RW"]}
            for each in named
        ),
        networks=tuple(sorted(inspected["NetworkSettings"]["Networks"])),
    )  # fmt: skip


def _container(config: Mapping[str, Any], host: Mapping[str, Any], image: Mapping[str, Any], **own: Any) -> Container:
    labels = config.get("Labels") or {}
    return Container(
        **own,
        image=config["Image"],
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        environment=_without(variables(config), variables(image)),
        labels=_own_labels(labels, image.get("Labels") or {}),
        ports=_ports(host.get("PortBindings") or {}),
        healthcheck=_healthcheck(config.get("Healthcheck")),
        stop_signal=signal_name(config.get("StopSignal") or "SIGTERM"),
        stop_timeout=int(config.get("StopTimeout") or 10),
        restart=_restart(host.get("RestartPolicy")),
        memory=Size(host.get("Memory") or 0),
        cpus=(host.get("NanoCpus") or 0) / 10**9,
        shm_size=Size(host.get("ShmSize") or 0),
        fingerprint=labels.get(FINGERPRINT, ""),
        declared=labels.get(DECLARED, ""),
    )


def labels_of(named: Named | Network) -> dict[str, Any]:
    """Return the body of a creation call for a network or volume."""
    return {"labels": dict(named.labels)}


def _without(pairs: Mapping[str, str], brought: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in pairs.items() if brought.get(key) != value and f"{key}=" != DATABASE}


def _own_labels(labels: Mapping[str, str], image: Mapping[str, str]) -> dict[str, str]:
    """Leave out the image's labels, Compose's (another version of it writes others) and those that sum up the rest."""
    own = {k: v for k, v in labels.items() if not k.startswith(COMPOSE_LABELS) and k not in _SUMS}
    return _without(own, image)


def _mounts(mounts: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    return frozenset(
        f"{each['Type']} {each.get('Source') or ''} at {each['Target']}".replace("  ", " ")
        + (" (read-only)" if each.get("ReadOnly") else "")
        for each in mounts
    )


def _ports(bindings: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        f"{each['HostIp']}:{each['HostPort']} to {inside}" for inside, all_ in bindings.items() for each in all_
    )


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in (check or {}).items() if value}


def _restart(policy: Mapping[str, Any] | None) -> str:
    name, most = (policy or {}).get("Name") or "no", (policy or {}).get("MaximumRetryCount")
    return f"{name}:{most}" if most else str(name)


# --- inspection: the words of Podman become those of Docker

_STATES = {"configured": "created", "initialized": "created", "stopped": "exited", "stopping": "running"}
_MARK = "container=podman"
_ADDED = r"(?i)(HOME|HOSTNAME|TERM|container|(https?|ftp|no)_proxy)"
"""Variables that Podman gives to every container: its own, and those of a proxy that it was started with."""
COMPOSE_LABELS = ("com.docker.compose.", "io.podman.compose.", "PODMAN_SYSTEMD_UNIT")
"""What Compose and podman-compose write, each version of them in another way."""
_HUB = r"(?:(?:index\.|registry-1\.)?docker\.io/)(?:library/(?=[^/]+$))?"
_REGISTRY = r"(localhost|[^/]*[.:][^/]*)/"
LIMITS = {"Memory": "memory", "NanoCpus": "cpus"}
"""The limits of a container, as the engine and as the spec name them."""
PODMAN = "podman"


def inspect(look: Look, name: str) -> dict[str, Any] | None:
    """Return what the engine shows of a container, or None where there is none."""
    seen = look.engine(f"/containers/{name}/json")
    return None if seen is None else in_dockers_words(seen)


def in_dockers_words(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an engine shows of a container as Docker would show it."""
    config, host, state = seen["Config"], seen["HostConfig"], seen["State"]
    environment = config.get("Env") or []
    mounted = {each["Destination"] for each in seen["Mounts"]}
    unseen = [path for path in host.get("Tmpfs") or () if path not in mounted]
    tmpfs = ({"Type": "tmpfs", "Source": "", "Destination": path, "RW": True} for path in unseen)
    networks = (seen.get("NetworkSettings") or {}).get("Networks") or {}
    if _MARK in environment:  # what Docker calls bridge
        networks = {"bridge" if name == PODMAN else name: each for name, each in networks.items()}
    return {
        **seen,
        "Config": {
            **config,
            "Env": environment,
            "Labels": config.get("Labels") or {},
            "Image": familiar(config["Image"]),
            "StopSignal": signal_name(config.get("StopSignal") or ""),
        },
        "HostConfig": {**host, "PortBindings": host.get("PortBindings") or {}},
        "State": {**state, "Status": _STATES.get(state["Status"], state["Status"])},
        "NetworkSettings": {"Networks": networks},
        "Mounts": [*seen["Mounts"], *tmpfs],
    }


def in_words_of(seen: Mapping[str, Any], creation: Creation) -> dict[str, Any]:
    """Return a container in the words of the call that asks for it, where an engine has other words for the same.

    Podman completes the name of the image, adds variables, and takes the words of a health check apart at every space.
    An engine that cannot limit memory or processors creates the container all the same, without the limit.
    """
    config, body = seen["Config"], creation.body
    image = creation.image if is_same_image(config["Image"], creation.image) else config["Image"]
    changed = {**config, "Image": image}
    if _MARK in config["Env"]:
        asked, has = variables(body), variables(config).items()
        changed["Env"] = [f"{name}={text}" for name, text in has if name in asked or not re.fullmatch(_ADDED, name)]
        check, wanted = (each.get("Healthcheck") or {} for each in (config, body))
        if " ".join(check.get("Test") or ()) == " ".join(wanted.get("Test") or ()):
            changed["Healthcheck"] = {**check, "Test": wanted.get("Test")}
    host = {**seen["HostConfig"], **{each: body["HostConfig"][each] for each in unlimited(seen, creation)}}
    return {**seen, "Config": changed, "HostConfig": host}


def unlimited(seen: Mapping[str, Any], creation: Creation) -> tuple[str, ...]:
    """Return the limits that the very call was asked for that created a container, and that it does not have.

    A limit cannot be lifted later, so the engine has left it out: one of an ordinary user without delegated cgroups.
    https://docs.docker.com/engine/security/rootless/tips/#limiting-resources
    """
    if seen["Config"]["Labels"].get(FINGERPRINT) != creation.fingerprint:
        return ()
    asked, has = creation.body["HostConfig"], seen["HostConfig"]
    return tuple(each for each in LIMITS if asked.get(each) and not has.get(each))


def familiar(reference: str) -> str:
    """Return an image reference as Docker shows it.

    >>> familiar("docker.io/library/postgres:17"), familiar("docker.io/postgis/postgis:17-3.5")
    ('postgres:17', 'postgis/postgis:17-3.5')
    >>> familiar("localhost/postgres:17")
    'localhost/postgres:17'
    """
    return re.sub(_HUB, "", reference, count=1) if re.match(_HUB, reference) else reference


def is_same_image(shown: str, asked: str) -> bool:
    """Tell whether a reference that an engine shows is the one that was asked for.

    Podman completes a short name with the registry in which it found the image, and drops the tag beside a digest.
    """
    (name, tag, digest), (its_name, its_tag, its_digest) = _parts(shown), _parts(asked)
    is_short = not re.match(_REGISTRY, asked)
    if digest != its_digest or not (name == its_name or (is_short and name.endswith(f"/{its_name}"))):
        return False
    return tag == its_tag or (digest != "" and "" in (tag, its_tag))


def _parts(reference: str) -> tuple[str, str, str]:
    rest, _, digest = familiar(reference).partition("@")
    at = rest.find(":", rest.rfind("/") + 1)
    name, tag = (rest[:at], rest[at + 1 :]) if at > 0 else (rest, "")
    return name, tag or ("" if digest else "latest"), digest


def signal_name(text: str) -> str:
    """Return the name of a signal that is written with or without ``SIG``, or as its number.

    >>> signal_name("2"), signal_name("sigint"), signal_name("INT"), signal_name("")
    ('SIGINT', 'SIGINT', 'SIGINT', '')
    """
    if text.isdecimal():
        return next((each.name for each in signal.Signals if each.value == int(text)), text)
    upper = text.upper()
    return upper if upper.startswith("SIG") or not upper else f"SIG{upper}"


# --- changes in place: limits, the restart policy, and a network that was detached
#
# The engine changes these while the server runs, so drift by `docker update` or `docker network disconnect` drops no
# connection. A limit cannot be lifted again: 0 means "leave it".
# https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerUpdate

_PERIOD = 100_000  # microseconds, the engine's own
_UPDATED = {"memory": "Memory", "cpus": "NanoCpus", "restart": "RestartPolicy"}


def update_in_place(creation: Creation, before: Container, after: Container, look: Look) -> tuple[Effect, ...]:
    """Return the calls that mend everything but the status in place; nothing where that is not possible.

    Podman 4 cannot; Podman 5 knows no ``NanoCpus`` there, and takes a restart policy that is left out for none.
    """
    differing = {change.field for change in changes(before, after)} - {"status"}
    if differing - {*_UPDATED, "networks"}:
        return ()
    effects: list[Effect] = []
    body: dict[str, Any] = {}
    host = creation.body["HostConfig"]
    for name in sorted(differing - {"networks"}):
        if not getattr(after, name):
            return ()
        body[_UPDATED[name]] = host.get(_UPDATED[name], {"Name": "no"})
    if "Memory" in body:
        body["MemorySwap"] = 2 * body["Memory"]  # the engine's own choice when it creates a container
    if body and not look.engine_updates:
        return ()
    if body and look.reader.program == PODMAN:
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
