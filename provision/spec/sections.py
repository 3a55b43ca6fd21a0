"""The spec as a whole: its sections, and where the keys belong that stand in the wrong one.

The tables of keys, here and in the modules of the sections, are the list of what a spec may say. A key whose reader is
None is known and comes with a later version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provision.spec.credentials import CREDENTIALS_KEYS
from provision.spec.env_file import env_file
from provision.spec.given import masked
from provision.spec.migrations import MIGRATIONS_KEYS, migrations
from provision.spec.model import Spec
from provision.spec.readers import choice, existing, name
from provision.spec.reading import LATER, Key, Wrong, attempt, failed, listed, read_table, scalar
from provision.spec.server import RESOURCES_KEYS, SERVER_KEYS, server
from provision.spec.yaml import Sequence

if TYPE_CHECKING:
    from provision.spec.reading import Reading
    from provision.spec.yaml import Mapping, Node

_LONGEST_NAME = 48  # with `-data` and the like behind it still a host name
environment_name = name(
    "a name for an environment",
    r"[a-z0-9][a-z0-9_-]+",
    "it names a container, a volume and a project of Compose, so it has at least two characters, which are "
    "lower-case letters, digits, `-` and `_`, and begins with a letter or a digit",
    _LONGEST_NAME,
)


def read_version(node: Node, reading: Reading) -> int:
    """Read the version of the spec's format; there is one."""
    found = scalar(node, "`1`")
    if reading.text(found) != "1":
        raise Wrong(f"{reading.show(found)} is not a version of the spec's format", "write `1`, or leave out the key")
    return 1


def _templates(node: Node, reading: Reading) -> Any:
    value = existing("`templates`", directory=True)(node, reading)
    if not any((value / each).is_file() for each in ("docker-compose.yml.j2", "postgresql.conf.j2")):
        raise Wrong(
            f"neither `docker-compose.yml.j2` nor `postgresql.conf.j2` is in {reading.show(scalar(node, 'a path'))}",
            "put one there, or leave out the key",
        )
    return value


_MAY = ("root", "engine_socket", "capabilities", "publish_all")


def _templates_may(node: Node, reading: Reading) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        raise Wrong(f"it must be a list of {listed(_MAY)}", f"for example `[{_MAY[-1]}]`")
    found = [attempt(choice(*_MAY), item, reading) for item in node.items]
    return tuple(dict.fromkeys(each for each in found if not failed(each)))


SPEC_KEYS = {
    "version": Key(read_version),
    "name": Key(environment_name, required=True, example="name: shop-dev", identifies=True),
    "server": Key(lambda node, _: node, required=True, example="server: {image: postgres:17}"),
    "env_file": Key(env_file),
    "templates": Key(_templates),
    "templates_may": Key(_templates_may),
    "migrations": Key(migrations),
    "roles": LATER,
    "databases": LATER,
}
HOMES = {
    key: place
    for place, keys in (
        ("at the top of the file", SPEC_KEYS),
        ("in `server.data`", {"volume": None, "ephemeral": None}),
        ("in `server.credentials`", CREDENTIALS_KEYS),
        ("in `server.resources`", RESOURCES_KEYS),
        ("in `server`", SERVER_KEYS),
        ("in `migrations`", MIGRATIONS_KEYS),
    )
    for key in keys
    if key not in ("name", "command")
} | {"name": "at the top of the file"}
"""Where the keys belong that people look for in another section."""


def spec(top: Mapping, reading: Reading) -> Spec | None:
    """Read the whole file; None when the server could not be read at all. Problems are in ``reading``."""
    values = read_table(top, SPEC_KEYS, reading, "the spec")
    environment = values.get("name", "unnamed")
    if "server" not in values:
        return None
    found = attempt(lambda node, _: server(node, reading, environment), values["server"], reading, key="server")
    if failed(found):
        return None
    for key in ("templates", "templates_may") if found.runtime == "external" else ():
        if key in top.entries:
            at, _ = top.entries[key]
            reading.report(
                at.mark, f"`{key}` has no meaning with `runtime: external`: nothing is rendered", "remove it"
            )
    return Spec(
        path=reading.path,
        name=environment,
        server=found,
        templates=values.get("templates"),
        migrations=tuple([replace(tree, masked=masked(reading)) for tree in values.get("migrations", ())]),
        templates_may=values.get("templates_may", ()),
        variables=tuple(sorted(reading.environ.used.items())),
        missing=tuple(reading.missing),
    )
