"""A project's compose file, put together: with its override, what it includes, and what a service extends.

Scalars stay texts (a port is not sexagesimal here), merge keys and anchors work. What this cannot follow is collected.
Paths become relative to the project: https://docs.docker.com/reference/compose-file/
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from provision.init.found import Directory
from provision.spec.masking import is_secret_key, mask_text
from provision.spec.variables import variables_of
from provision.spec.yaml import check_size

Block = Mapping[str, Any]

# Variables of Compose → those of a spec: docs.docker.com/reference/compose-file/interpolation has the rules.


VARIABLE = r"\$(?:\$|(?P<bare>\w+)|\{(?P<name>\w+)(?:(?P<how>:?[-?+])(?P<word>[^}]*))?\}|)"
"""One variable; a ``$`` alone or twice has no name."""


def _parts(match: re.Match[str]) -> tuple[str, str, str]:
    """Return the name of a variable, the sign before its word (``-`` a default, ``?``, ``+``), and the word."""
    return match["name"] or match["bare"] or "", (match["how"] or "")[-1:], match["word"] or ""


def for_spec(text: str, known: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return a text of Compose as one of a spec.

    ``known`` are the variables of ``.env``; they become defaults, unless their names are those of secrets.

    Raises:
        LookupError: it has a variable that cannot be had there, with the reason.
    """

    def variable(match: re.Match[str]) -> str:
        key, how, word = _parts(match)
        if not key:
            return "$$"
        default = "" if is_secret_key(key) else known.get(key, word if how == "-" else "")
        if how == "+" or any(char in default for char in "${}"):
            raise LookupError(f"a spec cannot say {match[0]}")
        if not default and key not in environ:
            raise LookupError(f"the variable {key} is not set")
        return _in_spec(key, default)

    return re.sub(VARIABLE, variable, text)


def plain(text: str, known: Mapping[str, str]) -> str:
    """Return a text of Compose as Compose reads it: with the variables of ``.env``, and their defaults.

    Raises:
        LookupError: it has a variable without a value.
    """

    def value(match: re.Match[str]) -> str:
        key, how, word = _parts(match)
        if key and not known.get(key) and how != "-":
            raise LookupError(f"the variable {key} is not set")
        return (known.get(key) or word) if key else "$"

    return re.sub(VARIABLE, value, text)


def variable_alone(text: str) -> str:
    """Return a text that is one variable as a spec writes it, with the default that the compose file has."""
    match = re.fullmatch(VARIABLE, text)
    key, how, word = _parts(match) if match else ("", "", "")
    return _in_spec(key, "" if how != "-" or set("${}") & set(word) else word) if key else ""


def _in_spec(key: str, default: str) -> str:
    return f"${{{key}:-{default}}}" if default else f"${{{key}}}"


def split_port(text: str) -> tuple[str, str, str]:
    """Split at the last ``:`` that is not part of a ``${NAME:-default}``."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] == "}") - (text[at] == "{")
        if text[at] == ":" and depth == 0:
            return text[:at], ":", text[at + 1 :]
    return "", "", text


NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
"""In Compose's own order."""
_NAME = r"(?:docker-)?compose(?P<variant>[.-][\w.-]+)?\.ya?ml"
_OVERRIDE = r"(?:docker-)?compose\.override\.ya?ml"
_VARIANTS = ("dev", "local", "develop", "development", "db", "database", "postgres", "base", "yml")
_BASE = r"base|common|template|default|shared|abstract"
LATER = r"prod|stag|test|ci\b|e2e|bench|deploy"
_ELSEWHERE = r"(?:^|/)(?:tests?|examples?|docs?|samples?|e2e)/"
_DEEPEST = 5


class ComposeError(Exception):
    """A file is not YAML; the text says where."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile(r"^<<$"))]}  # noqa: RUF012  # PyYAML's


def _untagged(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _untagged)


def candidates(directory: Directory) -> list[str]:
    """Return the compose files of a project, the likeliest first: those of Compose's own names, near the top."""

    def rank(path: str) -> tuple[object, ...]:
        folder, _, name = path.rpartition("/")
        variant = (re.fullmatch(_NAME, name) or {"variant": ""})["variant"] or ""
        known = next((at for at, word in enumerate(_VARIANTS) if word in variant), len(_VARIANTS))
        is_elsewhere, is_later = re.search(_ELSEWHERE, path) is not None, re.search(LATER, variant) is not None
        order, depth = NAMES.index(name) if name in NAMES else 0, folder.count("/") + bool(folder)
        return is_elsewhere, is_later, depth, bool(variant), known, order, path

    found = [path for path in directory.texts if re.fullmatch(_NAME, path.rpartition("/")[2])]
    found = [path for path in found if not re.fullmatch(_OVERRIDE, path.rpartition("/")[2])]
    firsts: dict[tuple[str, bool], str] = {}
    for path in sorted(found, key=rank):  # Compose takes one of its four names in a directory
        folder, _, name = path.rpartition("/")
        firsts.setdefault((folder if name in NAMES else path, name in NAMES), path)
    return list(firsts.values())


class Files:
    """Reads the files of one project."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.unfollowed: dict[str, None] = {}
        """What only Compose itself follows: a file that was not read, and the tags ``!reset`` and ``!override``."""

    def known(self, path: str) -> Mapping[str, str]:
        """Return the variables of the ``.env`` file that Compose reads for a file."""
        return variables_of(self._directory.texts.get(inside(path, ".env"), ""))

    def load(self, path: str) -> Block:
        """Return what a file has with its override; every service has all that it extends.

        ``<bases>`` are the services that are there only to be extended in the same file; they are left out.

        Raises:
            ComposeError: one is not YAML.
        """
        content = self._whole(path, 0)
        for name in self.parts(path)[1:]:
            content = merged(content, self._read(name))
        services = {
            name: self._extended(each, content, path, 0)
            for name, each in mapping(content.get("services")).items()
            if isinstance(each, dict)
        }
        bases = _only_bases(mapping(content.get("services")))
        return {**content, "services": {k: v for k, v in services.items() if k not in bases}, "<bases>": bases}

    def parts(self, path: str) -> list[str]:
        """Return the files that Compose reads for one: itself, and its override, which only its own names have."""
        folder, _, own = path.rpartition("/")
        beside = (name for name in sorted(self._directory.texts) if name.rpartition("/")[0] == folder)
        overrides = [name for name in beside if own in NAMES and re.fullmatch(_OVERRIDE, name.rpartition("/")[2])]
        return [path, *overrides[:1]]

    def _read(self, path: str) -> dict[str, Any]:
        text = self._directory.texts[path]
        self.unfollowed.update(dict.fromkeys(sorted(re.findall(r"!(?:reset|override)\b", text))))
        try:
            check_size(text)
            content = mapping(yaml.load(text, Loader=_Loader))  # noqa: S506  # a safe one
        except (yaml.YAMLError, RecursionError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
            why = getattr(error, "problem", None) or str(error).partition("\n")[0]
            raise ComposeError(f"{place}: not YAML ({why}), so nothing was taken from it") from None
        services = {
            name: {"<path>": path, **each} if isinstance(each, dict) else each
            for name, each in mapping(content.get("services")).items()
        }
        secrets = {name: {"<path>": path, **mapping(each)} for name, each in mapping(content.get("secrets")).items()}
        return {**content, "services": services, "secrets": secrets}

    def _whole(self, path: str, depth: int) -> Block:
        """Return a file together with those that it includes."""
        content: Block = self._read(path)
        for each in items(content.get("include")) if depth < _DEEPEST else ():
            below: Block = {}
            for name in items(mapping(each).get("path") if isinstance(each, dict) else each):
                place = self._place(path, text(name))
                if place not in self._directory.texts:
                    self._unfollow(f"the file {text(name)}, which {path} includes")
                    continue
                below = merged(below, self._whole(place, depth + 1))
            content = merged(below, content)
        return content

    def _extended(self, service: Block, content: Block, path: str, depth: int) -> dict[str, Any]:
        name, file = _base(service)
        if not name or depth > _DEEPEST:
            return dict(service)
        where, source = path, content
        if file:
            where = self._place(text(service.get("<path>")) or path, file)
            if where not in self._directory.texts:
                self._unfollow(f"the file {file}, which {path} extends")
                return dict(service)
            source = self._read(where)
        base = mapping(mapping(source.get("services")).get(name))
        if not base:
            self._unfollow(f"the service {name} of {where}, which {path} extends")
            return dict(service)
        return combined(self._extended(base, source, where, depth + 1), service)

    def _unfollow(self, what: str) -> None:
        self.unfollowed[mask_text(what)] = None  # the address of a repository can have a password

    def _place(self, path: str, name: str) -> str:
        try:
            return inside(path, plain(name, self.known(path)))
        except LookupError:
            return name


def inside(path: str, name: str) -> str:
    """Return a path that a compose file names, relative to the project."""
    return os.path.normpath(os.path.join(path.rpartition("/")[0], name))  # noqa: PTH118  # it is text


def _base(service: Any) -> tuple[str, str]:
    """Return the service that one extends, and its file; none where it is in the same one."""
    extends = mapping(service).get("extends")
    if isinstance(extends, dict):
        return text(extends.get("service")), text(extends.get("file"))
    return text(extends), ""


def _only_bases(services: Block) -> set[str]:
    """Return the services that others extend and nothing connects to: by their names, or because only those have ports.

    One that only a service for tests and the like extends is the one that people use.
    """
    extended: dict[str, list[str]] = {}
    for name, each in services.items():
        base, file = _base(each)
        if base and not file:
            extended.setdefault(base, []).append(name)
    return {
        base
        for base, names in extended.items()
        if re.search(_BASE, base)
        or not (mapping(services.get(base)).get("ports") or all(re.search(LATER, name) for name in names))
    }


def merged(below: Block, above: Block) -> dict[str, Any]:
    """Return what Compose makes of two files, as far as it is looked at here."""
    services = dict(mapping(below.get("services")))
    for name, each in mapping(above.get("services")).items():
        services[name] = combined(mapping(services.get(name)), mapping(each)) if name in services else each
    secrets = {**mapping(below.get("secrets")), **mapping(above.get("secrets"))}
    volumes = {**mapping(below.get("volumes")), **mapping(above.get("volumes"))}
    return {**below, **above, "services": services, "secrets": secrets, "volumes": volumes}


def combined(old: Block, new: Block) -> dict[str, Any]:
    """Return a service with what another file says of it; entries of its lists remember where they are from."""
    return {
        **old,
        **new,
        "environment": {**assigned(old.get("environment")), **assigned(new.get("environment"))},
        **{key: [*_placed(old, key), *_placed(new, key)] for key in ("ports", "env_file", "volumes", "secrets")},
    }


def _placed(service: Block, key: str) -> Iterator[Any]:
    for each in items(service.get(key)):
        yield each if isinstance(each, tuple) else (text(service.get("<path>")), each)


def placed(service: Block, key: str, path: str) -> list[tuple[str, Any]]:
    """Return the entries of a list of a service, each with the file that it is from."""
    return [(place or path, each) for place, each in _placed(service, key)]


def assigned(environment: Any) -> Block:
    """Return variables as a mapping, which they need not be; one without a value has an empty text."""
    if not isinstance(environment, list):
        return mapping(environment)
    pairs = [text(item).partition("=") for item in environment]
    return {key: value if sign else "" for key, sign, value in pairs}


def items(value: Any) -> list[Any]:
    """Return a list, also of a single value."""
    return value if isinstance(value, list) else [value] if value else []


def mapping(value: Any) -> Block:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """Return a text, an empty one for anything else; the Compose plugin has some as booleans."""
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else ""


# What the Compose plugin says of a compose file, completed from the file's own text.
#
# The plugin sorts by name, names each project, and keeps the services that exist only to be extended. Without
# interpolation it splits ``${NAME:-./data}:/target`` at the first colon (Compose 2.26).


def completed(model: Block, read: Block) -> Block:
    """Return the plugin's ``model`` with what only the text says, ``read`` by :class:`Files`.

    Paths of the model are relative to the directory of the compose file, also those of files that it includes.
    """
    own = mapping(read.get("services"))
    found = {
        name: mapping(each) for name, each in mapping(model.get("services")).items() if name not in read["<bases>"]
    }
    services = {name: _service(each, mapping(own.get(name))) for name, each in _ordered(found, own).items()}
    return {**model, "name": read.get("name"), "services": services}


def _service(found: Block, own: Block) -> dict[str, Any]:
    said = {key: value for key, value in found.items() if value is not None or key in own}
    if "environment" in said:
        said["environment"] = _ordered(assigned(said["environment"]), assigned(own.get("environment")))
    if any("$" in text(mapping(each).get("source")) for each in items(said.get("volumes"))) and own.get("volumes"):
        said["volumes"] = placed(own, "volumes", "")
    return _ordered(said, own)


def _ordered(found: Block, own: Block) -> dict[str, Any]:
    """Return a mapping in the order of the text."""
    first = [key for key in own if key in found]
    return {key: found[key] for key in (*first, *(key for key in found if key not in own))}
