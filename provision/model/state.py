"""What there is and what there shall be: addresses, states, and the fields in which two states differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """The name of one thing: its kind, and its name within the kind (``database/shop``)."""

    kind: str
    name: str

    @property
    def key(self) -> str:
        """The address in a document: ``kind/name``."""
        return f"{self.kind}/{self.name.removeprefix('/')}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name.startswith("/") else self.key


class State:
    """Base of what an address looks like. Subclasses are frozen dataclasses, compared with ``==``."""

    __slots__ = ()


class Unknown(Enum):
    """The type of :data:`UNKNOWN`, so that type checkers can tell it from a state."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown.UNKNOWN
"""What cannot be seen yet. It is not the same as absent."""

NOT_KNOWN = "?"
"""What stands in text and documents for what was not looked at."""

Desired = Mapping[Address, State]
Observed = Mapping[Address, State | Unknown]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: the reason for a step, in words (``max_connections: 100 → 200``).

    ``before`` is None where nothing was there, ``after`` is None where the field goes away. Both are numbers of bytes
    where the field is a ``size``; people read ``256m``.
    """

    field: str
    before: str | None
    after: str | None
    size: bool = False

    @property
    def shown(self) -> tuple[str | None, str | None]:
        """Both values as people read them."""
        before, after = [size(int(each)) if self.size and each else each for each in (self.before, self.after)]
        return before, after

    def __str__(self) -> str:
        before, after = self.shown
        if before is None:
            return f"{self.field}: {after}"
        return f"{self.field}: {before} → {after if after is not None else 'default'}"


class Size(int):
    """A number of bytes in a state."""


def size(number: int) -> str:
    """Return a number of bytes as a spec has it.

    >>> size(300 << 20), size(1 << 30), size(1025), size(0)
    ('300m', '1g', '1025b', 'none')
    """
    for unit, shift in (("g", 30), ("m", 20), ("k", 10)):
        if number and not number % (1 << shift):
            return f"{number >> shift}{unit}"
    return f"{number}b" if number else "none"


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return " ".join(str(item) for item in value) or "none"
    return str(value)


def changes(before: State, after: State) -> tuple[Change, ...]:
    """Return the fields of two states of the same type that differ; mappings are compared key by key."""
    found: list[Change] = []
    for each in fields(after):  # type: ignore[arg-type]  # every State is a dataclass
        old, new = getattr(before, each.name), getattr(after, each.name)
        if old == new or not each.compare:
            continue
        name = each.name.replace("_", " ")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [
                Change(f"{name} {key}", _text(old.get(key)), _text(new.get(key)))
                for key in sorted({*old, *new})
                if old.get(key) != new.get(key)
            ]
        else:
            found.append(Change(name, _text(old), _text(new), size=isinstance(new, Size)))
    return tuple(found)
