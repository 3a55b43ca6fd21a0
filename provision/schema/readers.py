"""What a key may be, from the reader that the program reads it with: each has its fragment of JSON Schema here.

A reader that takes arguments is a closure or a partial function; what it was made with is looked up in it, so that
``choice("present", "absent")`` is described by its own words.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from provision.alembic.child.fill import NAMES
from provision.schema import values
from provision.schema.values import Fragment
from provision.spec.grants import ON
from provision.spec.readers import LONGEST_IDENTIFIER


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
    name, made_with = taken_apart(read)
    if name in values.OF_READERS:
        return values.OF_READERS[name]
    return _FRAGMENTS[name](made_with) if name in _FRAGMENTS else {}


def _role(_: Mapping[str, Any]) -> Fragment:
    in_mapping = {
        "type": "object",
        "properties": {"role": values.identifier()},
        "required": ["role"],
        "additionalProperties": False,
    }
    return {"anyOf": [values.identifier(), in_mapping]}


def _templates(made_with: Mapping[str, Any]) -> Fragment:
    allowed = {f"^(?:{made_with['pattern']})$": values.template(NAMES)}
    return {"type": ["object", "null"], "patternProperties": allowed, "additionalProperties": False}


def _object(made_with: Mapping[str, Any]) -> Fragment:
    word = made_with["word"]
    if word == "large_object":
        return values.pattern(
            "[0-9]{1,10}", "write the number of a large object", "integer", minimum=0, maximum=9999999999
        )
    return values.one_line(longest=0 if ON[word].is_in_schema else LONGEST_IDENTIFIER)


_FRAGMENTS: Final[dict[str, Callable[[Mapping[str, Any]], Fragment]]] = {
    "server._volume": lambda _: fragment(_object_name()),
    "migrations.templates": _templates,
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
