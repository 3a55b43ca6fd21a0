"""An error as text or as a JSON document: a sentence, the evidence, the next command; and its exit code.

This is the far side of the boundary in :mod:`provision.cli`. What is not a :class:`~provision.errors.ProvisionError`
and not a slip on the command line is a bug of ours: its traceback goes to a log file that only its owner can read.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from provision.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_SPEC,
    EXIT_USAGE,
    Problem,
    ProvisionError,
    SpecError,
    UsageError,
    command,
    with_spec,
)
from provision.model.words import count, shown
from provision.report.console import Console, Paint
from provision.report.words import cells, clean
from provision.version import __version__

WIDEST: Final = 120
NARROWEST: Final = 20
MARGIN: Final = "    "
MOST_EVIDENCE: Final = 20
_CONTINUING: Final = {"apply", "upgrade", "destroy", "migrate upgrade", "migrate downgrade"}
_OR: Final = r"`[^`]*`|\"[^\"]*\"|\([^()]*\)|(?P<or>[;,] (?=or\b))|(?P<comma>, )"
"""Where one alternative ends and the next begins; what is quoted or in parentheses is left alone, and so is a list."""
_TAB: Final = 4
_ALIKE: Final = 0.7
"""So alike is an option that was mistyped, by difflib's measure; what is further off was not meant."""
_ELSEWHERE: Final = {"--dry-run": ("--check", "sql"), "--force": ("--yes",), "-f": ("--yes",), "-y": ("--yes",)}
"""What other programs call it, and ours: an option, or else a verb beside this one."""


def report(
    error: BaseException, console: Console, tell: Callable[[Console, ProvisionError], None] | None = None
) -> int:
    """Show an error on the console, and return the exit code that belongs to it; ``tell`` the pipeline of it too."""
    code, shown_error = _judge(error, console.command)
    shown_error.next_step = shown_error.next_step and shown_error.next_step.line(console.spec, console.tree)
    shown_error.evidence = tuple([with_spec(each, console.spec, console.tree) for each in shown_error.evidence])
    if code == EXIT_INTERRUPTED:
        console.complain("")  # ends the line on which the terminal wrote ^C
    if console.json:
        from provision.report.documents import failure

        console.document(failure(shown_error, code, console.outcomes))
    else:
        paint = console.paint(console.err)
        if console.planned:
            from provision.report.plan import unfinished

            console.complain(*unfinished(console.planned, console.outcomes, shown_error.undone))
        width = max(NARROWEST, min(WIDEST, console.columns(console.err) or WIDEST))
        console.complain(*render(shown_error, paint, width=width, every=console.verbose))
    if tell is not None:
        tell(console, shown_error)
    if console.verbose and code not in {EXIT_USAGE, EXIT_SPEC, EXIT_INTERRUPTED}:
        from traceback import format_exception

        console.complain("".join(format_exception(error)).rstrip())
    return code


def _judge(error: BaseException, line: str) -> tuple[int, ProvisionError]:
    if isinstance(error, ProvisionError):
        return error.exit_code, error
    if isinstance(error, click.ClickException):
        return EXIT_USAGE, _slip(error, line)
    if isinstance(error, KeyboardInterrupt | click.Abort | EOFError):
        again = "   # it continues from what was done so far" if _continues(line) else ""
        next_step = getattr(error, "next_step", f"{line or 'the same command'}{again}")
        evidence = getattr(error, "evidence", ())
        return EXIT_INTERRUPTED, ProvisionError("interrupted", evidence=evidence, next_step=next_step)
    return EXIT_BUG, ProvisionError(
        f"unexpected error, probably a bug in provision: {type(error).__name__}",
        evidence=[f"the details are in {_record(error)}"],
        next_step="look at what is in that file, then report it with the file",
    )


def _continues(line: str) -> bool:
    """Tell whether a command, run again, continues where it was interrupted; the others begin again.

    >>> _continues("provision -v apply"), _continues("provision migrate test"), _continues("provision apply --check")
    (True, False, False)
    """
    words = [word for word in line.split()[1:] if word.startswith("--check") or not word.startswith("-")]
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
    for each in re.finditer(_OR, next_step):
        if each["or"] == "; " or (each["or"] and not is_list):
            found.append(next_step[start : each.start()])
            start = each.end()
        is_list = each["comma"] is not None
    return [*found, next_step[start:]]


def _sentence(error: ProvisionError) -> str:
    if isinstance(error, SpecError):
        files = list(dict.fromkeys(shown(each.path) for each in error.problems))
        verb = "has" if len(files) == 1 else "have"
        return f"{' and '.join(files)} {verb} {count(len(error.problems), 'problem')}"
    return error.sentence


def remarks(found: Sequence[Problem], paint: Paint, *, width: int) -> Iterator[str]:
    """Yield what is right in a file and probably not meant, as :func:`problems` shows what is wrong."""
    yield from problems(found, paint, width=max(NARROWEST, min(WIDEST, width or WIDEST)))


def problems(found: Sequence[Problem], paint: Paint, *, width: int) -> Iterator[str]:
    """Yield each problem of a file: where and what, the line with a caret, and what to write instead."""
    for number, problem in enumerate(found):
        if number:
            yield ""
        path = shown(problem.path)
        where = f"{path}:" if path.startswith("--") else f"{path}:{problem.line}:{problem.column}:"
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


def excerpt(line: str, column: int, width: int) -> tuple[str, str]:
    """Return the line as it is shown in ``width`` cells, and the caret line below it. ``column`` counts from 1."""
    text = clean(line).expandtabs(_TAB)
    position = len(clean(line)[: max(column - 1, 0)].expandtabs(_TAB))
    first, last = _window([cells(each) for each in text], position, width)
    head = "…" if first else ""
    shown_line = head + text[first:last] + ("…" if last < len(text) else "")
    return shown_line.rstrip(), " " * sum(map(cells, head + text[first:position])) + "^"


def _window(sizes: list[int], position: int, width: int) -> tuple[int, int]:
    """Return the part of a line, as (first, last), that fits and holds the position."""
    first, last, used = 0, len(sizes), sum(sizes)
    room = width if used <= width else width - 2  # an ellipsis on each side
    while used > room:
        if position - first >= last - position:
            used -= sizes[first]
            first += 1
        else:
            last -= 1
            used -= sizes[last]
    return first, last


def _slip(error: click.ClickException, line: str) -> UsageError:
    """Return a slip on the command line, which click has noticed, as an error of ours."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    verbs = re.match(r"provision(?: [a-z]+)*(?![^ ])", line)  # an option without its value comes without a context
    path = ctx.command_path if ctx else verbs[0] if verbs else "provision"
    if isinstance(error, click.NoSuchOption):
        return _no_such_option(
            error.option_name, path, [name for each in ctx.command.params for name in each.opts] if ctx else []
        )
    message = error.format_message()
    sentence = message[:1].lower() + message[1:].rstrip(".") if message[:2] != message[:2].upper() else message
    return UsageError(sentence, next_step=f"{path} --help")


def _no_such_option(name: str, path: str, known: list[str]) -> UsageError:
    from difflib import get_close_matches

    sentence = f"there is no option `{name}` here"
    if name == "--no-commands":
        why = f"`{path}` runs what the spec names; `plan`, `validate`, `render`, `status` and `verify` do without"
        return UsageError(f"{sentence}: {why}", next_step=command("plan --no-commands"))
    for ours in _ELSEWHERE.get(name, ()):
        if ours in known:
            return UsageError(f"{sentence}; did you mean `{ours}`?", next_step=f"{path} {ours}")
        group, _, verb = path.rpartition(" ")
        if ours == "sql" and group.endswith(" migrate") and verb in {"upgrade", "downgrade"}:
            return UsageError(f"{sentence}; `{ours}` prints what would be run", next_step=f"{group} {ours}")
    bare = {each.lstrip("-"): each for each in known if each.startswith("--")}
    near = [bare[each] for each in get_close_matches(name.lstrip("-"), bare, n=1, cutoff=_ALIKE)]
    return UsageError(f"{sentence}; did you mean `{near[0]}`?" if near else sentence, next_step=f"{path} --help")


def _record(error: BaseException) -> Path:
    """Write the traceback of an error to a new file that only its owner can read, and return the path.

    Neither the values of variables nor the arguments of the command line are written: either may hold a secret.
    """
    import platform
    from traceback import format_exception

    from platformdirs import user_log_dir

    text = "\n".join(
        (
            f"provision {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"verb: {next((word for word in sys.argv[1:] if word.isalpha()), 'none')}",
            "",
            "".join(format_exception(error)),
        )
    )
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for directory in (Path(user_log_dir("provision", appauthor=False)), Path(tempfile.gettempdir())):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except OSError:
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        return directory / name
    sys.stderr.write(text)
    return Path("the lines above")
