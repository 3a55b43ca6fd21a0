"""What ``provision access --lint`` has found, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision.insight.lint import Finding, Findings
from provision.insight.reach import word
from provision.model import NOT_KNOWN
from provision.model.words import count
from provision.report.console import Paint
from provision.report.words import clean, fields, head, seconds
from provision.spec.model import Spec


def lines(found: Findings, paint: Paint) -> Iterator[str]:
    """Yield each finding: its rule and sentence, the evidence, and what to do."""
    several = len(found.databases) > 1
    for each in found.found:
        where = f" (database {word(each.database)})" if several and each.database else ""
        yield f"{paint('yellow', each.rule)}: {clean(each.sentence)}{where}"
        yield from (f"    {clean(line)}" for line in each.evidence)
        yield f"    {paint('cyan', 'next:')} {clean(each.next_step)}"
    yield from (f"{paint('dim', NOT_KNOWN)} {each}" for each in found.unknown)


def recap(found: Findings, spec: Spec, took: float, paint: Paint) -> str:
    """Return the last line: how much was found, and where was looked."""
    what = count(len(found.found), "finding") if found.found else "nothing found"
    ignored = f", {found.ignored} ignored" if found.ignored else ""
    where = f"in the roles and {count(len(found.databases), 'database')}"
    return f"{paint('bold', spec.name)}: {what} {where}{ignored}  {seconds(took)}"


def document(found: Findings, spec: Spec, took: float) -> dict[str, Any]:
    """Return the document."""
    return {
        **head("access-lint", spec),
        "clean": not found.found,
        **fields(found, "databases ignored"),
        "unknown": [f"{NOT_KNOWN} {each}" for each in found.unknown],
        "seconds": round(took, 3),
        "findings": [_finding(each) for each in found.found],
    }


def _finding(each: Finding) -> dict[str, Any]:
    said = {"message": each.sentence, "evidence": list(each.evidence), "next": each.next_step}
    return {**fields(each, "rule database"), **said}
