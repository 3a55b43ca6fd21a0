"""The services of a compose file that run PostgreSQL: the image and the ports of a service say so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from provision.init import variables
from provision.init.compose_files import LATER, assigned, inside, mapping, placed, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.init.found import Directory

_IMAGE = re.compile(r"(?:^|[-_])(?:postgres|postgresql|postgis|timescaledb|timescaledb-ha|pgvector)$")
_FROM = re.compile(r"(?im)^\s*FROM\s+(?:--\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?")
_ARG = re.compile(r"(?im)^\s*ARG\s+(\w+)=[\"']?([^\s\"']+)")
PORT = 5432


def databases(services: Mapping[str, Any], directory: Directory, path: str) -> list[str]:
    """Return the services that run PostgreSQL; those for tests and the like, and those behind profiles, last.

    They have its image, or the variables and the port of its contract.
    """
    found = []
    for name, service in services.items():
        image, _, _ = image_of(service, directory, path)
        environment = {*assigned(service.get("environment"))} & {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}
        inner = {port for _, each in placed(service, "ports", path) if (port := inner_ports(each))}
        if _IMAGE.search(_repository(image)) or (
            environment and PORT in {n for a, b in inner for n in range(a, b + 1)}
        ):
            found.append(name)
    return sorted(found, key=lambda name: (bool(services[name].get("profiles")), LATER.search(name) is not None))


def image_of(service: Mapping[str, Any], directory: Directory, path: str) -> tuple[str, str, bool]:
    """Return the image of a service, and the Dockerfile that it is the base of, with whether that adds something."""
    build = service.get("build")
    if not build:
        return text(service.get("image")), "", False
    context = text(mapping(build).get("context")) if isinstance(build, dict) else text(build)
    where = inside(text(service.get("<path>")) or path, context or ".")
    name = text(mapping(build).get("dockerfile")) or "Dockerfile"
    place = inside(f"{where}/x", name)
    source = directory.texts.get(place) or text(mapping(build).get("dockerfile_inline"))
    given = {
        **dict(_ARG.findall(source)),
        **{key: text(each) for key, each in assigned(mapping(build).get("args")).items()},
    }
    stages = {alias: image for image, alias in _FROM.findall(source) if alias}
    image = next((image for image, _ in reversed(_FROM.findall(source))), "")
    for _ in stages:
        image = stages.get(image, image)
    image = re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda match: given.get(match[1]) or match[2] or "", image)
    return (image, place, True) if image else (text(service.get("image")), place, True)


def ends_of(value: str) -> tuple[int, int] | None:
    """Return the first and last port of ``5432`` or ``5432-5440``; a variable counts with its default."""
    try:
        first, _, last = variables.plain(value, {}).partition("-")
        return int(first), int(last or first)
    except (LookupError, ValueError):
        return None


def port_pair(port: Any) -> tuple[str, str]:
    """Return what is published of a port, and the port in the container."""
    if isinstance(port, dict):
        if text(port.get("protocol")) == "udp":
            return "", ""
        return text(port.get("published")), text(port.get("target"))
    head, _, target = variables.split_port(text(port).removesuffix("/tcp"))
    return variables.split_port(head)[2], target


def inner_ports(port: Any) -> tuple[int, int] | None:
    """Return the first and last port in the container."""
    return ends_of(port_pair(port)[1])


def _repository(image: str) -> str:
    """Return the last word of an image's name, without tag and digest; of a variable, its default."""
    whole = variables.VARIABLE.sub(lambda match: match["word"] or "", image)
    return whole.partition("@")[0].rpartition("/")[2].partition(":")[0]
