"""What can go wrong, and how it is told.

Every error that a user can meet is a :class:`ProvisionError`: one sentence, the evidence that supports it
(the server's own log line, the line of the spec) and the next command to type. The command line has a single
boundary that prints it and exits with its ``exit_code``; anything else that escapes is a bug of ours (70).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# How a server repeats a statement that failed: with the password that was in it.
_PASSWORD = re.compile(r"(PASSWORD\s+(?:E|U&)?)'(?:[^'\\]|''|\\.)*'", re.IGNORECASE)

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CHANGES_PENDING = 2
EXIT_USAGE = 64
EXIT_SPEC = 65
EXIT_UNAVAILABLE = 69
EXIT_BUG = 70
EXIT_LOCKED = 75
EXIT_INTERRUPTED = 130


class ProvisionError(Exception):
    """An error for the user: ``sentence``, ``evidence`` (lines) and ``next_step`` (a command, or advice).

    ``undone`` are the addresses of steps that were done, and taken back because of it; ``revisions`` says what became
    of each revision of a migration that failed (``applied``, ``undone``, ``failed``, ``not reached``).
    """

    exit_code: ClassVar[int] = EXIT_FAILED
    server_is_gone: bool = False
    """Whether the server or its connection went away, so that what was asked of it is not to blame."""
    undone: tuple[str, ...] = ()
    revisions: Mapping[str, str] = MappingProxyType({})

    def __init__(self, sentence: str, *, evidence: Sequence[str] = (), next_step: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.evidence = tuple(_PASSWORD.sub(r"\1'********'", line) for line in evidence)
        self.next_step = next_step


class StepFailedError(ProvisionError):
    """A step of the plan was tried and failed."""


class MigrationsError(ProvisionError):
    """The Alembic tree is not in order: two heads, two files with one id, an id that only running would tell."""


class NotConvergedError(ProvisionError):
    """Every step was done, and the world still differs from the spec."""


class RefusedError(ProvisionError):
    """What was asked could destroy data or disturb something that is not ours, so nothing was done."""


class CancelledError(ProvisionError):
    """Somebody was asked whether to go on, and interrupted the program instead of an answer."""

    exit_code = EXIT_INTERRUPTED


class UnknownRevisionError(RefusedError):
    """The database is at a revision that this checkout does not have.

    ``tree`` is the name of the migrations, ``unknown`` are the ids, and ``way`` is what may let their files be read.
    Where they come from is looked up by whoever knows the repository, while the error is on its way.
    """

    def __init__(self, tree: str, revisions: Sequence[str], *, evidence: Sequence[str] = (), way: str = "") -> None:
        super().__init__(
            f"the database is at revision {', '.join(revisions)}, which this checkout does not have", evidence=evidence
        )
        self.tree, self.unknown, self._way = tree, tuple(revisions), way
        self.lead("switch to the branch that has it")

    def lead(self, step: str, *evidence: str) -> None:
        """Say where the revision comes from, and take this as the next step, after what else may help."""
        self.evidence = (*self.evidence, *evidence)
        self.next_step = f"{self._way}; else {step}" if self._way else step


class UsageError(ProvisionError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = EXIT_USAGE


class NotRunError(ProvisionError):
    """``--no-commands`` left out what the answer depends on; ``unknown`` says what is not known, and why."""

    exit_code = EXIT_USAGE

    def __init__(self, unknown: str) -> None:
        super().__init__(
            f"--no-commands: {unknown}",
            next_step="where you trust the spec: the same command without --no-commands or PROVISION_NO_COMMANDS",
        )
        self.unknown = unknown


class UnavailableError(ProvisionError):
    """The Docker engine or the server cannot be reached."""

    exit_code = EXIT_UNAVAILABLE


class LockedError(ProvisionError):
    """Somebody else holds the lock, and the time to wait for it is over."""

    exit_code = EXIT_LOCKED


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file, where it stands, and what to write instead.

    ``line`` and ``column`` count from 1; ``text`` is the line itself, without its line break.
    """

    path: Path
    line: int
    column: int
    text: str
    message: str
    suggestion: str | None = None


class SpecError(ProvisionError):
    """The spec is wrong: every problem of the file at once, in the order of its lines."""

    exit_code = EXIT_SPEC

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.column)))
        count = len(self.problems)
        what = "a problem" if count == 1 else f"{count} problems"
        super().__init__(f"{self.problems[0].path} has {what}")
