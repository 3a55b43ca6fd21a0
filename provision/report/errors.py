"""An error as text or as a JSON document: a sentence, the evidence, the next command; and its exit code.

This is the far side of the boundary in :mod:`provision.cli`. What is not a :class:`~provision.errors.ProvisionError`
and not a slip on the command line is a bug of ours: its traceback goes to a log file that only its owner can read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import click

from provision.errors import EXIT_BUG, EXIT_INTERRUPTED, EXIT_SPEC, EXIT_USAGE, ProvisionError, SpecError, with_spec
from provision.model.words import count, shown
from provision.report.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provision.errors import Problem
    from provision.report.console import Console, Paint

WIDEST: Final = 120
NARROWEST: Final = 20
MARGIN: Final = "    "
MOST_EVIDENCE: Final = 20
_CONTINUING: Final = {"apply", "upgrade", "destroy", "migrate upgrade", "migrate downgrade"}
_OR: Final = re.compile(r"`[^`]*`|\"[^\"]*\"|\([^()]*\)|(?P<or>[;,] (?=or\b))|(?P<comma>, )")
"""Where one alternative ends and the next begins; what is quoted or in parentheses is left alone, and so is a list."""


def tell(error: BaseException, console: Console) -> int:
    """Show an error to whoever asked, and return the exit code that belongs to it."""
    code, told = _judge(error, console.command)
    told.next_step = told.next_step and told.next_step.line(console.spec or "", console.tree)
    told.evidence = tuple([with_spec(each, console.spec or "", console.tree) for each in told.evidence])
    if code == EXIT_INTERRUPTED:
        console.complain("")  # ends the line on which the terminal wrote ^C
    if console.json:
        from provision.report.documents import failure

        console.document(failure(told, code, console.outcomes))
    else:
        paint = console.paint(console.err)
        if console.planned:
            from provision.report.text import unfinished

            for text in unfinished(console.planned, console.outcomes, told.undone):
                console.complain(text)
        for text in render(told, paint, width=_width(), every=console.verbose):
            console.complain(text)
    if console.verbose and code not in {EXIT_USAGE, EXIT_SPEC, EXIT_INTERRUPTED}:
        from traceback import format_exception

        console.complain("".join(format_exception(error)).rstrip())
    return code


def _judge(error: BaseException, command: str) -> tuple[int, ProvisionError]:
    if isinstance(error, ProvisionError):
        return error.exit_code, error
    if isinstance(error, click.ClickException):
        from provision.report.usage import told

        return EXIT_USAGE, told(error)
    if isinstance(error, KeyboardInterrupt | click.Abort | EOFError):
        again = "   # it continues from what was done so far" if _continues(command) else ""
        return EXIT_INTERRUPTED, ProvisionError("interrupted", next_step=f"{command or 'the same command'}{again}")
    return EXIT_BUG, _bug(error)


def _continues(command: str) -> bool:
    """Tell whether a command, run again, continues where it was interrupted; the others begin again.

    >>> _continues("provision -v apply"), _continues("provision migrate test"), _continues("provision apply --check")
    (True, False, False)
    """
    words = [word for word in command.split()[1:] if word.startswith("--check") or not word.startswith("-")]
    verb = " ".join(words[: 2 if words[:1] == ["migrate"] else 1])
    return verb in _CONTINUING and "--check" not in words


def render(error: ProvisionError, paint: Paint, *, width: int, every: bool = False) -> Iterator[str]:
    """Yield the lines of an error: the sentence, the evidence indented, and the next command."""
    if isinstance(error, SpecError):
        yield from problems(error.problems, paint, width=width)
        yield ""
    first, *rest = clean_lines(_sentence(error)) or [type(error).__name__]
    yield f"{paint('alarm', 'error:')} {paint('bold', first)}"
    yield from (f"       {line}" for line in rest)
    evidence = [line for text in error.evidence for line in clean_lines(text)]
    if not every and len(evidence) > MOST_EVIDENCE:
        yield f"{MARGIN}… {len(evidence) - MOST_EVIDENCE} lines before these (-v shows them)"
        evidence = evidence[-MOST_EVIDENCE:]
    yield from (f"{MARGIN}{line}" for line in evidence)
    yield from next_lines(error.next_step, paint)


def next_lines(next_step: str | None, paint: Paint) -> Iterator[str]:
    """Yield what to do next, each alternative on a line of its own."""
    first, *others = alternatives(next_step or "")
    if first:
        yield f"{paint('cyan', 'next:')} {first}"
        yield from (f"      {each}" for each in others)


def alternatives(next_step: str) -> list[str]:
    """Return what a next step leaves to choose from.

    >>> alternatives("wait for it, or give it more time (`timeout`, or `all`); then: provision apply")
    ['wait for it', 'or give it more time (`timeout`, or `all`); then: provision apply']
    """
    found, start, is_list = [], 0, False
    for each in _OR.finditer(next_step):
        if each["or"] == "; " or (each["or"] and not is_list):
            found.append(next_step[start : each.start()])
            start = each.end()
        is_list = each["comma"] is not None
    return [*found, next_step[start:]]


def _sentence(error: ProvisionError) -> str:
    if isinstance(error, SpecError):
        return f"{shown(error.problems[0].path)} has {count(len(error.problems), 'problem')}"
    return error.sentence


def problems(found: Sequence[Problem], paint: Paint, *, width: int) -> Iterator[str]:
    """Yield each problem of a file: where and what, the line with a caret, and what to write instead."""
    from provision.report.source import excerpt

    for number, problem in enumerate(found):
        if number:
            yield ""
        where = f"{shown(problem.path)}:{problem.line}:{problem.column}:"
        yield f"{paint('bold', where)} {clean(problem.message)}"
        if problem.text.strip():
            line, caret = excerpt(problem.text, problem.column, width - len(MARGIN))
            yield f"{MARGIN}{line}"
            yield f"{MARGIN}{paint('red', caret)}"
        if problem.suggestion:
            yield f"{MARGIN}{paint('cyan', clean(problem.suggestion))}"


def clean_lines(text: str) -> list[str]:
    """Return the lines of a text from elsewhere, fit for a terminal."""
    return [clean(line) for line in text.splitlines()]


def _width() -> int:
    try:
        return max(NARROWEST, min(WIDEST, os.get_terminal_size(2).columns))
    except OSError:
        return WIDEST


def _bug(error: BaseException) -> ProvisionError:
    from provision.report.crash import record

    return ProvisionError(
        f"unexpected error, probably a bug in provision: {type(error).__name__}",
        evidence=[f"the details are in {record(error)}"],
        next_step="report it with that file, after a look at what is in it",
    )
