"""The rendered compose file → what the Docker Engine is asked to create.

The file is the truth about the container: whatever it says is translated, and a key that is not supported is an error
that names it. Compose specification: https://docs.docker.com/reference/compose-file/services/ ; Engine API:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provision.errors import ProvisionError, command
from provision.model import File, Secret
from provision.model.value import dataclass, field, replace
from provision.runtimes.docker import scripts
from provision.runtimes.docker.mounts import mount
from provision.runtimes.docker.service import TRANSLATIONS
from provision.runtimes.names import DECLARED

Json = Mapping[str, Any]
Uploads = Mapping[str, tuple[str | Secret, int]]
"""What is copied into a container: path → content and mode."""

FINGERPRINT = "provision.fingerprint"
FINGERPRINT_PLACEHOLDER = "@fingerprint@"
MAJOR = "provision.major"

# https://github.com/moby/moby/blob/master/daemon/names/names.go ; https://pkg.go.dev/github.com/distribution/reference
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_IMAGE = r"[A-Za-z0-9\[][A-Za-z0-9_.:/@\[\]-]*"
_TOP_KEYS = {"name", "services", "secrets", "volumes", "networks", "version"}
_HANDLED = {"image", "container_name", "volumes", "secrets"}
_NETWORK_KEYS = {"network_mode", "networks"}
_VARIABLE = r"\$(\$|\{[^}]*\}?|[A-Za-z_]\w*)?"

BRIDGE = "bridge"
_COMPOSE = "com.docker.compose."
PROJECT, CONFIG_HASH = f"{_COMPOSE}project", f"{_COMPOSE}config-hash"


@dataclass(frozen=True)
class Network:
    """A network that the compose file declares. ``external``: it exists already, and is never made or removed."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    external: bool = False


@dataclass(frozen=True)
class Named:
    """A volume that the file declares: the engine's name for it, and its labels."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Creation:
    """What the engine is asked to create for one compose file: a container, its volumes, and a network if declared.

    ``scripts`` are copied into the container: what is on this machine, and where it goes.
    """

    container: str
    image: str
    body: Json
    network: Network | None
    volumes: tuple[Named, ...]
    scripts: tuple[tuple[Path, str], ...] = ()

    @property
    def fingerprint(self) -> str:
        """The hash of the whole creation call, so that no field of it can be forgotten."""
        return str(self.body["Labels"].get(FINGERPRINT, ""))


def read(text: str, path: Path) -> Creation:
    """Translate a rendered compose file; relative paths in it start at the file.

    Raises:
        ProvisionError: it is not YAML, holds not exactly one service, or uses what this runtime does not support.
    """
    try:
        return _creation(unescape(_document(text)), path)
    except (TypeError, ValueError) as error:
        raise ProvisionError(
            f"the rendered {path.name} cannot be run: {error}",
            evidence=[str(path)],
            next_step="correct the spec, or your docker-compose.yml.j2, then: " + command("render"),
        ) from error


def with_fingerprint(text: str, path: Path) -> str:
    """Return the rendered text with the fingerprint of its own creation call in place of the placeholder."""
    return text.replace(FINGERPRINT_PLACEHOLDER, fingerprint(read(text, path)))


def fingerprint(creation: Creation, *, whole: bool = False) -> str:
    """Hash the creation call without labels that hold the hash or sum up the spec, and what matters to new data only.

    ``whole`` takes in what matters to new data, as earlier versions did.
    """
    labels = {k: v for k, v in creation.body["Labels"].items() if k not in (FINGERPRINT, CONFIG_HASH, DECLARED)}
    call = {**creation.body, "Labels": labels, "name": creation.container}
    if "Env" in call and not whole:
        call["Env"] = [each for each in call["Env"] if not each.startswith(scripts.DATABASE)]
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()[:32]


def relabelled(creation: Creation) -> Creation:
    """Return a changed creation call with the labels that hold its own hash."""
    digest = fingerprint(creation)
    labels = {**creation.body["Labels"], FINGERPRINT: digest, CONFIG_HASH: digest}
    return replace(creation, body={**creation.body, "Labels": labels})


def without_host_files(creation: Creation, files: Mapping[str, File]) -> tuple[Creation, Uploads]:
    """Take the mounts of rendered files out of a creation call; return it and path → (content, mode) to copy.

    An engine on another host cannot mount files of this one, so they are copied into the container. A mount of anything
    else of this host stays, and the engine says what it thinks of it.
    """
    uploads: dict[str, tuple[str | Secret, int]] = {}
    kept = []
    for each in creation.body["HostConfig"]["Mounts"]:
        below = [
            file for file in files.values() if each["Type"] == "bind" and str(file.path).startswith(each["Source"])
        ]
        for file in below:
            uploads[each["Target"] + str(file.path).removeprefix(each["Source"])] = (file.content, file.mode)
        if not below:
            kept.append(each)
    host = {**creation.body["HostConfig"], "Mounts": kept}
    return relabelled(replace(creation, body={**creation.body, "HostConfig": host})), uploads


# What reads a part of the file raises ValueError or TypeError, with what is wrong.


@contextmanager
def _naming(where: str, value: object) -> Iterator[None]:
    """Say where in the file there is something that cannot be translated."""
    try:
        yield
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError) as error:
        raise ValueError(f"{where}: {value!r} is not written as the Compose specification says") from error


def _document(text: str) -> Json:
    import yaml

    from provision.spec.yaml import load_data

    try:
        return _mapping(load_data(text), "the file")
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from error


def unescape(value: Any) -> Any:
    """Do what Compose does to a ``$``: ``$$`` is one; a variable is refused: a rendered file must be complete."""

    def plain(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        raise ValueError(
            f"it uses the variable {match[0]!r}, which only the caller's shell would know: write ${{...}} in the spec, "
            "or $$ for a plain dollar sign"
        )

    if isinstance(value, dict):
        return {key: unescape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [unescape(each) for each in value]
    return re.sub(_VARIABLE, plain, value) if isinstance(value, str) else value


def _mapping(found: object, where: str, known: set[str] | None = None) -> dict[str, Any]:
    """Return a mapping, with no other keys than those that are known; nothing at all is an empty one."""
    if not isinstance(found, dict | None):
        raise TypeError(f"{where} is not a mapping")
    keys = sorted(str(key) for key in found or () if known is not None and key not in known)
    if unknown := [key for key in keys if not key.startswith("x-")]:
        raise ValueError(f"{where} uses {', '.join(map(repr, unknown))}, which is not supported here")
    return found or {}


def _list(found: object, where: str) -> list[Any]:
    if not isinstance(found, list | None):
        raise TypeError(f"{where} is not a list")
    return found or []


def _check_name(name: str, pattern: str, where: str) -> None:
    """Refuse what the engine could not have made: it would be asked for something else."""
    if not re.fullmatch(pattern, name) or "/.." in name:
        raise ValueError(f"{where}: {name!r} is not a name")


def _creation(document: Json, path: Path) -> Creation:
    _mapping(document, "the file", _TOP_KEYS)
    services = _mapping(document.get("services"), "`services`")
    if len(services) != 1:
        raise ValueError(f"{len(services)} services are declared; this tool runs exactly one")
    ((name, declared),) = services.items()
    where = f"service {name!r}"
    service = _mapping(declared, where, {*TRANSLATIONS, *_HANDLED, *_NETWORK_KEYS})
    for key, pattern in (("image", _IMAGE), ("container_name", _NAME)):
        if not isinstance(service.get(key), str):
            raise TypeError(f"{where} has no {key!r}")
        _check_name(service[key], pattern, f"{where}, {key}")
    project = str(document.get("name") or service["container_name"])
    volumes = _volumes(document, project)
    with _naming(where, service.get("networks")):
        network = _network(project, service, document)
    body: dict[str, Any] = {"Image": service["image"], "HostConfig": {}}
    body["HostConfig"]["NetworkMode"] = BRIDGE if network is None else network.name
    for key, translate in TRANSLATIONS.items():
        if key in service:
            with _naming(f"{where}, {key}", service[key]):
                translate(body, service[key])
    body["HostConfig"]["Mounts"], copied = scripts.split(_mounts(service, document, volumes, path.parent))
    if network is not None:
        aliases = sorted({str(name), service["container_name"], *network.aliases})
        body["NetworkingConfig"] = {"EndpointsConfig": {network.name: {"Aliases": aliases}}}
    body["Labels"] = _labels(body.get("Labels", {}), project, str(name), path)
    return Creation(service["container_name"], service["image"], body, network, tuple(volumes.values()), copied)


def _labels(own: Mapping[str, str], project: str, service: str, path: Path) -> dict[str, str]:
    """Return the labels of a container with those that Compose gives it."""
    composes = {
        "project": project,
        "service": service,
        "container-number": "1",
        "oneoff": "False",
        "project.working_dir": str(path.parent),
        "project.config_files": str(path),
        "config-hash": own.get(FINGERPRINT, ""),
    }
    return {**own, **{f"{_COMPOSE}{key}": value for key, value in composes.items()}}


def _volumes(document: Json, project: str) -> dict[str, Named]:
    found = {}
    for key, each in _mapping(document.get("volumes"), "`volumes`").items():
        declared = _mapping(each, f"volume {key!r}", {"name", "labels"})
        name = str(declared.get("name", f"{project}_{key}"))
        _check_name(name, _NAME, f"volume {key!r}, name")
        labels = _mapping(declared.get("labels"), f"volume {key!r}, labels:").items()
        composes = {PROJECT: project, f"{_COMPOSE}volume": str(key)}
        found[str(key)] = Named(name, {**{str(k): str(v) for k, v in labels}, **composes})
    return found


def _mounts(service: Json, document: Json, volumes: Mapping[str, Named], directory: Path) -> Iterator[dict[str, Any]]:
    names = {key: each.name for key, each in volumes.items()}
    for each in _list(service.get("volumes"), "`volumes` of the service"):
        with _naming(f"the volume {each!r}", each):
            yield mount(each, directory, names)
    secrets = _mapping(document.get("secrets"), "`secrets`")
    for name in _list(service.get("secrets"), "`secrets` of the service"):
        declared = secrets.get(str(name))
        if not isinstance(declared, dict) or set(declared) != {"file"} or not isinstance(declared["file"], str):
            raise ValueError(f"secret {name!r} is not declared with `file:`")
        with _naming(f"secret {name!r}", name):
            source = str((directory / declared["file"]).resolve())
        yield {"Type": "bind", "Source": source, "Target": f"/run/secrets/{name}", "ReadOnly": True}


def _network(project: str, service: Json, document: Json) -> Network | None:
    """Return the network of a service as Compose chooses it; None for the engine's default bridge."""
    if "network_mode" in service:
        if service["network_mode"] != BRIDGE or service.get("networks"):
            raise ValueError(f"network_mode: only {BRIDGE!r}, without `networks`, is supported here")
        return None
    attached = service.get("networks") or {"default": None}
    if not isinstance(attached, dict | list):
        raise TypeError(f"networks: {attached!r} is not supported here")
    if len(attached) != 1:
        raise ValueError(f"networks: {len(attached)} are declared; one is supported here")
    (key,) = attached
    endpoint = (attached[key] if isinstance(attached, dict) else None) or {}
    networks = document.get("networks") or {}
    if key not in networks and key != "default":
        raise ValueError(f"networks: {key!r} is not declared under the file's `networks:`")
    network = networks.get(key) or {}
    if unknown := [*(set(endpoint) - {"aliases"}), *(set(network) - {"name", "labels", "external", "driver"})]:
        raise ValueError(f"networks: {', '.join(sorted(map(repr, unknown)))} of {key!r} is not supported here")
    if network.get("driver") not in (None, BRIDGE):
        raise ValueError(f"networks: the driver {network['driver']!r} of {key!r} is not supported here")
    labels = {str(name): str(value) for name, value in (network.get("labels") or {}).items()}
    return Network(
        str(network.get("name") or (key if network.get("external") else f"{project}_{key}")),
        {**labels, PROJECT: project, f"{_COMPOSE}network": str(key)},
        tuple(str(each) for each in endpoint.get("aliases") or ()),
        external=bool(network.get("external")),
    )
