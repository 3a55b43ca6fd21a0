"""The nouns of the program: what is declared, what is there, and what would lead from one to the other.

*Desired* and *Observed* are both a mapping of :class:`Address` to :class:`State`. An absent thing has no key; a thing
that cannot be seen yet, because the server is down, is :data:`UNKNOWN`. A :class:`Plan` is an ordered tuple of
:class:`Step`, and a step carries the effects (:mod:`provision.model.effects`) that only :mod:`provision.apply`
performs. Everything here is a frozen value that compares with ``==`` and can be printed without giving a secret away.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, IntEnum, StrEnum
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from provision.model.value import dataclass, field, fields
from provision.model.words import socket_address

if TYPE_CHECKING:
    from pathlib import Path

    from provision.model.cluster import Cluster
    from provision.model.ssh import Way

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

    def renew(self, refused: str) -> bool:
        """Tell whether it is another text by now than one that a server has refused; a token expires."""
        del refused
        return False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal().encode(), other.reveal().encode())

    def __hash__(self) -> int:
        return hash((Secret, self.reveal()))

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __reduce__(self) -> NoReturn:
        message = "a secret is not serialised"
        raise TypeError(message)


UNREAD = Secret("")
"""Stands for a password that was not read; none is empty."""


class Address(NamedTuple):
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


@dataclass(frozen=True)
class File(State):
    """A file with its whole content."""

    path: Path
    content: str | Secret
    mode: int = 0o644


class Unknown(Enum):
    """The type of :data:`UNKNOWN`, so that type checkers can tell it from a state."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown.UNKNOWN
"""What cannot be seen yet. It is not the same as absent."""

MAINTENANCE = "postgres"
"""The database to be in where the declared one does not matter or does not exist."""
OWN_DATABASES = "provision_(scratch|snapshot|replaced|clone|template)_"
"""How the names of databases begin that we make beside the declared ones, as a regular expression.

No such database is declared, imported, judged, or taken for one of somebody else: scratch databases
(:mod:`provision.system.scratch`), snapshots, what a restore or a reset has replaced, and copies for tests.
"""
SCRATCH, SNAPSHOT, REPLACED, CLONE, TEMPLATE = [
    f"provision_{each}_" for each in ("scratch", "snapshot", "replaced", "clone", "template")
]
LEFT_COPIES = f"""(datname ~ '^({SNAPSHOT}|{REPLACED}).*_[0-9a-f]{{8}}$'
    AND coalesce(shobj_description(oid, 'pg_database'), '') !~ '^{{"provision":')"""
"""Whether a row of ``pg_database`` is a copy that a run has left which was killed, in SQL.

Any version of ours begins the comment of what it keeps like that, and makes up such an end of the name.
"""
NOT_KNOWN = "?"
"""What stands in text and documents for what was not looked at."""

Desired = Mapping[Address, State]
Observed = Mapping[Address, State | Unknown]


@dataclass(frozen=True)
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
        return "''" if before == "" else before, "''" if after == "" else after

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
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "absent"
    return str(value)


def changes(before: State, after: State) -> tuple[Change, ...]:
    """Return the fields of two states of the same type that differ.

    Mappings are compared key by key; of two sets, only what one of them lacks is shown.
    """
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
        elif isinstance(old, frozenset) and isinstance(new, frozenset):
            found.append(Change(name, _text(old - new), _text(new - old)))
        else:
            found.append(Change(name, _text(old), _text(new), size=isinstance(new, Size)))
    return tuple(found)


class Effect:
    """Base of what an apply can do; ``str`` says it in a few words, without contents, scripts and request bodies."""

    __slots__ = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """The words, and below them what is worth a line of its own."""
        return (str(self),)


class Action(StrEnum):
    """What a step does to its address, from the least to the most disruptive."""

    CREATE = "create"
    GRANT = "grant"
    UPDATE = "update"
    RELOAD = "reload"
    START = "start"
    MIGRATE = "migrate"
    SEED = "seed"
    REVOKE = "revoke"
    STOP = "stop"
    RESTART = "restart"
    RECREATE = "recreate"
    REMOVE = "remove"


class Stage(IntEnum):
    """When a step inside a server comes: what takes rights away first, what removes objects last.

    So at no moment does a role have a right that neither the state before nor the one after gives.
    """

    REVOKE = 0
    CHANGE = 1
    DROP = 2


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    ``why`` are the differing fields, or a sentence where there is no field; ``consequence`` is what people will
    notice; ``destroys`` is true when data goes away. After a step with ``reveals`` the world has to be observed again
    before more is done: the server was started, and its inside can be seen now. A step that stands only for what is
    to come then (its ``effects`` are empty) is shown, and planned anew. ``clients`` is how many connected clients lose
    their connection. ``stage`` orders the steps inside a server before their kinds do. ``title`` says in place of the
    address what the step is about; steps with the same action and title are shown together.
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
    stage: Stage = Stage.CHANGE
    title: str = ""


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line, beside what the spec says.

    ``no_restart``: leave for later what would restart or recreate a server that runs. ``reset_overrides``: take back
    what ``ALTER SYSTEM`` has set. ``data``: remove also what holds data, where the spec says that it is absent.
    ``take_ownership``: give the role of the migrations what earlier ones made as another. ``golden``: save one of what
    was made; False: use none either. ``seed``: run seeds also on a server that others run, and those of ``run: always``
    where nothing else changes; ``seeded`` are the names of those that this run has done. ``restart_cluster``: have
    Patroni restart the members that wait for it.
    """

    no_restart: bool = False
    reset_overrides: bool = False
    data: bool = False
    take_ownership: bool = False
    golden: bool | None = None
    seed: bool = False
    seeded: frozenset[str] = frozenset()
    restart_cluster: bool = False


@dataclass(frozen=True)
class Begun:
    """The golden that new data begins with; without a ``key``, none.

    ``revisions`` maps the trees that it has to their version rows, ``remaining`` is how many revisions it lacks,
    ``text`` is the golden in words, and ``rejected`` says of others why they do not fit. ``golden``, and ``wanted``,
    what the data is made of, are those of :mod:`provision.golden`.
    """

    key: str = ""
    level: int = 0
    revisions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remaining: int = 0
    text: str = ""
    rejected: tuple[str, ...] = ()
    golden: Any = field(default=None, repr=False)
    wanted: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """The ordered steps that lead from what is observed to what is desired. Empty: nothing to do.

    ``notes`` are differences that are left to somebody else or to another run, a sentence each: a server that we do not
    run has to be restarted, its settings are only compared, or a restart was not wanted. ``overrides`` are declared
    settings that another place keeps from being in force: an apply does all the rest, and then fails. ``remarks`` are
    worth knowing, and no difference. ``unknown`` is what could not be compared because ``--no-commands`` left out what
    tells it. ``partial`` says what was compared only in part, because nothing but a run shows the rest.
    """

    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    @classmethod
    def joined(cls, parts: Sequence[Plan]) -> Plan:
        """Return what several plans have, one after the other."""
        return cls(*[tuple(chain.from_iterable(getattr(part, each.name) for part in parts)) for each in fields(cls)])

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do, as far as that is known."""
        return not self.steps

    @property
    def differs(self) -> bool:
        """Whether the world is not as the spec says, or may not be, whoever can change that."""
        return bool(self.steps or self.notes or self.overrides or self.unknown)


def starts_server(steps: Iterable[Step]) -> bool:
    """Tell whether steps of a runtime start its server, also by replacing or restarting it."""
    return any(step.address.kind in ("container", "process") and step.action is not Action.UPDATE for step in steps)


INTERRUPTED = "interrupted"
"""The error of a step that was broken off: how far it got is not known."""


@dataclass(frozen=True)
class Outcome:
    """What became of one step; ``seconds`` is how long it took. ``error`` is None when it was done.

    ``revisions`` says what became of each revision, where a migration failed.
    """

    step: Step
    seconds: float
    error: str | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What an apply did, step by step, and how many seconds it took in all.

    ``notes`` and ``remarks`` are those of the last plan, and ``endpoint`` is where the server answered then: None where
    none runs, or nobody looked. ``begun`` is the golden that the data was made from, and ``reads`` what the code of
    trees has read that have run, by their names.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    begun: Begun | None = None
    reads: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Progress:
    """Follows what happens while a plan is carried out. This one ignores it; a subclass shows what it wants."""

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


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens and how to log in; ``database`` is the declared one.

    ``sslmode`` and ``sslrootcert`` are libpq's: https://www.postgresql.org/docs/current/libpq-ssl.html ``connection``
    are its other parameters that were declared, by name.
    ``is_ours``: provision runs the server, and can change how to log in. ``role`` is what our sessions are set to once
    they have logged in; a URL does not say it. ``hosts`` are all of a cluster, of which one takes writes; empty: there
    is only ``host``. ``direct`` is another address of the same server, where there is a quicker one.
    """

    host: str
    port: int
    user: str
    password: Secret
    database: str
    sslmode: str = "prefer"
    sslrootcert: Path | None = None
    is_ours: bool = True
    role: str | None = None
    connection: tuple[tuple[str, str], ...] = ()
    hosts: tuple[tuple[str, int], ...] = ()
    direct: tuple[str, int] | None = None

    @property
    def declared_options(self) -> str:
        """What the spec says of libpq's ``options``."""
        return dict(self.connection).get("options", "")

    @property
    def places(self) -> tuple[tuple[str, int], ...]:
        """Every host and its port, in the order in which they are tried."""
        return self.hosts or ((self.host, self.port),)

    @property
    def host_list(self) -> str:
        """The value of libpq's ``host``.

        https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
        """
        return ",".join([host for host, _ in self.places])

    @property
    def port_list(self) -> str:
        """The value of libpq's ``port``."""
        return ",".join([str(port) for _, port in self.places])

    @property
    def session_attrs(self) -> str:
        """The value of libpq's ``target_session_attrs``."""
        return "read-write" if self.hosts else "any"

    @property
    def options(self) -> str:
        """Libpq's ``options``: those that are declared, and what sets the role."""
        return f"{self.declared_options} {self.role_option}".strip()

    @property
    def role_option(self) -> str:
        """The one of libpq's ``options`` that sets the role.

        A setting ``role`` of a database or a login does not reach ours. That of a server that others run may be meant,
        and a pooler before it may take no options: there it counts.
        """
        if self.role is None:
            return "-c role=none" if self.is_ours else ""
        return "-c role=" + re.sub(r"([\s\\])", r"\\\1", self.role)

    @property
    def address(self) -> str:
        """``127.0.0.1:5432``, or ``[::1]:5432``; those of a cluster with commas between them."""
        return ", ".join([socket_address(host, port) for host, port in self.places])

    @property
    def lasting(self) -> Endpoint | None:
        """The address that is still one when this process has ended; None while there is none."""
        return self

    @property
    def way(self) -> Way | None:
        """The tunnel that leads there; None: no tunnel does."""
        return None

    def complaints(self) -> tuple[str, ...]:
        """Return what is known of the way to the server, where a connection fails."""
        return ()

    def begin(self) -> None:
        """Begin what leads there, and do not wait for it."""

    def require_lasting(self) -> Endpoint:
        """Return the address that is still one when this process has ended."""
        return self

    def url(self, *, masked: bool = False, driver: str | None = None) -> str:
        """Return the connection URL, percent-encoded, with its password or a mask in place of it.

        ``driver`` is one of :data:`provision.model.drivers.DRIVERS`; each wants its URL in a way of its own.

        Raises:
            provision.errors.UsageError: there is no such driver.
        """
        from urllib.parse import quote

        from provision.model import drivers

        password = str(self.password) if masked else quote(self.password.reveal(), safe="")
        tls = {"sslmode": self.sslmode, "sslrootcert": str(self.sslrootcert or "")}
        where = drivers.Where(self.places, self.user, self.database)
        return drivers.url(driver, where, {**tls, **dict(self.connection)}, password=password)


TenantGroup = tuple[tuple[str, ...] | None, tuple[str, ...]]


@dataclass(frozen=True)
class Status:
    """The server in a few words for people.

    ``server`` is running, stopped, paused, restarting, absent or unreachable, ``detail`` the words of the engine or
    the server where there is trouble. ``process`` is its number and system user, where it is one of this machine.
    ``clients`` is how many others are connected. ``started`` is ISO 8601. ``revisions`` maps a tree's name to its
    version rows; of one with tenants, ``tenants`` maps it to groups of version rows and the tenants that have them,
    the last one with None for those that do not exist or cannot be entered.
    ``cluster`` is the one that Patroni runs, where the spec has one.
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
    tenants: Mapping[str, tuple[TenantGroup, ...]] = field(default_factory=lambda: MappingProxyType({}))
    cluster: Cluster | None = None


class Proof(StrEnum):
    """What a login shows of a password; UNKNOWN: this server does not ask for one from here, or not by SCRAM."""

    RIGHT = "right"
    WRONG = "wrong"
    MD5 = "md5"
    UNKNOWN = "unknown"


class Query(Protocol):
    """Read-only questions to the server, over one connection per database."""

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement; ``database`` None is the declared one.

        Raises:
            provision.errors.UnavailableError: the server cannot be reached.
        """


class Session(Query, Protocol):
    """Questions, and what the server says of itself at every login."""

    def reported(self, name: str, *, database: str | None = None) -> str:
        """Return a parameter that the server reports at every login (``server_version``), without asking for it.

        Raises:
            provision.errors.UnavailableError: the server cannot be reached.
        """

    def recognise_pooler(self, pid: int, *, database: str) -> None:
        """Find out whether a pooler is between us and the backend ``pid``, which has answered."""

    def proves(self, role: str, password: Secret) -> Proof:
        """Log in as another role, and return what that shows of its password."""
