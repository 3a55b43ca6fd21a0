"""The plan as a value, what became of it, and who is told meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provision.model.effects import Effect
    from provision.model.server import Endpoint
    from provision.model.state import Address, Change, State, Unknown


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
    worth knowing, and no difference. ``unknown`` is what could not be compared because ``--no-commands`` left out what
    tells it. ``partial`` says what was compared only in part, because nothing but a run shows the rest.
    """

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do, as far as that is known."""
        return not self.steps

    @property
    def differs(self) -> bool:
        """Whether the world is not as the spec says, or may not be, whoever can change that."""
        return bool(self.steps or self.notes or self.overrides or self.unknown)


INTERRUPTED = "interrupted"
"""The error of a step that was broken off: how far it got is not known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one step; ``seconds`` is how long it took. ``error`` is None when it was done.

    ``revisions`` says what became of each revision, where a migration failed.
    """

    step: Step
    seconds: float
    error: str | None = None
    revisions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply did, step by step, and how many seconds it took in all.

    ``notes`` and ``remarks`` are those of the last plan, and ``endpoint`` is where the server answered then: None where
    none runs, or nobody looked.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    endpoint: Endpoint | None = None


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
