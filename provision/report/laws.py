"""The four laws of ``provision migrate test``, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from provision.alembic import Law, Tree
from provision.model.value import asdict
from provision.model.words import count
from provision.report.console import Paint
from provision.report.errors import next_lines
from provision.report.migrations import Document, of
from provision.report.words import clean, seconds

_SIGNS: Final = {"passed": ("green", "✓"), "failed": ("red", "✗"), "not checked": ("yellow", "·")}
_WIDTH: Final = 14
_MOST: Final = 24
_MOST_BELOW: Final = 3


def lines(law: Law, next_step: str | None, paint: Paint, *, every: bool = False) -> Iterator[str]:
    """Yield one law: its sign, its name, the result and its time; below it the evidence, and what to do."""
    style, sign = _SIGNS[law.outcome]
    text = f"not checked: {law.text}" if law.outcome == "not checked" else law.text
    took = f"  {paint('dim', seconds(law.seconds))}" if law.seconds else ""
    yield f"  {paint(style, sign)} {law.name:<{_WIDTH}}  {clean(text)}{took}"
    evidence = [clean(line) for text in law.evidence for line in text.splitlines()]
    shown = evidence if every else list(_first_of_each(evidence))[:_MOST]
    yield from (f"      {line}" for line in shown)
    if len(shown) < len(evidence):
        yield f"      … {len(evidence) - len(shown)} more (-v shows them)"
    yield from (f"      {line}" for line in next_lines(next_step, paint))


def _first_of_each(evidence: Sequence[str]) -> Iterator[str]:
    """Yield the lines without the indented ones that are too many below one that is not."""
    below = 0
    for line in evidence:
        below = below + 1 if line.startswith(" ") else 0
        if below <= _MOST_BELOW:
            yield line


def recap(found: Sequence[Law], name: str, took: float, paint: Paint) -> str:
    """Return the last line: how many laws the tree keeps, breaks, and could not be tried for."""
    words = [
        f"{sum(law.outcome == outcome for law in found)} {outcome}"
        for outcome in ("failed", "passed", "not checked")
        if any(law.outcome == outcome for law in found)
    ]
    return f"{paint('bold', name)}: {', '.join(words)}  {seconds(took)}"


def heading(tree: Tree, place: str, paint: Paint) -> str:
    """Return the first line: which tree is tried, and where."""
    revisions = count(len(tree.graph), "revision")
    return f"{paint('bold', tree.spec.name)}: {tree.name}, {revisions}, on scratch databases of {place}"


def document(tree: Tree, found: Sequence[Law], took: float) -> Document:
    """Return the document."""
    laws = [asdict(law) for law in found]
    for each in laws:
        del each["wrong"]  # it is in the evidence
        each |= {"next": each.pop("next_step"), "evidence": [*each["evidence"]], "seconds": round(each["seconds"], 3)}
    passed = not any(law.outcome == "failed" for law in found)
    return {**of(tree, "laws"), "passed": passed, "seconds": round(took, 3), "laws": laws}
