"""What can exist: one module a kind. :mod:`provision.kinds.table` lists them, and :class:`Kind` says what each offers.

A kind decides, and does nothing itself: what it may read comes in as a :class:`Look`, and what is to be done goes out
as steps. Kinds that need the same rows share one question (:meth:`Look.once`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from provision.model import (
    MAINTENANCE,
    Address,
    Desired,
    Effect,
    File,
    Observed,
    Plan,
    Proof,
    Query,
    Secret,
    Session,
    State,
    Unknown,
    Wishes,
)
from provision.model.value import dataclass, field, replace

if TYPE_CHECKING:
    from provision.alembic import Graph
    from provision.model.cluster import Cluster, Member
    from provision.model.effects import RunLocalSql
    from provision.seeds.files import Sources
    from provision.spec.model import Migrations, Spec

Files = Mapping[str, File]
Before = State | Unknown | None
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """What a spec refers to outside itself, read from the world before anything is decided.

    ``templates`` maps names to texts, ``graphs`` the names of the migrations to their revisions. ``rendered`` are the
    texts that the last run rendered, by the file's name, and ``memo`` tells from what, so that the same is not rendered
    again. ``passwords`` are those of the declared roles by name. ``seeds`` are the files and programs of the seeds;
    None: there are none.
    """

    runtime: str
    templates: Mapping[str, str]
    port: int
    password: Secret
    graphs: Mapping[str, Graph] = field(default_factory=dict)
    rendered: Mapping[str, str] = field(default_factory=dict)
    memo: str | None = None
    passwords: Mapping[str, Secret] = field(default_factory=dict)
    seeds: Sources | None = None


@dataclass(frozen=True)
class Ground:
    """What a kind may build on: how the server's home does what only it can do.

    ``publish`` brings a newly rendered configuration to where the server reads it (nothing to do where it is mounted);
    ``restart`` restarts the server in place; ``local_sql`` runs a script, with a verifier of a password in it, over the
    server's own socket; ``starting`` is true when the plan (re)starts the server anyway, which then reads its settings;
    ``restart_destroys`` is true when the data is in memory and goes with the server. ``superuser`` is the name
    that the superuser was given, where that is known; ``admitting`` is the command that lets logins from here in again.
    """

    publish: tuple[Effect, ...]
    restart: tuple[Effect, ...]
    local_sql: Callable[[str, Secret], RunLocalSql]
    starting: bool
    restart_destroys: bool = False
    superuser: str = ""
    admitting: str = ""


@dataclass(frozen=True)
class Scene:
    """What a kind plans with, beside the two states."""

    spec: Spec
    inputs: Inputs
    ground: Ground
    wishes: Wishes


class UnseenError(Exception):
    """A kind asks the server, which cannot be asked now. What the kind wants is UNKNOWN then."""


class _Answer:
    """What a question comes to that is asked in a thread of its own."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._found: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._ask()
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is needed
            self._error = error

    def wait(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found


@dataclass(frozen=True)
class Look:
    """What a kind may look at. It asks the server like a :class:`~provision.model.Session`.

    ``text`` and ``mode`` read a file and its permission bits. ``login`` is what the declared login came to:
    ``accepted``, or how the server refuses it; empty where none answers, None where nobody tried. ``has_database``
    tells whether the server has the declared database: None where that is not known; ``is_closed``: it lets nothing in.
    ``session`` is None where nothing can be asked. ``config_file`` is the path of the configuration as the server
    sees it. ``own`` asks as the login of a tree, in its database; ``tenants`` asks where those of a tree are.
    ``cluster`` returns the one of the server, where the spec names one, and ``member`` asks one of its servers.
    """

    spec: Spec
    inputs: Inputs
    wanted: Desired
    config_file: str
    text: Callable[[Path], str | None]
    mode: Callable[[Path], int]
    login: str | None = ""
    has_database: bool | None = None
    is_closed: bool = False
    session: Session | None = None
    own: Callable[[Migrations], Query] | None = None
    tenants: Callable[[Look, Migrations], State] | None = None
    cluster: Callable[[], Cluster] | None = None
    member: Callable[[Member], Session] | None = None
    _answers: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def on(self, member: Member) -> Look:
        """Return a look that asks one server of the cluster, in a database that each has.

        Raises:
            UnseenError: it does not say where it listens.
        """
        session = self.member(member) if self.member is not None else None
        return replace(self, session=session, has_database=False)

    @property
    def database(self) -> str:
        """The database that is asked: the declared one, or the maintenance database while that cannot be entered."""
        return self.spec.server.database if self.has_database and not self.is_closed else MAINTENANCE

    def once(self, question: Callable[Concatenate[Look, P], T], *about: P.args, **named: P.kwargs) -> T:
        """Return the answer to a question ``about`` something; kinds that ask the same one share it."""
        key = (question, about)
        if key not in self._answers:
            self._answers[key] = question(self, *about, **named)
        if isinstance(self._answers[key], _Answer):
            self._answers[key] = self._answers[key].wait()
        answer: T = self._answers[key]
        return answer

    def ahead(self, question: Callable[Concatenate[Look, P], T], *about: P.args, **named: P.kwargs) -> None:
        """Begin to ask what :meth:`once` will be asked, of a database where we are already: the server works meanwhile.

        What goes wrong is raised by :meth:`once`.
        """
        if (question, about) not in self._answers:
            self._answers[question, about] = _Answer(lambda: question(self, *about, **named))

    def rows(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Return the rows of one statement.

        Raises:
            UnseenError: the server cannot be asked.
        """
        return self._session.rows(sql, parameters, database=database or self.database)

    def reported(self, name: str, *, database: str | None = None) -> str:
        """Return a parameter that the server reports at every login, without asking for it.

        Raises:
            UnseenError: the server cannot be asked.
        """
        return self._session.reported(name, database=database or self.database)

    def recognise_pooler(self, pid: int) -> None:
        """See whether a pooler is between us and the backend that has answered.

        Raises:
            UnseenError: the server cannot be asked.
        """
        self._session.recognise_pooler(pid, database=self.database)

    def proves(self, role: str, password: Secret) -> Proof:
        """Return what a login as a role shows of its password.

        Raises:
            UnseenError: the server cannot be asked.
        """
        return self._session.proves(role, password)

    @property
    def _session(self) -> Session:
        if self.session is None:
            raise UnseenError
        return self.session


class Kind(Protocol):
    """What the module of a kind offers."""

    KIND: str

    def wanted(self, spec: Spec, inputs: Inputs, files: Files, /) -> Mapping[Address, State]:
        """Return what the spec asks for, in the order of its steps; ``files`` are the rendered ones by name.

        Raises:
            ProvisionError: that cannot be said, because something that the spec refers to is wrong.
        """

    def seen(self, look: Look, /) -> Observed:
        """Return what is there.

        Raises:
            UnseenError: the server cannot be asked.
            ProvisionError: it answers with an error.
        """

    def steps(self, address: Address, before: Before, after: State | None, scene: Scene, /) -> Plan:
        """Return the steps from one state to the other, and what is to be said about it.

        Raises:
            RefusedError: they would cost data, or need what the login may not do.
        """
