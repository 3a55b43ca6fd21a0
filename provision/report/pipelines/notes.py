"""What a command has found, as one list for every pipeline: how grave, where, and in which words."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from provision.errors import Problem, ProvisionError, SpecError
from provision.model.words import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provision.alembic import Checked, Finding, Law, Linted, Tree
    from provision.observe import Survey
    from provision.verification import Verification

Level = Literal["error", "warning", "notice"]
_PLACE: Final = r"(?P<path>[^\s:()'\"]*[^\s:()'\"/]):(?P<line>\d+)\b"
_MOST_LINES: Final = 12
_LEAVES: Final = ("downgrade() leaves", "downgrade() removes", "downgrade() does not", "the file has no function")


class Note(NamedTuple):
    """One thing to show beside a file, or without one. ``line`` and ``column`` count from 1."""

    level: Level
    title: str
    message: str
    path: Path | None = None
    line: int | None = None
    column: int | None = None


def of_problems(found: Sequence[Problem], level: Level) -> Iterator[Note]:
    """Yield the problems of a spec, or its remarks."""
    for each in found:
        words = f"{each.message}\n{each.suggestion}" if each.suggestion else each.message
        yield Note(level, "spec", words, each.path, each.line, each.column)


def of_error(error: ProvisionError, verb: str, next_step: str) -> Iterator[Note]:
    """Yield what an error says, at the place in a file that it names, if it names one."""
    if isinstance(error, SpecError):
        yield from of_problems(error.problems, "error")
        return
    evidence = [line for text in error.evidence for line in text.splitlines()]
    path, line = place_in((error.sentence, *evidence, next_step))
    words = [error.sentence, *some(evidence, _MOST_LINES), *([f"next: {next_step}"] if next_step else [])]
    yield Note("error", verb, "\n".join(words), path, line)


def place_in(texts: Sequence[str]) -> tuple[Path | None, int | None]:
    """Return the first ``file:line`` in texts that is a file."""
    for text in texts:
        for match in re.finditer(_PLACE, text):
            path = Path(match["path"])
            if path.is_file():
                return path.absolute(), int(match["line"])
    return None, None


def of_plan(seen: Survey) -> Iterator[Note]:
    """Yield what a plan destroys, and what differs and is not for an apply to change."""
    path = seen.spec.path
    for step in seen.plan.steps:
        if step.destroys:
            why = [str(each) for each in step.why]
            words = [
                step.title or f"{step.action} {step.address}",
                *why,
                *([step.consequence] if step.consequence else []),
            ]
            yield Note("warning", "destroys data", "\n".join(words), path)
    for text in (*seen.plan.overrides, *seen.plan.notes):
        yield Note("warning", "differs", text, path)


def of_verification(found: Verification, level: Level) -> Iterator[Note]:
    """Yield each thing that is not as declared."""
    path = found.survey.spec.path
    for address in dict.fromkeys(each.address for each in found.differences):
        words = [each.text for each in found.differences if each.address == address]
        yield Note(level, str(address), "\n".join(words), path)
    if found.survey.refusal is not None:
        yield from of_error(found.survey.refusal, "apply refuses", "")


def of_lint(found: Linted) -> Iterator[Note]:
    """Yield the findings in revisions."""
    for each in found.findings:
        words = f"{each.message}\n{each.advice}" if each.advice else each.message
        yield Note(level_of(each), each.rule, words, each.path, each.line or 1)


def level_of(finding: Finding) -> Level:
    """Return how grave a finding of squawk is for a pipeline."""
    return "error" if finding.level == "error" else "warning"


def of_models(differences: Sequence[str], advice: str) -> Iterator[Note]:
    """Yield how models and database differ, in one note: no file is to blame alone."""
    if differences:
        words = [*some(differences, _MOST_LINES), f"next: {advice}"]
        yield Note("error", "the models do not match the database", "\n".join(words))


def of_files(found: Sequence[Checked]) -> Iterator[Note]:
    """Yield what is wrong with revision files, and what of them is not known."""
    for tree in found:
        for each in tree.faults:
            yield Note("error", each.rule, f"{each.message}\n{each.advice}".rstrip(), each.path, each.line)
        for text in tree.unknown:
            path, line = place_in((text,))
            yield Note("warning", "not checked", text, path, line)


def of_laws(tree: Tree, found: Sequence[Law]) -> Iterator[Note]:
    """Yield each law that is broken, at the revision that breaks it; one broken by several, at each of them."""
    for law in found:
        if law.outcome != "failed":
            continue
        if law.wrong:
            yield from _blamed(tree, law)
            continue
        place, line = place_in(law.evidence)
        if place is None and law.path:
            place, line = Path(law.path), 1
        yield Note("error", law.name, "\n".join([law.text, *some(law.evidence, _MOST_LINES)]), place, line)


def _blamed(tree: Tree, law: Law) -> Iterator[Note]:
    """Yield each revision that a law blames, at the line of the error or of the function that is to blame."""
    for name, words in law.wrong.items():
        revision = tree.graph[name]
        # What a downgrade leaves behind makes the second upgrade fail, so it is the cause.
        leaves = any(each.startswith(_LEAVES) for each in words)
        _, line = (None, None) if leaves else place_in([each for each in words if str(revision.path) in each])
        line = line or _line_of(revision.path, "downgrade" if leaves else "upgrade")
        yield Note("error", law.name, "\n".join((str(revision), *some(words, _MOST_LINES))), revision.path, line)


def _line_of(path: Path, function: str) -> int:
    """Return the line of a function in a revision file; 1 where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 1
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"def {function}(")), 1)


def root_of(environ: Mapping[str, str]) -> Path:
    """Return the directory that a pipeline's paths are relative to: that of its checkout, else the current one."""
    given = environ.get("GITHUB_WORKSPACE") or environ.get("CI_PROJECT_DIR")
    return Path(given) if given else Path.cwd()


def relative(path: Path, root: Path) -> str:
    """Return a path as it is seen from a directory, with slashes; one outside of it stays as it is.

    >>> relative(Path("/srv/shop/specs/dev.yml"), Path("/srv/shop")), relative(Path("/etc/hosts"), Path("/srv/shop"))
    ('specs/dev.yml', '/etc/hosts')
    """
    for here, there in ((path, root), (Path(os.path.realpath(path)), Path(os.path.realpath(root)))):
        if here.is_relative_to(there):
            return here.relative_to(there).as_posix()
    return path.as_posix()
