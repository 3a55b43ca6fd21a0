"""The section ``server``: what it is, where it lives, and what holds where a key is left out."""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import TYPE_CHECKING

from provision.spec.credentials import credentials
from provision.spec.external import EXTERNAL_KEYS, SSLMODE, check
from provision.spec.image import image, major
from provision.spec.initdb import initdb
from provision.spec.model import DataPath, Ephemeral, PasswordGenerated, Resources, Server, Volume
from provision.spec.parameters import MAJORS
from provision.spec.readers import boolean, choice, cpus, duration, existing, host, identifier, name, path, port, size
from provision.spec.reading import Key, Wrong, mapping, read_table
from provision.spec.settings import read_settings

if TYPE_CHECKING:
    from provision.spec.model import Data
    from provision.spec.reading import Reading
    from provision.spec.yaml import Node

MEBIBYTE = 1024 * 1024
DEFAULT_PORT = 5432
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 120.0

# https://github.com/moby/moby/blob/master/daemon/names/names.go
object_name = name(
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
    keys = [key for text, (key, _) in entries.entries.items() if text in DATA_KEYS]
    if len(values) > 1:
        later = max((key for key in keys if key.text in values), key=lambda key: key.mark)
        raise Wrong(f"`{later.text}` stands beside another place for the data", f"write {example}", at=later)
    return next(iter(values.values()), None)


def _volume(node: Node, reading: Reading) -> Volume:
    return Volume(object_name(node, reading))


def _data_path(node: Node, reading: Reading) -> DataPath:
    """Read a directory that may belong to a server: none that holds the spec, what is rendered, or somebody's home."""
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
    return name_


SERVER_KEYS = {
    "runtime": Key(choice("auto", "docker", "embedded", "external"), identifies=True),
    "image": Key(image, required=True, example="image: postgres:17", identifies=True),
    "major": Key(major, identifies=True),
    "container_name": Key(object_name, identifies=True),
    "host": Key(host, identifies=True),
    "port": Key(port, identifies=True),
    "max_connections": Key(lambda node, _: node),
    "settings": Key(lambda node, _: mapping(node, "`shared_buffers: 256MB` and the like below it")),
    "credentials": Key(credentials),
    "database": Key(database, identifies=True),
    "data": Key(data, identifies=True),
    "initdb": Key(initdb),
    "resources": Key(resources),
    "ready_timeout": Key(duration),
    "stop_timeout": Key(duration),
    "bin_dir": Key(existing("`bin_dir`", directory=True), identifies=True),
    **EXTERNAL_KEYS,
}


def server(node: Node, reading: Reading, environment: str) -> Server:
    """Read the section ``server``; ``environment`` is the name that its defaults are made of."""
    entries = mapping(node, "`image: postgres:17` and the like below it")
    values = read_table(entries, SERVER_KEYS, reading, "`server`")
    check(entries, values, reading)
    reference, said = values.get("image", ("", 0))
    number = values.get("major") or said or reading.major
    login = values.get("credentials", {})
    # `max_connections` beside `settings` is one of them: it is the setting that most people look for.
    declared = [entries.entries["max_connections"]] if "max_connections" in values else []
    if reference:
        declared += values["settings"].entries.values() if "settings" in values else []
    return Server(
        image=reference,
        major=number,
        runtime=values.get("runtime", "auto"),
        container_name=values.get("container_name", environment),
        host=values.get("host", "127.0.0.1"),
        port=values.get("port", DEFAULT_PORT),
        settings=read_settings(declared, number if reference else MAJORS[-1], reading),
        user=login.get("user", "postgres"),
        password=login.get("password", PasswordGenerated()),
        database=values.get("database", login.get("user", "postgres")),
        data=values.get("data") or Volume(f"{environment}-data"),
        resources=values.get("resources", Resources()),
        ready_timeout=values.get("ready_timeout", READY_TIMEOUT),
        stop_timeout=values.get("stop_timeout", STOP_TIMEOUT),
        sslmode=values.get("sslmode", SSLMODE),
        sslrootcert=values.get("sslrootcert"),
        settings_via=values.get("settings_via"),
        bin_dir=values.get("bin_dir"),
        initdb=values.get("initdb", ()),
    )
