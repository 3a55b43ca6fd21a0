"""A container as an engine shows it, in Docker's words: Podman answers the same requests in some words of its own.

What Podman writes otherwise (https://docs.podman.io/en/latest/_static/api.html#tag/containers-(compat)): the image with its
registry, the stop signal as a number, a tmpfs among the options and not among the mounts, states of its own, and null
where Docker has an empty value. What it adds by itself: variables, and labels of podman-compose and systemd.
"""  # noqa: E501  # an address

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

from provision.runtimes.docker.compose import FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from provision.runtimes import Look
    from provision.runtimes.docker.compose import Creation

_STATES = {"configured": "created", "initialized": "created", "stopped": "exited", "stopping": "running"}
_MARK = "container=podman"
_ADDED = re.compile(r"(HOME|HOSTNAME|TERM|container|(https?|ftp|no)_proxy)", re.IGNORECASE)
"""Variables that Podman gives to every container: its own, and those of a proxy that it was started with."""
COMPOSE_LABELS = ("com.docker.compose.", "io.podman.compose.", "PODMAN_SYSTEMD_UNIT")
"""What Compose and podman-compose write, each version of them in another way."""
_HUB = re.compile(r"(?:(?:index\.|registry-1\.)?docker\.io/)(?:library/(?=[^/]+$))?")
_REGISTRY = re.compile(r"(localhost|[^/]*[.:][^/]*)/")
LIMITS = {"Memory": "memory", "NanoCpus": "cpus"}
"""The limits of a container, as the engine and as the spec name them."""
_TMPFS = "tmpfs"
_BRIDGE, _PODMANS_BRIDGE = "bridge", "podman"


def container(look: Look, name: str) -> dict[str, Any] | None:
    """Return what the engine shows of a container, or None where there is none."""
    seen = look.engine(f"/containers/{name}/json")
    return None if seen is None else in_dockers_words(seen)


def in_dockers_words(seen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an engine shows of a container as Docker would show it."""
    config, host, state = seen["Config"], seen["HostConfig"], seen["State"]
    status = _STATES.get(state["Status"], state["Status"])
    mounted = {each["Destination"] for each in seen["Mounts"]}
    tmpfs = [
        {"Type": _TMPFS, "Source": "", "Destination": path, "RW": True}
        for path in host.get("Tmpfs") or ()
        if path not in mounted
    ]
    return {
        **seen,
        "Config": {
            **config,
            "Env": config.get("Env") or [],
            "Labels": config.get("Labels") or {},
            "Image": familiar(config["Image"]),
            "StopSignal": signal_name(config.get("StopSignal") or ""),
        },
        "HostConfig": {**host, "PortBindings": host.get("PortBindings") or {}},
        "State": {**state, "Status": status},
        "NetworkSettings": _default_network(seen.get("NetworkSettings") or {}, config.get("Env") or ()),
        "Mounts": [*seen["Mounts"], *tmpfs],
    }


def _default_network(settings: Mapping[str, Any], environment: Collection[str]) -> dict[str, Any]:
    """Return the networks of a container; what Docker calls ``bridge``, Podman shows as ``podman``."""
    attached = settings.get("Networks") or {}
    if _MARK in environment:
        attached = {_BRIDGE if name == _PODMANS_BRIDGE else name: each for name, each in attached.items()}
    return {**settings, "Networks": attached}


def as_asked(seen: Mapping[str, Any], creation: Creation) -> dict[str, Any]:
    """Return a container in the words of the call that asks for it, where an engine has other words for the same.

    Podman completes the name of the image, adds variables, and takes the words of a health check apart at every space.
    An engine that cannot limit memory or processors creates the container all the same, without the limit.
    """
    config, body = seen["Config"], creation.body
    image = creation.image if is_same_image(config["Image"], creation.image) else config["Image"]
    changed = {**config, "Image": image}
    if _MARK in config["Env"]:
        asked = {each.partition("=")[0] for each in body.get("Env", ())}
        changed["Env"] = [each for each in config["Env"] if not _is_added(each.partition("=")[0], asked)]
        check, wanted = (each.get("Healthcheck") or {} for each in (config, body))
        if " ".join(check.get("Test") or ()) == " ".join(wanted.get("Test") or ()):
            changed["Healthcheck"] = {**check, "Test": wanted.get("Test")}
    host = {**seen["HostConfig"], **{each: body["HostConfig"][each] for each in unlimited(seen, creation)}}
    return {**seen, "Config": changed, "HostConfig": host}


def unlimited(seen: Mapping[str, Any], creation: Creation) -> tuple[str, ...]:
    """Return the limits that the very call was asked for that created a container, and that it does not have.

    Nobody can lift a limit later, so the engine has left it out: one of an ordinary user without delegated cgroups.
    https://docs.docker.com/engine/security/rootless/tips/#limiting-resources
    """
    if seen["Config"]["Labels"].get(FINGERPRINT) != creation.fingerprint:
        return ()
    asked, has = creation.body["HostConfig"], seen["HostConfig"]
    return tuple(each for each in LIMITS if asked.get(each) and not has.get(each))


def _is_added(name: str, asked: Collection[str]) -> bool:
    return _ADDED.fullmatch(name) is not None and name not in asked


def familiar(reference: str) -> str:
    """Return an image reference as Docker shows it.

    >>> familiar("docker.io/library/postgres:17"), familiar("docker.io/postgis/postgis:17-3.5")
    ('postgres:17', 'postgis/postgis:17-3.5')
    >>> familiar("localhost/postgres:17")
    'localhost/postgres:17'
    """
    return _HUB.sub("", reference, count=1) if _HUB.match(reference) else reference


def is_same_image(shown: str, asked: str) -> bool:
    """Tell whether a reference that an engine shows is the one that was asked for.

    Podman completes a short name with the registry in which it found the image, and drops the tag beside a digest.
    """
    (name, tag, digest), (its_name, its_tag, its_digest) = _parts(shown), _parts(asked)
    is_short = not _REGISTRY.match(asked)
    if digest != its_digest or not (name == its_name or (is_short and name.endswith(f"/{its_name}"))):
        return False
    return tag == its_tag or (digest != "" and "" in (tag, its_tag))


def _parts(reference: str) -> tuple[str, str, str]:
    rest, _, digest = familiar(reference).partition("@")
    name, separator, tag = rest.rpartition(":")
    if not separator or "/" in tag:
        name, tag = rest, ""
    return name, tag or ("" if digest else "latest"), digest


def signal_name(text: str) -> str:
    """Return the name of a signal that is written with or without ``SIG``, or as its number.

    >>> signal_name("2"), signal_name("sigint"), signal_name("INT"), signal_name("")
    ('SIGINT', 'SIGINT', 'SIGINT', '')
    """
    if text.isdecimal():
        known = {each.value: each.name for each in signal.Signals}
        return known.get(int(text), text)
    upper = text.upper()
    return upper if upper.startswith("SIG") or not upper else f"SIG{upper}"
