"""The section ``server``: what it is, where it lives, and what holds where a key is left out."""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping as MappingType
from itertools import chain
from pathlib import Path
from typing import Any, Final

from provision.model import Secret
from provision.spec import connection, several
from provision.spec.connection import EXTERNAL_KEYS, check_runtime
from provision.spec.credentials import credentials
from provision.spec.image import image, major
from provision.spec.model import Data, DataPath, Ephemeral, Resources, Server, Volume
from provision.spec.parameters import MAJORS
from provision.spec.passwords import PasswordGenerated, PasswordMissing, PasswordValue
from provision.spec.readers import (
    boolean,
    choice,
    cpus,
    duration,
    existing,
    host,
    identifier,
    named,
    path,
    port,
    refuse_own,
    size,
)
from provision.spec.reading import Key, Reading, Wrong, all_of, lazily, listed, mapping, read_table, scalar
from provision.spec.settings import OWNED, read_settings
from provision.spec.yaml import Node, Scalar, Sequence

# ``server.initdb``: the scripts that run once, when a data directory is made.
#
# The kinds of file are those that the official image runs:
# https://github.com/docker-library/docs/blob/master/postgres/README.md#initialization-scripts


SUFFIXES = (".sql", ".sql.gz", ".sql.xz", ".sql.zst", ".sh")


def initdb(node: Node, reading: Reading) -> tuple[Path, ...]:
    """Read a file or directory, or a list of them; return the scripts in the order in which they run.

    The scripts of a directory run in the order of their names; its other files are left out, as the image does.
    """
    if not isinstance(node, Sequence):
        return _scripts(node, reading)
    return tuple(dict.fromkeys(chain.from_iterable(all_of(_scripts, node.items, reading, key="initdb"))))


def _scripts(node: Node, reading: Reading) -> tuple[Path, ...]:
    place = path(node, reading)
    shown = reading.show(scalar(node, "a path"))
    try:
        if place.is_dir():
            return tuple(sorted(each for each in place.iterdir() if each.name.endswith(SUFFIXES) and each.is_file()))
        if not place.is_file():
            raise Wrong(
                f"there is no file or directory {shown}",
                f"relative paths start in the directory of the spec, {reading.directory(node)}",
            )
    except OSError as error:
        raise Wrong(f"{shown} cannot be read: {error.strerror}") from None
    if not place.name.endswith(SUFFIXES):
        raise Wrong(f"{shown} is not a script for a new database", f"end its name with one of {listed(SUFFIXES)}")
    return (place,)


MEBIBYTE = 1024 * 1024

# https://github.com/moby/moby/blob/master/daemon/names/names.go
object_name = named(
    "a name for an object of the engine",
    r"[A-Za-z0-9][A-Za-z0-9_.-]+",
    "it has at least two characters, which are letters, digits, `-`, `_` and `.`, and begins with a letter or a digit",
    128,
)


def data(node: Node, reading: Reading) -> Data | None:
    """Read where the data lives; None is the default volume."""
    example = "one of `{volume: NAME}`, `{path: DIRECTORY}` and `{ephemeral: true}`"
    entries = mapping(node, example)
    values = read_table(entries, DATA_KEYS, reading, "`data`")
    if values.get("ephemeral") is False:
        del values["ephemeral"]
    values = {name: values[name] for name in reading.uppermost(values, entries)}
    keys = [key for text, (key, _) in entries.entries.items() if text in DATA_KEYS]
    if len(values) > 1:
        later = max((key for key in keys if key.text in values), key=lambda key: key.mark)
        raise Wrong(f"`{later.text}` contradicts another place for the data", f"write {example}", at=later)
    return next(iter(values.values()), None)


def _volume(node: Node, reading: Reading) -> Volume:
    return Volume(object_name(node, reading))


def _data_path(node: Node, reading: Reading) -> DataPath:
    """Read a directory that may belong to a server: not one that holds the spec, rendered files, or a home."""
    value = path(node, reading)
    rendered = reading.path.parent / ".provision"
    home = Path(os.path.normpath(reading.environ.get("HOME") or "/"))
    if value in (rendered, *rendered.parents, home, *home.parents) or value.parent == rendered:
        raise Wrong("the server needs a directory of its own", "write a directory that holds nothing else")
    return DataPath(value)


def _ephemeral(node: Node, reading: Reading) -> Ephemeral | bool:
    return Ephemeral() if boolean(node, reading) else False


DATA_KEYS = {"volume": Key(_volume), "path": Key(_data_path), "ephemeral": Key(_ephemeral)}
RESOURCES_KEYS = {
    "memory": Key(size(6 * MEBIBYTE)),  # the engine's smallest
    "cpus": Key(cpus),
    "shm_size": Key(size(MEBIBYTE)),
}


def resources(node: Node, reading: Reading) -> Resources:
    """Read the limits of the container."""
    return Resources(**read_table(mapping(node, "`{memory: 1g, cpus: 2}`"), RESOURCES_KEYS, reading, "`resources`"))


def database(node: Node, reading: Reading) -> str:
    """Read the name of the declared database: what is made in a template is in every database that is made later."""
    name_ = identifier(node, reading)
    if name_ in ("template0", "template1"):
        raise Wrong(f"`{name_}` is the template of every new database", "name another database; `apply` creates it")
    refuse_own(name_)
    return name_


def max_connections(node: Node, reading: Reading) -> Scalar:
    """Read the number of connections; its range depends on the major version and is checked with the settings."""
    found = scalar(node, "a number of connections")
    if re.fullmatch(r"-?[0-9]+", reading.text(found)) is None:
        raise Wrong(f"{reading.show(found)} is not a number of connections", "write a whole number, like `200`")
    return found


SERVER_KEYS = {
    "runtime": Key(choice("auto", "docker", "embedded", "external"), identifies=True),
    "engine": Key(lazily("engine", "read_engine"), identifies=True),
    "image": Key(image, required=True, example="image: postgres:17", identifies=True),
    "major": Key(major, identifies=True),
    "container_name": Key(object_name, identifies=True),
    "host": Key(host, identifies=True),
    "port": Key(port),
    "max_connections": Key(max_connections),
    "settings": Key(lambda node, _: mapping(node, "`shared_buffers: 256MB` and the like below it")),
    "credentials": Key(credentials),
    "database": Key(database),
    "data": Key(data, identifies=True),
    "initdb": Key(initdb),
    "golden": Key(choice("auto", "true", "false", "off")),
    "resources": Key(resources),
    "ready_timeout": Key(duration),
    "stop_timeout": Key(duration),
    "bin_dir": Key(existing("`bin_dir`", directory=True), identifies=True),
    **EXTERNAL_KEYS,
}


def _owned(values: MappingType[str, Any]) -> MappingType[str, str]:
    """Return the settings that are none of the spec's, and where each belongs."""
    if values.get("settings_via") != "patroni":
        return OWNED
    from provision.spec.patroni import OWNED_BY_PATRONI

    return OWNED_BY_PATRONI


def server(node: Node, reading: Reading, environment: str) -> Server:
    """Read the section ``server``; ``environment`` is the name that its defaults are made of."""
    entries = mapping(node, "`image: postgres:17` and the like below it")
    values = read_table(entries, SERVER_KEYS, reading, "`server`")
    check_runtime(entries, values, reading)
    reference, said = values.get("image", ("", 0))
    number = values.get("major") or said or reading.major
    login: dict[str, Any] = {**values.get("credentials", {})}
    if reading.missing and not values.keys() >= {"port", "database"} & entries.entries.keys():
        login["password"] = PasswordMissing(tuple(reading.missing))  # there is nowhere to log in
        values.setdefault("port", None)  # the one that it has
    if "sslcert" in values:
        login.setdefault("password", PasswordValue(Secret("")))
    # `max_connections` beside `settings` is one of them: it is the setting that most people look for.
    declared = [entries.entries["max_connections"]] if "max_connections" in values else []
    if reference:
        declared += values["settings"].entries.values() if "settings" in values else []
    return Server(
        image=reference,
        major=number,
        runtime=values.get("runtime", "auto"),
        container_name=values.get("container_name", environment),
        **several.places(entries, values, reading),
        settings=read_settings(declared, number if reference else MAJORS[-1], reading, _owned(values)),
        user=login.get("user", "postgres"),
        password=login.get("password", PasswordGenerated()),
        database=values.get("database", login.get("user", "postgres")),
        data=values.get("data") or Volume(f"{environment}-data"),
        connection=connection.parameters(values),
        golden="off" if (golden := values.get("golden", "auto")) == "false" else golden,
        **{key: values[key] for key in _AS_READ if key in values},
    )


_AS_READ: Final = (
    *("resources", "ready_timeout", "stop_timeout", "sslmode", "sslrootcert", "settings_via"),
    *("direct", "bin_dir", "engine", "initdb", "patroni"),
)
"""Keys whose values, and what holds without them, are as :class:`Server` has them."""
