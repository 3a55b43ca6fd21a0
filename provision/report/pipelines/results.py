"""What each command tells GitHub Actions: its annotations, and its part of the step's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.errors import EXIT_CHANGES_PENDING
from provision.model.words import count
from provision.report.console import PLAIN
from provision.report.pipelines import notes
from provision.report.pipelines.github import tell
from provision.report.pipelines.markdown import Block, escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from provision.alembic import Checked, Comparison, Law, Linted, Script, Tree
    from provision.errors import Problem, ProvisionError
    from provision.observe import Survey
    from provision.report.console import Console
    from provision.report.pipelines.notes import Level
    from provision.verification import Verification


def failed(console: Console, error: ProvisionError) -> None:
    """Tell an error at the place that it names."""
    from provision.report.errors import NARROWEST, WIDEST, render

    lines = [*render(error, PLAIN, width=max(NARROWEST, WIDEST))]
    found = notes.of_error(error, console.verb, str(error.next_step or ""))
    tell(console, found, [_block(f"{console.verb} failed", lines)])


def validated(console: Console, path: str, remarks: Sequence[Problem]) -> None:
    """Tell what is right in a spec and probably not meant."""
    tell(console, notes.of_problems(remarks, "warning"), [_heading(console, f"{path} is valid")])


def planned(console: Console, seen: Survey, scripts: Callable[[], Sequence[Script]]) -> None:
    """Tell a plan: what it destroys beside the spec, all of it and its SQL in the summary."""
    if console.format != "github":
        return
    from provision.report.plan import left, lines, total

    name = seen.spec.name
    if seen.plan.is_empty and not seen.plan.unknown:
        tell(
            console,
            notes.of_plan(seen),
            [_heading(console, f"{name}: nothing to do"), *_code("", left(seen.plan, PLAIN))],
        )
        return
    steps = [line.removeprefix("  ") for line in lines(seen.plan, PLAIN)]
    blocks = [Block(f"### {_title(console, f'{name}: {total(seen.plan)}')}", steps, "diff")]
    tell(console, notes.of_plan(seen), [*blocks, *_sql(scripts)])


def _sql(scripts: Callable[[], Sequence[Script]]) -> Iterator[Block]:
    """Yield the SQL of the migrations, folded away; that it cannot be rendered fails no plan."""
    from provision.errors import ProvisionError
    from provision.report.sql import lines

    try:
        for each in scripts():
            what = f"SQL of <code>{each.tree.name}</code>"
            yield Block(what, [*lines(each)], "sql", is_folded=True)
    except ProvisionError as error:
        yield Block(f"SQL: {escaped(error.sentence)}")


def verified(console: Console, found: Verification, code: int) -> None:
    """Tell what is not as declared."""
    from provision.report.survey import verification

    level: Level = "error" if code == EXIT_CHANGES_PENDING else "warning"
    verdict = "as declared" if found.is_clean else "not as declared"
    lines = verification(found, console, PLAIN)
    tell(
        console,
        notes.of_verification(found, level),
        [_block(_title(console, f"{found.survey.spec.name}: {verdict}"), lines)],
    )


def linted(console: Console, tree: Tree, found: Linted) -> None:
    """Tell what is dangerous in revisions."""
    from provision.report.lint import lines, recap

    verdict = recap(tree, found, console.elapsed(), PLAIN)
    tell(console, notes.of_lint(found), [_heading(console, verdict), *_code("", lines(found, PLAIN))])


def compared(console: Console, tree: Tree, found: Comparison, advice: str) -> None:
    """Tell how models and database differ."""
    from provision.report.migrations import compared as lines

    verdict, *rest = lines(tree.spec.name, found, advice, PLAIN)
    tell(console, notes.of_models(found.differences, advice), [_heading(console, verdict), *_code("", rest, "diff")])


def files_checked(console: Console, name: str, found: Sequence[Checked]) -> None:
    """Tell what is wrong with revision files."""
    from provision.report.revision_files import lines

    number = sum(len(each.faults) for each in found)
    verdict = f"{name}: {count(number, 'problem')} in revision files"
    tell(console, notes.of_files(found), [_heading(console, verdict), *_code("", lines(found, PLAIN))])


def tried(console: Console, tree: Tree, found: Sequence[Law]) -> None:
    """Tell which laws the revisions keep."""
    from provision.report.laws import lines, recap

    verdict = recap(found, tree.spec.name, console.elapsed(), PLAIN)
    text = [line.removeprefix("  ") for law in found for line in lines(law, law.next_step, PLAIN)]
    tell(console, notes.of_laws(tree, found), [_heading(console, verdict), *_code("", text)])


def _title(console: Console, text: str) -> str:
    return f"{console.verb}: {escaped(text)}"


def _heading(console: Console, text: str) -> Block:
    return Block(f"### {_title(console, text)}")


def _block(title: str, lines: Iterable[str]) -> Block:
    return Block(f"### {title}", [*lines])


def _code(heading: str, lines: Iterable[str], language: str = "text") -> list[Block]:
    text = [*lines]
    return [Block(heading, text, language)] if text else []
