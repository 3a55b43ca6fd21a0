"""The nouns of the program: what is declared, what is there, and what would lead from one to the other.

*Desired* and *Observed* are both a mapping of :class:`Address` to :class:`State`. An absent thing has no key; a thing
that cannot be seen yet, because the server is down, is :data:`UNKNOWN`. A :class:`Plan` is an ordered tuple of
:class:`Step`, and a step carries the :data:`Effect` values that only :mod:`provision.apply` performs. Everything here
is a frozen value that compares with ``==`` and can be printed without giving a secret away.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol

if TYPE_CHECKING:
    from pathlib import Path

MASK = "********"


class Secret:
    """A text that must not be seen: it prints as a mask, and refuses to be pickled.

    Only :meth:`reveal` gives the text, so that every place that uses it can be found by its name.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the clear text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __reduce__(self) -> NoReturn:
        message = "a secret is not serialised"
        raise TypeError(message)


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """The name of one thing: its kind, and its name within the kind (``database/shop``)."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name.removeprefix('/')}"


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

Desired = Mapping[Address, State]
Observed = Mapping[Address, State | Unknown]


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: the reason for a step, in words (``max_connections: 100 → 200``).

    ``before`` is None where nothing was there, ``after`` is None where the field goes away.
    """

    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.field}: {self.after}"
        return f"{self.field}: {self.before} → {self.after if self.after is not None else 'default'}"


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
            found.append(Change(name, _text(old), _text(new)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server listens and how to log in; ``database`` is the declared one.

    ``sslmode`` and ``sslrootcert`` are libpq's: https://www.postgresql.org/docs/current/libpq-ssl.html
    """

    host: str
    port: int
    user: str
    password: Secret
    database: str
    sslmode: str = "prefer"
    sslrootcert: Path | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The server in a few words for people.

    ``server`` is running, stopped, paused, restarting, absent or unreachable, ``detail`` the words of the engine or
    the server where there is trouble. ``process`` is its number and system user, where it is one of this machine.
    ``clients`` is how many others are connected. ``started`` is ISO 8601. ``revisions`` maps a tree's name to its
    version rows.
    """

    server: str
    detail: str = ""
    image: str | None = None
    container: str | None = None
    version: str | None = None
    started: str | None = None
    revisions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    data: str | None = None
    process: str | None = None
    clients: int | None = None


class Query(Protocol):
    """Read-only questions to the server, over one connection per database."""

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; ``database`` None is the declared one.

        Raises:
            provision.errors.UnavailableError: the server cannot be reached.
        """


# --- Effects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write ``content`` to ``path`` atomically, with ``mode``; missing directories are made."""

    path: Path
    content: str | Secret
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory and its missing parents, with ``mode``. One that is there already is fine."""

    path: Path
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class CopyPath:
    """Copy a file, or a directory with all that is in it, so that it is there as a whole or not at all."""

    source: Path
    path: Path


@dataclass(frozen=True, slots=True)
class RemovePath:
    """Remove a file, or a directory with all that is in it. A path that is not there is fine."""

    path: Path


EngineOperation = Literal[
    "pull_image",
    "create_network",
    "connect_network",
    "remove_network",
    "create_volume",
    "remove_volume",
    "create_container",
    "rename_container",
    "update_container",
    "start_container",
    "unpause_container",
    "stop_container",
    "restart_container",
    "remove_container",
    "copy_to_container",
]


@dataclass(frozen=True, slots=True)
class EngineCall:
    """One call of the Docker Engine API. ``target`` is the object's name, ``body`` the JSON that goes with it."""

    operation: EngineOperation
    target: str
    body: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class CheckData:
    """Look at what is mounted at ``target`` in a container that was made and not started.

    What another major version made is refused, and the container goes away again.
    """

    container: str
    target: str


@dataclass(frozen=True, slots=True)
class ServerCall:
    """One operation on a server process of this machine, which is known by its data directory.

    ``argv`` is the program to run and ``user`` the system user to run it as (None: ours). ``sockets`` is the directory
    of the server's own socket, ``link`` a symbolic link that shows where the data of the running server is.
    ``timeout`` is in seconds.
    """

    operation: Literal["initialise", "start", "stop"]
    data: Path
    argv: tuple[str, ...] = ()
    user: str | None = None
    log: Path | None = None
    sockets: Path | None = None
    link: Path | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class RunInContainer:
    """Run a program in a container, with a secret on its standard input; it says nothing when all goes well.

    ``what`` is what it is for, in words, and the sentence of the error when it fails.
    """

    container: str
    argv: tuple[str, ...]
    secret: Secret
    what: str


@dataclass(frozen=True, slots=True)
class CompareOutput:
    """Run two programs in a container, and fail with the lines in which their output differs."""

    container: str
    one: tuple[str, ...]
    other: tuple[str, ...]
    secret: Secret
    what: str


@dataclass(frozen=True, slots=True)
class HoldWrites:
    """Let everybody who writes to the server wait, and nobody who reads, for as long as this process works on.

    Large objects have to be held by themselves (``large_objects``), because reading them needs the same lock.
    """

    databases: tuple[str, ...]
    large_objects: bool = False


@dataclass(frozen=True, slots=True)
class RunSql:
    """Run statements over the network connection, each in its own transaction, in ``database``."""

    database: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunLocalSql:
    """Run a script as the superuser through the server's own socket, where no password is asked for.

    ``others`` are names that the superuser may have still; they are tried in turn until one may do it.
    ``container`` names the container to enter (docker); otherwise ``socket_directory`` is used (embedded).
    The script may hold a SCRAM verifier and is treated as a secret.
    """

    script: Secret
    user: str
    container: str | None = None
    socket_directory: Path | None = None
    port: int = 5432
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadSettings:
    """Have the server read its configuration again, once it sees a file that holds ``expected`` (name → raw value).

    None: there is no file to wait for.
    """

    expected: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class WaitReady:
    """Wait until the final server answers a login over TCP from here, or fail with the server's last words.

    ``timeout`` is in seconds.
    """

    timeout: float


@dataclass(frozen=True, slots=True)
class Migrate:
    """Bring one Alembic tree to ``target``; ``name`` selects the tree among the spec's migrations.

    ``revisions`` are those that will run as far as is known now, in their order: the id and its file.
    """

    name: str
    target: tuple[str, ...]
    direction: Literal["upgrade", "downgrade"] = "upgrade"
    revisions: tuple[tuple[str, Path], ...] = ()


Effect = (
    WriteFile
    | MakeDirectory
    | CopyPath
    | RemovePath
    | EngineCall
    | CheckData
    | ServerCall
    | RunInContainer
    | CompareOutput
    | HoldWrites
    | RunSql
    | RunLocalSql
    | ReloadSettings
    | WaitReady
    | Migrate
)


# --- The plan ----------------------------------------------------------------------------------------------------


class Action(StrEnum):
    """What a step does to its address, from the least to the most disruptive."""

    CREATE = "create"
    UPDATE = "update"
    RELOAD = "reload"
    START = "start"
    MIGRATE = "migrate"
    STOP = "stop"
    RESTART = "restart"
    RECREATE = "recreate"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan.

    ``why`` are the differing fields, or a sentence where there is no field; ``consequence`` is what people will
    notice; ``destroys`` is true when data goes away. After a step with ``reveals`` the world has to be observed again
    before more is done: the server was started, and its inside can be seen now. A step that stands only for what is
    to come then (its ``effects`` are empty) is shown, and planned anew. ``clients`` is how many connected clients lose
    their connection.
    """

    address: Address
    action: Action
    before: State | Unknown | None
    after: State | None
    effects: tuple[Effect, ...]
    why: tuple[Change | str, ...] = ()
    consequence: str = ""
    destroys: bool = False
    reveals: bool = False
    clients: int = 0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line, beside what the spec says.

    ``no_restart``: leave for later what would restart or recreate a server that runs. ``reset_overrides``: take back
    what ``ALTER SYSTEM`` has set.
    """

    no_restart: bool = False
    reset_overrides: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The ordered steps that lead from what is observed to what is desired. Empty: nothing to do.

    ``notes`` are differences that are left to somebody else or to another run, a sentence each: a server that we do not
    run has to be restarted, its settings are only compared, or a restart was not wanted. ``overrides`` are declared
    settings that another place keeps from being in force: an apply does all the rest, and then fails. ``remarks`` are
    worth knowing, and no difference.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def differs(self) -> bool:
        """Whether the world is not as the spec says, whoever can change that."""
        return bool(self.steps or self.notes or self.overrides)


INTERRUPTED = "interrupted"
"""The error of a step that was broken off: how far it got is not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step; ``seconds`` is how long it took. ``error`` is None when it was done."""

    step: Step
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply did, step by step, and how many seconds it took in all.

    ``notes`` and ``remarks`` are those of the last plan.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Progress(Protocol):
    """Who is told what happens while a plan is applied; :mod:`provision.report` implements it."""

    def planned(self, plan: Plan) -> None:
        """A plan was made and its steps come next; called again when the inside of the server can be seen."""

    def started(self, step: Step) -> None:
        """A step begins."""

    def detail(self, text: str) -> None:
        """Something worth seeing within the running step (a layer of an image, a revision, who is waited for)."""

    def finished(self, outcome: Outcome) -> None:
        """A step ended, well or not."""

    def note(self, text: str) -> None:
        """One line outside of any step (which runtime was chosen, which system user the server runs as)."""
