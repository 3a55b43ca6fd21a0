"""Where the tenants of a tree are, as a state, and as groups of those that are at the same revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from provision.errors import MigrationsError
from provision.model import State
from provision.model.value import dataclass, field
from provision.model.words import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provision.alembic import Revisions


@dataclass(frozen=True)
class Spread(State):
    """Where the tenants are: the positions that some are at, ``base`` or rows like ``0018 + 00a1``, are compared.

    ``kind`` is as in :class:`~provision.model.tenants.Tenants`, and ``names`` are in the order in which they are
    migrated, with those that are not in ``states``: they do not exist, or ``closed`` says why they cannot be looked
    into. ``known`` are all, with those that the options leave out. ``target`` are the rows that are declared.
    """

    revisions: tuple[str, ...]
    kind: str = field(compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    states: Mapping[str, Revisions] = field(default_factory=dict, compare=False)
    closed: Mapping[str, str] = field(default_factory=dict, compare=False)
    known: tuple[str, ...] = field(default=(), compare=False)
    target: tuple[str, ...] = field(default=(), compare=False)

    @property
    def groups(self) -> tuple[tuple[tuple[str, ...] | None, tuple[str, ...]], ...]:
        """The tenants by their version rows, the largest group first; None: they are absent or closed."""
        others = tuple([each for each in self.names if each not in self.states])
        return (*groups(self.states), *([(None, others)] if others else []))

    @property
    def left_out(self) -> int:
        """How many the options leave out."""
        return len(self.known) - len(self.names)

    @property
    def absent(self) -> tuple[str, ...]:
        """Those that do not exist."""
        return tuple([each for each in self.names if each not in self.states and each not in self.closed])


class Standing(str):  # noqa: SLOT000  # a reason like any other, in text and JSON
    """A line of a plan about tenants that stay where they are."""


class UndefinedError(MigrationsError):
    """The query of the tenants names something that does not exist: earlier migrations may make it."""


class Group(NamedTuple):
    """Tenants that are at the same revision."""

    rows: tuple[str, ...]
    tenants: tuple[str, ...]

    @property
    def at(self) -> str:
        """The revision in words: ``base``, ``0018``, ``0018 + 00a1``."""
        return position(self.rows)

    def __str__(self) -> str:
        return f"{len(self.tenants)} at {self.at}"


def position(rows: Iterable[str] | None) -> str:
    """Return the rows of a version table in words; None: there is no telling."""
    return "absent or closed" if rows is None else " + ".join(rows) or "base"


def groups(states: Mapping[str, Revisions]) -> tuple[Group, ...]:
    """Return the tenants by where they are, the largest group first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, state in states.items():
        found.setdefault(state.rows, []).append(name)
    return tuple([Group(rows, tuple(names)) for rows, names in sorted(found.items(), key=lambda each: -len(each[1]))])


def counted(number: int, kind: str) -> str:
    """Return a number of databases or schemas in words.

    >>> counted(1, "schemas"), counted(200, "databases")
    ('1 schema', '200 databases')
    """
    return count(number, kind.removesuffix("s"))
