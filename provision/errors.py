"""The errors that a user can meet: a sentence, the evidence for it, and what to do next.

The command line has a single boundary that prints an error and exits with its ``exit_code``; anything else that
escapes is a bug of ours (70).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

from provision.environ import NO_COMMANDS

# How a server repeats a statement that failed: with the password that was in it.
_CREDENTIAL = r"(?i)(PASSWORD\s+(?:E|U&)?)'(?:[^'\\]|''|\\.)*'"

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CHANGES_PENDING = 2
EXIT_USAGE = 64
EXIT_SPEC = 65
EXIT_UNAVAILABLE = 69
EXIT_BUG = 70
EXIT_LOCKED = 75
EXIT_INTERRUPTED = 130


class Command(NamedTuple):
    """A command of ours: ``verb`` with its options, then the spec, then ``rest``."""

    verb: str
    rest: str = ""

    def line(self, spec: str = "", tree: str = "") -> str:
        """Return what to type; ``tree`` names one of several trees of migrations."""
        chosen = f"--tree {tree}" if tree and self.verb.startswith("migrate ") and "--tree" not in self.rest else ""
        return " ".join(word for word in ("provision", self.verb, chosen, spec, self.rest) if word)


class NextStep(str):  # noqa: SLOT000  # a text that keeps its parts
    """Advice that knows which parts of it are commands of ours, so that it can name the spec in them.

    As a text it reads without the spec: ``correct it, then: provision apply``.
    """

    parts: tuple[str | Command, ...]

    def __new__(cls, *parts: str | Command) -> Self:  # noqa: D102
        flat = tuple(each for part in parts for each in (part.parts if isinstance(part, NextStep) else (part,)))
        step = super().__new__(cls, "".join(each.line() if isinstance(each, Command) else each for each in flat))
        step.parts = flat
        return step

    def line(self, spec: str = "", tree: str = "") -> str:
        """Return the advice with the path of the spec, as the user typed it, in each command of ours."""
        return "".join(each.line(spec, tree) if isinstance(each, Command) else each for each in self.parts)

    def __add__(self, other: str) -> NextStep:
        return NextStep(self, other)

    def __radd__(self, other: str) -> NextStep:
        return NextStep(other, self)

    def instead(self, verb: str, other: str) -> NextStep:
        """Return the advice with another verb in place of one."""
        return NextStep(
            *[
                each._replace(verb=other) if isinstance(each, Command) and each.verb == verb else each
                for each in self.parts
            ]
        )

    def wording(self, change: Callable[[str], str]) -> NextStep:
        """Return the advice with the text around its commands changed."""
        return NextStep(*[each if isinstance(each, Command) else change(each) for each in self.parts])

    def replaced(self, old: str, new: str) -> NextStep:
        """Return the advice with a text, or advice, in place of a text; its commands unchanged."""
        parts: list[str | Command] = []
        for each in self.parts:
            first, *others = [each] if isinstance(each, Command) else each.split(old)
            parts += [first, *(part for other in others for part in (new, other))]
        return NextStep(*parts)


AGAIN = "run the same command again"
CONTINUES = ": it continues from what is applied"
"""What advice about revisions ends in, where what was applied stays."""
APPLIED = "applied now: "
"""What the evidence of such an error begins with."""


def command(verb: str, rest: str = "") -> NextStep:
    """Write a command of ours as advice.

    It can be joined with text: ``"correct it, then: " + command("apply")``.
    """
    return NextStep(Command(verb, rest))


def as_word(text: object) -> str:
    """Return a text, such as a path, as one word of a line that is typed into a shell."""
    from shlex import quote

    return quote(str(text))


def with_spec(text: str, spec: str, tree: str = "") -> str:
    """Return a text with the path of the spec in the commands of ours that it is known to hold."""
    return text.line(spec, tree) if isinstance(text, NextStep) else text


def _without_password(text: str) -> str:
    return text if isinstance(text, NextStep) else re.sub(_CREDENTIAL, r"\1'********'", text)


class ProvisionError(Exception):
    """An error for the user: ``sentence``, ``evidence`` (lines) and ``next_step`` (a command, or advice).

    ``undone`` are the addresses of steps that were done, and taken back because of it; ``revisions`` says what became
    of each revision of a migration that failed (``applied``, ``undone``, ``failed``, ``not reached``).
    """

    exit_code: ClassVar[int] = EXIT_FAILED
    server_is_gone: bool = False
    """Whether the server or its connection went away, so that what was asked of it is not to blame."""
    is_taken: bool = False
    """Whether others have what a step takes: a name, a port, the data."""
    taken_port: int | None = None
    """The port that others have, where that is what is taken."""
    undone: tuple[str, ...] = ()
    revisions: Mapping[str, str] = MappingProxyType({})

    def __init__(self, sentence: str, *, evidence: Sequence[str] = (), next_step: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.evidence = tuple([_without_password(line) for line in evidence])
        self.next_step = next_step

    @property
    def next_step(self) -> NextStep | None:
        """What to do now; None where nothing is known to help."""
        return self._next_step

    @next_step.setter
    def next_step(self, step: str | None) -> None:
        self._next_step = NextStep(step) if step else None


@contextmanager
def translated(*causes: type[BaseException], into: ProvisionError) -> Iterator[None]:
    """Raise ``into`` in place of a cause, whose words become its evidence, a line each."""
    try:
        yield
    except causes as cause:
        words = str(getattr(cause, "explanation", None) or cause)  # the engine's own words, where it has some
        into.evidence = (*into.evidence, *map(_without_password, words.splitlines()))
        raise into from cause


class StepFailedError(ProvisionError):
    """A step of the plan was tried and failed."""


class TenantsFailedError(StepFailedError):
    """Some tenants of a tree could not be migrated; ``failures`` are their errors, by their names."""

    def __init__(
        self, sentence: str, failures: Mapping[str, ProvisionError], *, evidence: Sequence[str], next_step: str | None
    ) -> None:
        super().__init__(sentence, evidence=evidence, next_step=next_step)
        self.failures = dict(failures)
        self.server_is_gone = any(each.server_is_gone for each in self.failures.values())


class RacedError(StepFailedError):
    """Another session changed the same, or holds it: nothing was changed, and another look may show it done.

    ``is_busy``: something was locked for longer than a statement waits.
    """

    is_busy = False


class MigrationsError(ProvisionError):
    """The Alembic tree is not in order: two heads, two files with one id, an id that only running would tell."""


class NotConvergedError(ProvisionError):
    """Every step was done, and the world still differs from the spec."""


class RefusedError(ProvisionError):
    """What was asked could destroy data or disturb something that is not ours, so nothing was done."""


class CancelledError(ProvisionError):
    """The user interrupted a question instead of answering it."""

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
        self.tree, self.unknown, self.way = tree, tuple(revisions), way
        self.lead("switch to the branch that has it")

    def lead(self, step: str, *evidence: str) -> None:
        """Say where the revision comes from, and take this as the next step, after what else may help."""
        self.evidence = (*self.evidence, *evidence)
        self.next_step = NextStep(self.way) + "; else " + NextStep(step) if self.way else step


class UsageError(ProvisionError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = EXIT_USAGE


class NotRunError(ProvisionError):
    """``--no-commands`` left out what the answer depends on; ``unknown`` says what is not known, and why."""

    exit_code = EXIT_USAGE

    def __init__(self, unknown: str) -> None:
        super().__init__(
            f"--no-commands: {unknown}",
            next_step="where you trust the spec: the same command without --no-commands or " + NO_COMMANDS,
        )
        self.unknown = unknown


class UnavailableError(ProvisionError):
    """The Docker engine or the server cannot be reached."""

    exit_code = EXIT_UNAVAILABLE


class LockedError(ProvisionError):
    """Another run holds the lock, and the time to wait for it is over."""

    exit_code = EXIT_LOCKED


class Problem(NamedTuple):
    """One thing that is wrong in a file, its place, and what to write instead.

    ``line`` and ``column`` count from 1; ``text`` is the line itself, without its line break.
    """

    path: Path
    line: int
    column: int
    text: str
    message: str
    suggestion: str | None = None


class SpecError(ProvisionError):
    """The spec is wrong: every problem at once, file by file, in the order of its lines."""

    exit_code = EXIT_SPEC

    base: Path | None = None
    """The file that the spec extends."""
    is_incomplete = False
    """Whether a key that every spec needs is not there, so that it may be a base of others."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        paths = list(dict.fromkeys(each.path for each in problems))
        self.problems = tuple(sorted(problems, key=lambda p: (paths.index(p.path), p.line, p.column)))
        count = len(self.problems)
        what = "a problem" if count == 1 else f"{count} problems"
        verb = "has" if len(paths) == 1 else "have"
        super().__init__(f"{' and '.join(map(str, paths))} {verb} {what}")
