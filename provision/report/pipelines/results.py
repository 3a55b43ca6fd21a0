"""What each command tells GitHub Actions: its annotations, and its part of the step's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import EXIT_CHANGES_PENDING
from provision.report.console import PLAIN
from provision.report.pipelines import notes
from provision.report.pipelines.github import Block, escaped, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provision.alembic import Checked, Comparison, Law, Linted, Script, Tree
    from provision.errors import Problem, ProvisionError
    from provision.model import Result
    from provision.observe import Survey
    from provision.report.console import Console
    from provision.report.pipelines.notes import Level
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
    from provision.errors import ProvisionError
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
