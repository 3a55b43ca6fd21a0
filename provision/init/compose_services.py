"""The services of a compose file that run PostgreSQL: the image and the ports of a service say so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from provision.init import compose_files
from provision.init.compose_files import LATER, assigned, inside, mapping, placed, text
from provision.init.found import Directory
from provision.kinds.configuration import parse
from provision.spec.masking import is_secret_key, may_hold_secret

_IMAGE = r"(?:^|[-_])(?:postgres|postgresql|postgis|timescaledb|timescaledb-ha|pgvector)$"
_FROM = r"(?im)^\s*FROM\s+(?:--\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?"
_ARG = r"(?im)^\s*ARG\s+(\w+)=[\"']?([^\s\"']+)"
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
        if re.search(_IMAGE, _repository(image)) or (
            environment and PORT in {n for a, b in inner for n in range(a, b + 1)}
        ):
            found.append(name)
    return sorted(found, key=lambda name: (bool(services[name].get("profiles")), re.search(LATER, name) is not None))


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
        **dict(re.findall(_ARG, source)),
        **{key: text(each) for key, each in assigned(mapping(build).get("args")).items()},
    }
    stages = {alias: image for image, alias in re.findall(_FROM, source) if alias}
    image = next((image for image, _ in reversed(re.findall(_FROM, source))), "")
    for _ in stages:
        image = stages.get(image, image)
    image = re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda match: given.get(match[1]) or match[2] or "", image)
    return (image, place, True) if image else (text(service.get("image")), place, True)


def ends_of(value: str) -> tuple[int, int] | None:
    """Return the first and last port of ``5432`` or ``5432-5440``; a variable counts with its default."""
    try:
        first, _, last = compose_files.plain(value, {}).partition("-")
        return int(first), int(last or first)
    except (LookupError, ValueError):
        return None


def port_pair(port: Any) -> tuple[str, str]:
    """Return what is published of a port, and the port in the container."""
    if isinstance(port, dict):
        if text(port.get("protocol")) == "udp":
            return "", ""
        return text(port.get("published")), text(port.get("target"))
    head, _, target = compose_files.split_port(text(port).removesuffix("/tcp"))
    return compose_files.split_port(head)[2], target


def inner_ports(port: Any) -> tuple[int, int] | None:
    """Return the first and last port in the container."""
    return ends_of(port_pair(port)[1])


def _repository(image: str) -> str:
    """Return the last word of an image's name, without tag and digest; of a variable, its default."""
    whole = re.sub(compose_files.VARIABLE, lambda match: match["word"] or "", image)
    return whole.partition("@")[0].rpartition("/")[2].partition(":")[0]


# The settings that a compose file gives PostgreSQL: on its command line, and in a ``postgresql.conf``.


_SHELLS = r"(?:.*/)?(?:ba|da|a)?sh"
_SHORT = {"-N": "max_connections", "-B": "shared_buffers"}


def settings_of_command(command: Any) -> dict[str, str] | None:
    """Return the settings of a command, also of one that a shell runs; None where it cannot be read."""
    try:
        words = [text(each) for each in command] if isinstance(command, list) else shlex.split(text(command))
        if words and re.fullmatch(_SHELLS, words[0]) and len(words) > 1:
            words = shlex.split(words[-1].replace(";", " ; "))
            while words and words[0].rpartition("/")[2] not in ("postgres", "postgresql"):
                del words[0]
    except ValueError:
        return None
    return dict(_options(words))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if word in (";", "&&", "||", "|", "&"):
            return
        if word in ("-c", "--config"):
            option = next(rest, "")
        elif word in _SHORT:
            option = f"{_SHORT[word]}={next(rest, '')}"
        elif word.startswith(("-c", "--")):
            option = word[2:]
        else:
            continue
        key, sign, value = option.partition("=")
        if sign:
            yield key.strip().replace("-", "_"), value


def settings_of_file(content: str) -> tuple[dict[str, str], list[str]]:
    """Return the settings of a configuration file, and what is wrong with its other lines."""
    found: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            found |= parse(line)
        except ValueError as error:
            wrong.append(str(error).replace("line 1 ", f"line {number} "))
    return found, wrong


def may_hold_password(key: str, value: str) -> bool:
    """Whether a setting may have a secret in it."""
    names = (match["name"] or match["bare"] or "" for match in re.finditer(compose_files.VARIABLE, value))
    return any(is_secret_key(each.casefold()) for each in names) or may_hold_secret(key, value)
