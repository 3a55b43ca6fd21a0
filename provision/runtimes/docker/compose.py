"""The rendered compose file → what the Docker Engine is asked to create.

The file is the truth about the container: whatever it says is translated, and a key that is not supported is an error
that names it. Compose specification: https://docs.docker.com/reference/compose-file/services/ ; Engine API:
https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerCreate
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from provision.errors import ProvisionError, command
from provision.runtimes.docker import scripts
from provision.runtimes.docker.mounts import mount
from provision.runtimes.docker.service import TRANSLATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provision.model import File, Secret

FINGERPRINT = "provision.fingerprint"
FINGERPRINT_PLACEHOLDER = "@fingerprint@"
MAJOR = "provision.major"
DECLARED = "provision.declared"
CONFIG_HASH = "com.docker.compose.config-hash"

# https://github.com/moby/moby/blob/master/daemon/names/names.go ; https://pkg.go.dev/github.com/distribution/reference
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_IMAGE = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9_.:/@\[\]-]*")
_TOP_KEYS = {"name", "services", "secrets", "volumes", "networks", "version"}


BRIDGE = "bridge"
_NETWORK_KEYS = ("network_mode", "networks")
PROJECT, _NETWORK = "com.docker.compose.project", "com.docker.compose.network"


@dataclass(frozen=True, slots=True)
class Network:
    """A network that the compose file declares. ``external``: it exists already, and is never made or removed."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    external: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A volume that the file declares: the engine's name for it, and its labels."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Creation:
    """What the engine is asked to create for one compose file: a container, its volumes, and a network if declared.

    ``scripts`` are copied into the container: what is on this machine, and where it goes.
    """

    container: str
    image: str
    body: Mapping[str, Any]
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
    return _Reader(path).read(text)


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


def without_host_files(
    creation: Creation, files: Mapping[str, File]
) -> tuple[Creation, Mapping[str, tuple[str | Secret, int]]]:
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


class _Reader:
    """Reads one file; knows its path for messages and relative paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = path.parent
        self.project = ""

    def read(self, text: str) -> Creation:
        document = unescape(self._parse(text), self.path)
        self._only(document, _TOP_KEYS, "the file")
        services = self._mapping(document.get("services"), "`services`")
        if len(services) != 1:
            raise self._error(f"{len(services)} services are declared; this tool runs exactly one")
        ((service_name, service),) = services.items()
        self._only(service, {*TRANSLATIONS, *_HANDLED, *_NETWORK_KEYS}, f"service {service_name!r}")
        for key, pattern in (("image", _IMAGE), ("container_name", _NAME)):
            if not isinstance(service.get(key), str):
                raise self._error(f"service {service_name!r} has no {key!r}")
            self._named(service[key], pattern, f"service {service_name!r}, {key}")
        self.project = str(document.get("name") or service["container_name"])
        volumes = self._volumes(document)
        try:
            network = _network(self.project, service, document)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._error(f"service {service_name!r}, {error}") from error
        body = self._body(str(service_name), service, document, volumes, network)
        body["HostConfig"]["Mounts"], found = scripts.split(body["HostConfig"]["Mounts"])
        named = tuple(volumes.values())
        return Creation(service["container_name"], service["image"], body, network, named, found)

    def _parse(self, text: str) -> dict[str, Any]:
        import yaml

        from provision.spec.yaml import load_data

        try:
            document = load_data(text)
        except yaml.YAMLError as error:
            raise self._error(f"it is not YAML: {error}") from error
        return self._mapping(document, "the file")

    def _mapping(self, found: object, where: str) -> dict[str, Any]:
        """Return a mapping; nothing at all is an empty one."""
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self._error(f"{where} is not a mapping")
        return found

    def _named(self, name: str, pattern: re.Pattern[str], where: str) -> None:
        """Refuse what the engine could not have made: it would be asked for something else."""
        if not pattern.fullmatch(name) or "/.." in name:
            raise self._error(f"{where}: {name!r} is not a name")

    def _list(self, found: object, where: str) -> list[Any]:
        if found is not None and not isinstance(found, list):
            raise self._error(f"{where} is not a list")
        return found or []

    def _volumes(self, document: Mapping[str, Any]) -> dict[str, Named]:
        found = {}
        for key, each in self._mapping(document.get("volumes"), "`volumes`").items():
            declared = self._mapping(each, f"volume {key!r}")
            self._only(declared, {"name", "labels"}, f"volume {key!r}")
            name = declared.get("name", f"{self.project}_{key}")
            self._named(str(name), _NAME, f"volume {key!r}, name")
            given = self._mapping(declared.get("labels"), f"volume {key!r}, labels:")
            labels = {str(k): str(v) for k, v in given.items()}
            own = {"com.docker.compose.project": self.project, "com.docker.compose.volume": str(key)}
            found[str(key)] = Named(str(name), {**labels, **own})
        return found

    def _body(
        self,
        name: str,
        service: Mapping[str, Any],
        document: Mapping[str, Any],
        volumes: Mapping[str, Named],
        network: Network | None,
    ) -> dict[str, Any]:
        mode = BRIDGE if network is None else network.name
        body: dict[str, Any] = {"Image": service["image"], "HostConfig": {"NetworkMode": mode}}
        for key, translate in TRANSLATIONS.items():
            if key in service:
                try:
                    translate(body, service[key])
                except (TypeError, ValueError) as error:
                    raise self._error(f"service {name!r}, {key}: {error}") from error
                except (ArithmeticError, AttributeError, LookupError) as error:
                    wrong = f"{service[key]!r} is not written as the Compose specification says"
                    raise self._error(f"service {name!r}, {key}: {wrong}") from error
        body["HostConfig"]["Mounts"] = [
            *(self._mount(each, volumes) for each in self._list(service.get("volumes"), "`volumes` of the service")),
            *(self._secret(each, document) for each in self._list(service.get("secrets"), "`secrets` of the service")),
        ]
        if network is not None:
            aliases = sorted({name, service["container_name"], *network.aliases})
            body["NetworkingConfig"] = {"EndpointsConfig": {network.name: {"Aliases": aliases}}}
        labels = body.setdefault("Labels", {})
        labels.update(
            {
                "com.docker.compose.project": self.project,
                "com.docker.compose.service": name,
                "com.docker.compose.container-number": "1",
                "com.docker.compose.oneoff": "False",
                "com.docker.compose.project.working_dir": str(self.directory),
                "com.docker.compose.project.config_files": str(self.path),
                CONFIG_HASH: labels.get(FINGERPRINT, ""),
            }
        )
        return body

    def _mount(self, declared: object, volumes: Mapping[str, Named]) -> dict[str, Any]:
        try:
            return mount(declared, self.directory, {key: each.name for key, each in volumes.items()})
        except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise self._error(f"the volume {declared!r}: {error}") from error

    def _secret(self, name: object, document: Mapping[str, Any]) -> dict[str, Any]:
        declared = self._mapping(document.get("secrets"), "`secrets`").get(str(name))
        if not isinstance(declared, dict) or set(declared) != {"file"} or not isinstance(declared["file"], str):
            raise self._error(f"secret {name!r} is not declared with `file:`")
        try:
            source = str((self.directory / declared["file"]).resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise self._error(f"secret {name!r}: {error}") from error
        return {"Type": "bind", "Source": source, "Target": f"/run/secrets/{name}", "ReadOnly": True}

    def _only(self, mapping: object, known: set[str], where: str) -> None:
        if unknown := sorted(
            str(key) for key in self._mapping(mapping, where) if key not in known and not str(key).startswith("x-")
        ):
            raise self._error(f"{where} uses {', '.join(map(repr, unknown))}, which is not supported here")

    def _error(self, what: str) -> ProvisionError:
        return ProvisionError(
            f"the rendered {self.path.name} cannot be run: {what}",
            evidence=[str(self.path)],
            next_step="correct your docker-compose.yml.j2, then: " + command("render"),
        )


def _network(project: str, service: Mapping[str, Any], document: Mapping[str, Any]) -> Network | None:
    """Return the network of a service as Compose chooses it; None for the engine's default bridge.

    Raises:
        ValueError, TypeError: it is not supported, and why.
    """
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
        {**labels, PROJECT: project, _NETWORK: str(key)},
        tuple(str(each) for each in endpoint.get("aliases") or ()),
        external=bool(network.get("external")),
    )


_HANDLED = {"image", "container_name", "volumes", "secrets"}

_VARIABLE = re.compile(r"\$(\$|\{[^}]*\}?|[A-Za-z_]\w*)?")


def unescape(value: Any, path: Path) -> Any:
    """Do what Compose does to a ``$``: ``$$`` is one; a variable is refused: a rendered file must be complete."""
    if isinstance(value, dict):
        return {key: unescape(each, path) for key, each in value.items()}
    if isinstance(value, list):
        return [unescape(each, path) for each in value]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        raise ProvisionError(
            f"the rendered {path.name} uses the variable {match[0]!r}, whose value only the caller's shell would know",
            evidence=[str(path)],
            next_step="use ${...} in the spec, or write $$ for a plain dollar sign",
        )

    return _VARIABLE.sub(replace, value)
