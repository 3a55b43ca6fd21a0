"""The spec as a whole: its sections, and where the keys belong that stand in the wrong one.

The tables of keys, here and in the modules of the sections, are the list of what a spec may say. A key whose reader is
None is known and comes with a later version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping as MappingType
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from provision.alembic.tree.location import LOCATING
from provision.environ import OWN_NAME
from provision.model import Secret
from provision.model.value import replace
from provision.spec import variables
from provision.spec.credentials import CREDENTIALS_KEYS
from provision.spec.masking import is_public_key, is_secret_key
from provision.spec.migrations import MIGRATIONS_KEYS, migrations
from provision.spec.model import Server, Spec
from provision.spec.readers import LONGEST_NAME, NAME, NAME_RULE, boolean, choice, existing, named
from provision.spec.reading import (
    Key,
    Reading,
    Wrong,
    all_of,
    attempt,
    failed,
    lazily,
    listed,
    one_or_more,
    read_table,
    report_without_meaning,
    scalar,
    unread,
)
from provision.spec.server import RESOURCES_KEYS, SERVER_KEYS, server
from provision.spec.yaml import Mapping, Node, Scalar, Sequence

# The key ``env_file``: the files of variables, in place of the ``.env`` beside the spec.


def env_file(node: Node, reading: Reading) -> tuple[Path, ...]:
    """Read the files of variables; a list, in which later files are preferred, may be empty."""
    return tuple(all_of(_variables, one_or_more(node), reading))


def _variables(node: Node, reading: Reading) -> Path:
    path = existing("`env_file`", directory=False)(node, reading)
    try:
        variables.read_file(path, {})
    except variables.UnreadableError as error:
        shown = reading.show(scalar(node, "a path"))
        raise Wrong(
            f"{shown} cannot be read: {error}", "write it as Compose reads it: a NAME=value in each line"
        ) from None
    return path


def env_files(top: Node | None, reading: Reading) -> tuple[Path, ...]:
    """Return the files of variables, before anything else is read; what is wrong with them is reported later."""
    if not isinstance(top, Mapping) or "env_file" not in top.entries:
        return (reading.path.parent / variables.BESIDE,)
    found = []
    for each in one_or_more(top.entries["env_file"][1]):
        with suppress(Wrong):
            found.append(_variables(each, reading))
    return tuple(found)


# What variables put into the values that migrations are given: it is masked wherever it appears.
#
# What is also in the spec in clear is shown, or fills a value that plans and errors show anyway: a name, an
# image, a host, a path. A value of a few characters would be found everywhere, and a switch is no secret.


_SHORTEST = 5
_SWITCH = r"(?i)true|false"
_GIVEN = ("env", "options", "x", "command")
_BETWEEN = "\0"
"""In place of a variable in a text that is shown without it."""


def masked(reading: Reading) -> tuple[Secret, ...]:
    """Return the values to mask, and each line of those that have several."""
    if not reading.given:
        return ()
    values = {text.strip() for value in reading.given for text in (value, *value.splitlines())}
    clear = [str(each.path) for each in reading.sources.values()]
    clear += _clear(reading.document.top, reading) if reading.document.top else ()
    return tuple(
        Secret(value)
        for value in sorted(values)
        if len(value) >= _SHORTEST and not re.fullmatch(_SWITCH, value) and not any(value in text for text in clear)
    )


def _clear(node: Node, reading: Reading, *, given: bool = False, hidden: bool = False) -> Iterator[str]:
    """Yield the texts of the spec that may be shown; where values are ``given``, without what variables put in."""
    if isinstance(node, Scalar):
        if not hidden:
            yield reading.filled(node, _BETWEEN if given else None)
    elif isinstance(node, Mapping):
        for key, value in node.entries.values():
            below = (hidden or is_secret_key(key.text)) and not is_public_key(key.text)
            is_given = (given or key.text in _GIVEN) and key.text not in LOCATING
            yield from _clear(value, reading, given=is_given, hidden=below)
    else:
        for item in node.items:
            yield from _clear(item, reading, given=given, hidden=hidden)


environment_name = named("a name for an environment", NAME, NAME_RULE, LONGEST_NAME)


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


TEMPLATES_MAY = ("root", "engine_socket", "capabilities", "publish_all")


def _templates_may(node: Node, reading: Reading) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        raise Wrong(f"it must be a list of {listed(TEMPLATES_MAY)}", f"for example `[{TEMPLATES_MAY[-1]}]`")
    return tuple(dict.fromkeys(all_of(choice(*TEMPLATES_MAY), node.items, reading)))


SPEC_KEYS = {
    "version": Key(read_version),
    "name": Key(environment_name, required=True, example="name: shop-dev", identifies=True),
    "server": Key(unread, required=True, example="server: {image: postgres:17}"),
    "identity": Key(choice("worktree", "shared"), identifies=True),
    "extends": Key(existing("`extends`", directory=False)),
    "env_file": Key(env_file),
    "templates": Key(_templates),
    "templates_may": Key(_templates_may),
    "migrations": Key(migrations),
    "history": Key(boolean),
    "roles": Key(unread),
    "databases": Key(unread),
    "seeds": Key(lazily("seeds", "seeds")),
    "backup": Key(lazily("backup", "backup")),
}
_SEVERAL_HOMES = ("name", "command", "role", "state", "comment", "connection_limit", "sessions", "seeds")


@cache
def homes() -> MappingType[str, str]:
    """Return where the keys belong that people look for in another section."""
    from provision.spec.databases import SCHEMA_KEYS, database_keys
    from provision.spec.roles import role_keys

    sections: tuple[tuple[str, MappingType[str, object]], ...] = (
        ("in `databases.NAME.schemas.NAME`", SCHEMA_KEYS),
        ("in `roles.NAME`", role_keys(0)),
        ("in `databases.NAME`", database_keys(0)),
        ("at the top of the file", SPEC_KEYS),
        ("in `server.data`", {"volume": None, "ephemeral": None}),
        ("in `server.credentials`", CREDENTIALS_KEYS),
        ("in `server.resources`", RESOURCES_KEYS),
        ("in `server`", SERVER_KEYS),
        ("in `migrations`", MIGRATIONS_KEYS),
    )
    found = {key: place for place, keys in sections for key in keys if key not in _SEVERAL_HOMES}
    return found | {"name": "at the top of the file"}


def _report_templates(top: Mapping, found: Server, reading: Reading) -> None:
    """Report templates of a server that is not rendered."""
    if found.runtime == "external":
        why = "with `runtime: external`: nothing is rendered"
        report_without_meaning(("templates", "templates_may"), top, reading, why)


def spec(top: Mapping, reading: Reading) -> Spec | None:
    """Read the whole file; None when the server could not be read at all. Problems are in ``reading``."""
    values = read_table(top, SPEC_KEYS, reading, "the spec")
    environment = values.get("name", "unnamed")
    if "server" not in values:
        return None
    found = attempt(lambda node, _: server(node, reading, environment), values["server"], reading, key="server")
    if failed(found):
        return None
    _report_templates(top, found, reading)
    fields = {"server": found, "migrations": values.get("migrations", ()), "seeds": values.get("seeds", ())}
    if reading.mentions or values.keys() & {"roles", "databases"}:
        from provision.spec.inside import inside  # few specs have them, and it is much to import

        fields = inside(top, values, found, reading)
    for each in ("migrations", "seeds"):
        fields[each] = tuple([replace(one, masked=masked(reading)) for one in fields[each]])
    read = Spec(
        path=reading.path,
        name=environment,
        backup=values.get("backup"),
        templates=values.get("templates"),
        templates_may=values.get("templates_may", ()),
        history=values.get("history", found.runtime != "external"),
        variables=tuple(sorted(reading.environ.used.items())),
        missing=tuple(reading.missing),
        remarks=tuple(sorted(reading.remarks, key=lambda each: (each.line, each.column))),
        **fields,
    )
    if reading.worktree is None and not reading.environ.get(OWN_NAME, ""):
        return read
    from provision.spec.identity import settled

    return settled(read, top, reading, values.get("identity", "worktree"))
