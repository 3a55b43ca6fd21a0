"""What a key may be, from the reader that the program reads it with: each has its fragment of JSON Schema here.

A reader that takes arguments is a closure or a partial function; what it was made with is looked up in it, so that
``choice("present", "absent")`` is described by its own words.
"""

from __future__ import annotations

import inspect
import types
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from provision.alembic.child.fill import NAMES
from provision.schema import values
from provision.spec.databases import ACCESS
from provision.spec.readers import LONGEST_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provision.schema.values import Fragment

_SCALAR: Final = ["string", "number", "boolean"]
_NOTHING: Final = ["object", "null"]


class Reader(NamedTuple):
    """A reader of the program: its name (``readers.choice``), and what it was made with."""

    name: str
    made_with: Mapping[str, Any]


def taken_apart(read: Any) -> Reader:
    """Return the name of a reader and what it was made with.

    >>> from provision.spec.readers import choice, path
    >>> taken_apart(choice("a", "b")), taken_apart(path)
    (Reader(name='readers.choice', made_with={'words': ('a', 'b')}), Reader(name='readers.path', made_with={}))
    """
    made_with: dict[str, Any] = {}
    if isinstance(read, partial):
        made_with, read = dict(read.keywords), read.func
    if isinstance(read, types.FunctionType) and read.__closure__:
        made_with |= inspect.getclosurevars(read).nonlocals
    name = f"{read.__module__.rpartition('.')[2]}.{read.__qualname__.partition('.<locals>')[0]}"
    return Reader("{module}.{name}".format(**made_with) if name == "reading.lazily" else name, made_with)


def fragment(read: Any) -> Fragment:
    """Return what a reader takes; anything, where it is not described here, which a test does not allow."""
    reader = taken_apart(read)
    return _FRAGMENTS[reader.name](reader.made_with) if is_described(read) else {}


def is_described(read: Any) -> bool:
    """Whether there is a fragment for a reader."""
    return taken_apart(read).name in _FRAGMENTS


def section(name: str) -> Fragment:
    """Return a reference to a section of the spec."""
    return {"$ref": f"#/definitions/{name}"}


def by_name(item: Fragment) -> Fragment:
    """Return a fragment of a mapping of names to things of one kind."""
    return {"type": _NOTHING, "additionalProperties": item}


def trees() -> Fragment:
    """Return a fragment of one tree of migrations, or a list of them; of several, each has a name."""
    several = {"if": {"minItems": 2}, "then": {"items": {"type": "object", "required": ["name"]}}}
    return {"anyOf": [section("migrations"), {"type": "array", "items": section("migrations"), **several}]}


def _password(text: Fragment) -> Fragment:
    return {"anyOf": [text, section("server.credentials.password")]}


def _role(_: Mapping[str, Any]) -> Fragment:
    in_mapping = {
        "type": "object",
        "properties": {"role": values.identifier()},
        "required": ["role"],
        "additionalProperties": False,
    }
    return {"anyOf": [values.identifier(), in_mapping]}


def _always(made: Callable[[], Fragment] | Fragment) -> Callable[[Mapping[str, Any]], Fragment]:
    return lambda _: made() if callable(made) else made


def _templates(made_with: Mapping[str, Any]) -> Fragment:
    allowed = {f"^(?:{made_with['pattern']})$": values.template(NAMES)}
    return {"type": _NOTHING, "patternProperties": allowed, "additionalProperties": False}


def _attributes(_: Mapping[str, Any]) -> Fragment:
    words = values.boolean()
    return by_name({"anyOf": [{"enum": [True, "connection", "engine"]}, words]})


def _object(made_with: Mapping[str, Any]) -> Fragment:
    from provision.spec.grants import ON

    word = made_with["word"]
    if word == "large_object":
        return values.large_object()
    return values.one_line(longest=0 if ON[word].is_in_schema else LONGEST_IDENTIFIER)


_SIMPLE: Final[dict[str, Callable[[], Fragment] | Fragment]] = {
    "sections.read_version": {"enum": [1, "1"]},
    "sections.env_file": lambda: values.one_or_more(values.path()),
    "sections._templates": values.path,
    "migrations.migrations": trees,
    "server.image": values.image,
    "server.major": values.major,
    "engine.read_engine": values.engine,
    "server.max_connections": values.whole,
    "server.database": values.identifier,
    "server.initdb": lambda: values.one_or_more(values.path()),
    "server.data": section("server.data"),
    "server.resources": section("server.resources"),
    "server.direct": section("server.direct"),
    "server._port_there": values.port_there,
    "server._data_path": values.path,
    "server._ephemeral": values.boolean,
    "credentials.credentials": section("server.credentials"),
    "credentials.user": values.identifier,
    "credentials._of_superuser": lambda: _password(values.password_text()),
    "credentials._password_file": values.path,
    "credentials._password_command": values.argv,
    "credentials._password_generated": values.yes,
    "migrations._script_location": values.path,
    "migrations._target": values.target,
    "migrations._schema": lambda: {"anyOf": [values.identifier(), {"type": "null"}]},
    "migrations.named_role": values.identifier,
    "migrations.url_driver": values.driver,
    "migrations.argv": values.argv,
    "migrations.prepare": values.prepare,
    "tenants.tenants": section("migrations.tenants"),
    "patroni.patroni": section("server.patroni"),
    "patroni._addresses": lambda: values.one_or_more(values.rest_api(), minItems=1),
    "patroni._password": lambda: _password(values.password_text(lines=True)),
    "tenants.which": values.tenants,
    "tenants._name": values.identifier,
    "roles._password": lambda: _password(values.password_text(lines=True)),
    "roles._valid_until": values.instant,
    "roles._groups": lambda: values.listed({"anyOf": [values.identifier(), section("roles.member_of")]}),
    "roles._settings_in": by_name(section("settings-of-sessions")),
    "role_settings.settings": section("settings-of-sessions"),
    "backup.backup": section("backup"),
    "seeds.seeds": {"type": "array", "items": section("seeds")},
    "seeds._files": values.path,
    "seeds._table": values.table,
    "seeds._key": lambda: {"anyOf": [values.identifier(), values.listed(values.identifier())]},
    "databases._encoding": values.encoding,
    "databases._access": lambda: by_name(values.choice(ACCESS)),
    "databases._schemas": by_name(section("databases.schemas")),
    "grants._target": section("databases.grants.on"),
    "grants._privileges": values.privileges,
    "grants._columns": lambda: {**values.listed(values.identifier()), "minItems": 1},
    "readers.identifier": values.identifier,
    "readers.boolean": values.boolean,
    "readers.limit": values.limit,
    "readers.comment": values.comment,
    "readers.port": values.port,
    "readers.size": values.size,
    "readers.cpus": values.cpus,
    "readers.duration": values.duration,
    "readers.path": values.path,
    "readers.existing": values.path,
    "connection._root": values.path,
    "readers.host": values.host,
    "several.hosts": lambda: {**values.listed(values.host_and_port()), "minItems": 1},
}
_FRAGMENTS: Final[dict[str, Callable[[Mapping[str, Any]], Fragment]]] = {
    **{name: _always(made) for name, made in _SIMPLE.items()},
    "sections._templates_may": lambda _: {
        "type": "array",
        "items": values.choice(("root", "engine_socket", "capabilities", "publish_all")),
    },
    "server._volume": lambda _: fragment(_object_name()),
    "migrations.templates": _templates,
    "migrations.attributes": _attributes,
    "role_names.mentioned_role": _role,
    "role_names.mentioned_grantee": _role,
    "grants._object": _object,
    "readers.number": lambda made: values.number(made["largest"]),
    "readers.choice": lambda made: values.choice(made["words"]),
    "readers.text": lambda made: values.one_line(verbatim=made["verbatim"]),
    "readers.named": lambda made: values.named(
        made["pattern"], f"write {made['kind']}: {made['rule']}", made["longest"], verbatim=made["verbatim"]
    ),
    "readers.list_of": lambda made: values.listed(fragment(made["read"])),
}


def _object_name() -> Any:
    from provision.spec.server import object_name

    return object_name
