"""What ``provision doctor`` has found, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from provision.doctor import Finding, Level
from provision.errors import with_spec
from provision.model import NOT_KNOWN
from provision.model.words import count
from provision.report.console import Paint
from provision.report.words import clean, fields

_MARKS: Final = {
    Level.OK: ("green", "✓", "ok"),
    Level.WARNING: ("yellow", "!", "warning"),
    Level.PROBLEM: ("red", "✗", "problem"),
    Level.UNKNOWN: ("dim", NOT_KNOWN, "unknown"),
}


def lines(found: Sequence[Finding], spec: str, paint: Paint) -> Iterator[str]:
    """Yield a line for each finding, its evidence, and the next command; ``spec`` is what was typed."""
    width = max((len(each.subject) for each in found), default=0)
    for each in found:
        style, mark, word = _MARKS[each.level]
        yield f"  {paint(style, mark)} {word:7}  {each.subject:{width}}  {clean(each.sentence)}"
        yield from (f"{'':{width + 15}}{clean(line)}" for line in each.evidence)
        if each.next_step:
            yield f"{'':{width + 15}}{paint('cyan', 'next:')} {clean(with_spec(each.next_step, spec))}"


def recap(found: Sequence[Finding], name: str, paint: Paint) -> str:
    """Return the last line: how many checks went how."""
    problems = sum(each.level is Level.PROBLEM for each in found)
    warnings = sum(each.level is Level.WARNING for each in found)
    said = [count(problems, "problem")] if problems else ["no problem"]
    said += [count(warnings, "warning")] if warnings else []
    return f"{paint('bold', name)}: {', '.join(said)}"


def document(found: Sequence[Finding], path: str | None, spec: str) -> dict[str, Any]:
    """Return the document."""
    return {
        "schema": "provision/doctor/1",
        "spec": path,
        "problems": sum(each.level is Level.PROBLEM for each in found),
        "findings": [
            {
                **fields(each, "subject level"),
                "message": each.sentence,
                "evidence": list(each.evidence),
                "next": with_spec(each.next_step, spec) or None,
            }
            for each in found
        ],
    }
