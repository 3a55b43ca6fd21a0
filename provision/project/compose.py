"""The PostgreSQL of a compose file → what a spec can say of it.

Scalars stay texts (a port is not sexagesimal here), tags like ``!reset`` are passed over, merge keys and anchors work.
Compose's variables become the spec's where they mean the same: https://docs.docker.com/reference/compose-file/interpolation/
A password is not looked at: what counts is whether a variable or a file holds it.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import yaml

from provision.project import variables
from provision.project.found import Compose, Service
from provision.spec import dotenv, plainyaml
from provision.spec.masking import is_secret_key, may_hold_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provision.project.found import Directory

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""In Compose's own order."""
_OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    *(f"docker-compose.override.{end}" for end in ("yml", "yaml")),
)
_IMAGE = re.compile(r"(?:^|[-_])(?:postgres|postgresql|postgis|timescaledb|timescaledb-ha|pgvector)$")
_OTHER_CONTRACT = re.compile(r"(?:^|/)bitnami[^/]*/")
_CONTAINER_PORT = "5432"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile(r"^<<$"))]}  # noqa: RUF012  # PyYAML's


def _untagged(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _untagged)


def find(directory: Directory) -> tuple[Compose | None, list[str]]:
    """Return what the directory's compose file has, if there is one, and remarks on what was not taken."""
    path = next((name for name in NAMES if name in directory.texts), None)
    if path is None:
        return None, []
    content: Mapping[str, Any] = {}
    for name in (path, *[each for each in _OVERRIDES if each in directory.texts][:1]):
        try:
            plainyaml.check(directory.texts[name])
            content = _merged(content, _mapping(yaml.load(directory.texts[name], Loader=_Loader)))  # noqa: S506  # safe
        except (yaml.YAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            why = getattr(error, "problem", None) or str(error).partition("\n")[0]
            return Compose(path), [f"{place}: not YAML ({why}), so nothing was taken from it"]
    services = {name: each for name, each in _mapping(content.get("services")).items() if isinstance(each, dict)}
    known = dotenv.read(directory.texts.get(".env", ""))
    names = {_text(each.get("container_name")) for each in services.values()}
    names |= {_text(content.get("name")), known.get("COMPOSE_PROJECT_NAME", "")}
    found = [name for name, each in services.items() if _IMAGE.search(_repository(_text(each.get("image"))))]
    if not found:
        return Compose(path, None, frozenset(names)), [f"{path} has no service with a PostgreSQL image"]
    remarks = [f"{path}: the service {name} is not in the spec, which has one server" for name in found[1:]]
    service = _Reading(directory, path, remarks, known).service(found[0], services[found[0]], content)
    return Compose(path, service, frozenset(names)), remarks


class _Reading:
    """One pass over one service; what cannot be taken over becomes a remark."""

    def __init__(self, directory: Directory, path: str, remarks: list[str], known: Mapping[str, str]) -> None:
        self._directory = directory
        self._path = path
        self._remarks = remarks
        self._known = known

    def service(self, name: str, service: Mapping[str, Any], content: Mapping[str, Any]) -> Service:
        environment = dict(self._environment(service))
        password, file = self._password(environment, content)
        return Service(
            path=self._path,
            name=name,
            image=self._image(name, _text(service.get("image"))),
            port=self._port(name, service.get("ports")),
            user=self._value(name, "POSTGRES_USER", environment.get("POSTGRES_USER")),
            database=self._value(name, "POSTGRES_DB", environment.get("POSTGRES_DB")),
            password=password,
            file=file,
            settings=tuple(self._settings(name, service.get("command"))),
        )

    def _environment(self, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the variables of the container; one without a value is handed through from outside."""
        for each in _items(service.get("env_file")):
            path = _text(_mapping(each).get("path") if isinstance(each, dict) else each).removeprefix("./")
            for key, value in dotenv.read(self._directory.texts.get(path, "")).items():
                # It is in clear in that file; the spec reads it from a variable of the same name.
                yield (
                    key,
                    f"${{{key}}}" if is_secret_key(key) and not key.endswith("_FILE") else value.replace("$", "$$"),
                )
        for key, value in _assigned(service.get("environment")).items():
            yield key, _text(value) or f"${{{key}}}"

    def _image(self, name: str, text: str) -> str | None:
        if _OTHER_CONTRACT.search(text):
            self._remarks.append(f"{self._path}: the image of {name} does not follow the official image's contract")
            return None
        return self._value(name, "the image", text)

    def _port(self, name: str, ports: Any) -> str | None:
        for each in _items(ports):
            if isinstance(each, dict):
                target, published = _text(each.get("target")), _text(each.get("published"))
            else:
                head, _, target = variables.split_port(_text(each).removesuffix("/tcp"))
                published = variables.split_port(head)[2]
            if target == _CONTAINER_PORT and published:
                return self._value(name, "the port", published)
        return None

    def _value(self, name: str, what: str, text: str | None) -> str | None:
        if not text:
            return None
        try:
            return variables.for_spec(text, self._known, self._directory.environ)
        except LookupError as error:
            self._remarks.append(f"{self._path}: {what} of {name} was not taken: {error.args[0]}")
            return None

    def _password(self, environment: Mapping[str, str], content: Mapping[str, Any]) -> tuple[str | None, str | None]:
        """Return the variable that holds the password, with its default, or the file."""
        text = environment.get("POSTGRES_PASSWORD", "")
        if match := variables.VARIABLE.fullmatch(text):
            return variables.expression(match), None
        secret = re.fullmatch(r"/run/secrets/([\w.-]+)", environment.get("POSTGRES_PASSWORD_FILE", ""))
        declared = _mapping(_mapping(content.get("secrets")).get(secret[1])) if secret else {}
        if (file := _text(declared.get("file"))) and "$" not in file:
            return None, file
        if name := _text(declared.get("environment")):
            return f"${{{name}}}", None
        if text:
            self._remarks.append(
                f"the password in {self._path} is in clear, and was not copied: a new one is generated, and "
                "`provision url` prints it"
            )
        return None, None

    def _settings(self, name: str, command: Any) -> Iterator[tuple[str, str]]:
        try:
            words = [_text(each) for each in command] if isinstance(command, list) else shlex.split(_text(command))
        except ValueError:
            self._remarks.append(f"{self._path}: the command of {name} cannot be read, and was not taken")
            return
        rest = iter(words)
        for word in rest:
            if word in ("-c", "--config"):
                text = next(rest, "")
            elif word in ("-N", "-B"):
                text = f"{'max_connections' if word == '-N' else 'shared_buffers'}={next(rest, '')}"
            elif word.startswith(("-c", "--")):
                text = word[2:]
            else:
                continue
            key, sign, value = text.partition("=")
            names = [match["name"] or match["bare"] or "" for match in variables.VARIABLE.finditer(value)]
            if any(is_secret_key(each.casefold()) for each in names) or may_hold_secret(
                key.strip().replace("-", "_"), value
            ):
                self._remarks.append(f"{self._path}: {key} was not taken: there may be a password in it")
                continue
            taken = self._value(name, key, value) if sign else None
            if taken is not None:
                yield key.strip().replace("-", "_"), taken


def _assigned(environment: Any) -> Mapping[str, Any]:
    """Return variables as a mapping, which they need not be; one without a value has an empty text."""
    if not isinstance(environment, list):
        return _mapping(environment)
    pairs = [_text(item).partition("=") for item in environment]
    return {key: value if sign else "" for key, sign, value in pairs}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Compose makes of a file and its override, as far as it is looked at here."""
    services = {**_mapping(below.get("services"))}
    for name, each in _mapping(above.get("services")).items():
        old, new = _mapping(services.get(name)), _mapping(each)
        services[name] = {
            **old,
            **new,
            "environment": {**_assigned(old.get("environment")), **_assigned(new.get("environment"))},
            "ports": [*_items(old.get("ports")), *_items(new.get("ports"))],
            "env_file": [*_items(old.get("env_file")), *_items(new.get("env_file"))],
        }
    return {**below, **above, "services": services}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _repository(image: str) -> str:
    """Return the last word of an image's name, without tag and digest; of a variable, its default."""
    whole = variables.VARIABLE.sub(lambda match: match["word"] or "", image)
    return whole.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
