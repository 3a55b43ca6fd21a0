"""What each command tells GitHub Actions: annotations as workflow commands, and its part of the step's summary.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
The runner takes commands from both streams of a step. They go where the text goes, and to standard error where
standard output is for a program. A summary of a step has at most 1 MiB, else the whole of it is dropped: so it is text
as Markdown that it cannot break, cut where GitHub takes no more.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from provision.errors import EXIT_CHANGES_PENDING, Problem, ProvisionError
from provision.report.console import PLAIN, Console
from provision.report.pipelines import notes
from provision.report.pipelines.notes import Level, Note, relative, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provision.alembic import Checked, Comparison, Law, Linted, Script, Tree
    from provision.model import Result
    from provision.observe import Survey
    from provision.verification import Verification


def failed(console: Console, error: ProvisionError) -> None:
    """Tell an error at the place that it names."""
    from provision.report.errors import WIDEST, render

    lines = render(error, PLAIN, width=WIDEST)
    found = notes.of_error(error, console.verb, str(error.next_step or ""))
    tell(console, found, [_verdict(console, "failed", lines)])


def validated(console: Console, path: str, remarks: Sequence[Problem]) -> None:
    """Tell what is right in a spec and probably not meant."""
    tell(console, notes.of_problems(remarks, "warning"), [_verdict(console, f"{path} is valid")])


def planned(console: Console, seen: Survey, scripts: Callable[[], Sequence[Script]]) -> None:
    """Tell a plan: what it destroys beside the spec, all of it and its SQL in the summary."""
    from provision.report.plan import left, lines, total

    found, name = notes.of_plan(seen), seen.spec.name
    if seen.plan.is_empty and not seen.plan.unknown:
        tell(console, found, [_verdict(console, f"{name}: nothing to do", left(seen.plan, PLAIN))])
        return
    steps = [line.removeprefix("  ") for line in lines(seen.plan, PLAIN)]
    tell(console, found, [_verdict(console, f"{name}: {total(seen.plan)}", steps, "diff"), *_sql(scripts)])


def _sql(scripts: Callable[[], Sequence[Script]]) -> Iterator[Block]:
    """Yield the SQL of the migrations, folded away; that it cannot be rendered fails no plan."""
    from provision.report.sql import lines

    try:
        for each in scripts():
            yield Block(f"SQL of <code>{each.tree.name}</code>", [*lines(each)], "sql", is_folded=True)
    except ProvisionError as error:
        yield Block(f"SQL: {escaped(error.sentence)}")


def applied(console: Console, name: str, done: Result) -> None:
    """Tell what an apply did."""
    from provision.report.plan import recap

    first, *rest = recap(name, done, PLAIN)
    tell(console, (), [_verdict(console, first, rest if done.outcomes else ())])


def verified(console: Console, found: Verification, code: int) -> None:
    """Tell what is not as declared."""
    from provision.report.survey import verification

    level: Level = "error" if code == EXIT_CHANGES_PENDING else "warning"
    first, *rest = verification(found, console, PLAIN)
    tell(console, notes.of_verification(found, level), [_verdict(console, first, rest)])


def linted(console: Console, tree: Tree, found: Linted) -> None:
    """Tell what is dangerous in revisions."""
    from provision.report.lint import lines, recap

    verdict = recap(tree, found, console.elapsed(), PLAIN)
    tell(console, notes.of_lint(found), [_verdict(console, verdict, lines(found, PLAIN))])


def compared(console: Console, tree: Tree, found: Comparison, advice: str) -> None:
    """Tell how models and database differ."""
    from provision.report.migrations import compared as lines

    first, *rest = lines(tree.spec.name, found, advice, PLAIN)
    text = [line.removeprefix("  ") for line in rest]
    tell(console, notes.of_models(found.differences, advice), [_verdict(console, first, text, "diff")])


def files_checked(console: Console, name: str, found: Sequence[Checked], since: str | None) -> None:
    """Tell what is wrong with revision files."""
    from provision.report.revision_files import lines, recap

    verdict = recap(name, found, since, console.elapsed(), PLAIN)
    tell(console, notes.of_files(found), [_verdict(console, verdict, lines(found, PLAIN))])


def tried(console: Console, tree: Tree, found: Sequence[Law]) -> None:
    """Tell which laws the revisions keep."""
    from provision.report.laws import lines, recap

    verdict = recap(found, tree.spec.name, console.elapsed(), PLAIN)
    text = [line.removeprefix("  ") for law in found for line in lines(law, law.next_step, PLAIN)]
    tell(console, notes.of_laws(tree, found), [_verdict(console, verdict, text)])


def _verdict(console: Console, text: str, lines: Iterable[str] = (), language: str = "text") -> Block:
    """Return a verdict with what supports it below: a heading; one that says it all is a line."""
    evidence = [*lines]
    mark = "### " if evidence else ""
    return Block(f"{mark}{console.verb}: {escaped(text)}", evidence, language)


SUMMARY: Final = "GITHUB_STEP_SUMMARY"
_DATA: Final = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY: Final = (*_DATA, (":", "%3A"), (",", "%2C"))
_CONTROL: Final = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""What steers a terminal, and so the log that shows it."""
_RANKS: Final = ("error", "warning", "notice")


def tell(console: Console, notes: Iterable[Note], blocks: Sequence[Block] = ()) -> None:
    """Print the annotations, the gravest first, and add the blocks to the summary of the step."""
    if console.format != "github":
        return
    root = root_of(console.environ)
    for each in sorted(notes, key=lambda note: _RANKS.index(note.level)):
        console.instruct(command(each, root))
    if blocks:
        _summarise(console, blocks)


def command(note: Note, root: Path) -> str:
    r"""Return an annotation as a line for the runner.

    >>> from provision.report.pipelines.notes import Note
    >>> command(Note("error", "a, b", "50 %\nmore", Path("/w/a.py"), 3), Path("/w"))
    '::error file=a.py,line=3,title=a%2C b::50 %25%0Amore'
    """
    places = {
        "file": relative(note.path, root) if note.path else None,
        "line": note.line,
        "col": note.column,
        "title": note.title,
    }
    shown = ",".join(f"{name}={_escaped(str(each), _PROPERTY)}" for name, each in places.items() if each)
    return f"::{note.level} {shown}::{_escaped(note.message, _DATA)}"


def _escaped(text: str, table: Iterable[tuple[str, str]]) -> str:
    text = re.sub(_CONTROL, "\N{REPLACEMENT CHARACTER}", text)
    for character, code in table:
        text = text.replace(character, code)
    return text


def _summarise(console: Console, blocks: Sequence[Block]) -> None:
    """Add to the file that becomes the summary of the step; being unable to is no error of the command."""
    path = console.environ.get(SUMMARY)
    if not path:
        return
    import fcntl

    try:
        with Path(path).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # runs of several specs write it side by side
            room = LIMIT - os.fstat(file.fileno()).st_size
            file.write(rendered(blocks, room).encode(errors="replace"))
    except OSError as error:
        console.complain(f"the step's summary cannot be written: {path}: {error.strerror}")


LIMIT: Final = 1024 * 1024
"""Bytes in the summary of one step."""
_CUT: Final = "… cut off here: a summary has at most 1 MiB"
_SPECIAL: Final = r"([\\`*_\[\]<>#|~&])"
_LEAST: Final = 200
_LONGEST: Final = 100
"""Backticks in a row that are kept: the fence has one more, twice."""


class Block(NamedTuple):
    """A part of a summary: lines of code in a fence, below a heading or folded away behind it.

    Without ``lines`` it is the heading alone. ``language`` is what colours the code.
    """

    heading: str
    lines: Sequence[str] = ()
    language: str = "text"
    is_folded: bool = False


def escaped(text: str) -> str:
    r"""Return a text as Markdown that shows it as it is, on one line.

    >>> escaped("a|b <i>`x`\n#1")
    'a\\|b \\<i\\>\\`x\\` \\#1'
    """
    return re.sub(_SPECIAL, r"\\\1", " ".join(text.split()))


def fence(lines: Sequence[str]) -> str:
    """Return a fence that no line of a code block closes: longer than the longest run of backticks in it.

    >>> fence(["SELECT 1"]), fence(["a", "````"])
    ('```', '`````')
    """
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    return "`" * max(3, longest + 1)


def rendered(blocks: Sequence[Block], room: int) -> str:
    """Return blocks as Markdown of at most so many bytes of UTF-8; what does not fit is cut off, and said."""
    parts: list[str] = []
    for block in blocks:
        left = room - sum(len(each.encode()) for each in parts)
        if left < _LEAST:
            break
        parts.append(_block(block, left))
    return "".join(parts)


def _block(block: Block, room: int) -> str:
    if not block.lines:
        return f"{block.heading}\n\n"
    lines = [re.sub(f"(`{{{_LONGEST}}})`+", r"\1…", line) for line in block.lines]
    edge = fence(lines)
    heading = f"<details><summary>{block.heading}</summary>" if block.is_folded else block.heading
    head = f"{heading}\n\n" if heading else ""
    before = f"{head}{edge}{block.language}\n"
    after = f"\n{edge}\n\n" + ("</details>\n\n" if block.is_folded else "")
    used = len((before + after + _CUT).encode()) + 1
    return f"{before}{_fitting(lines, max(0, room - used))}{after}"


def _fitting(lines: Sequence[str], room: int) -> str:
    """Return lines, and where they have more than so many bytes the beginning, and a line that says so."""
    text = "\n".join(lines).encode()
    if len(text) <= room:
        return text.decode()
    kept = text[:room].decode(errors="ignore")
    return f"{kept.rpartition(chr(10))[0] or kept}\n{_CUT}"
