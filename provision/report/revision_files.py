"""What ``provision migrate check --files`` has found, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from provision.alembic import Checked
from provision.model.words import count, shown
from provision.report.console import Paint
from provision.report.words import clean, fields, head, seconds
from provision.spec.model import Spec


def lines(found: Sequence[Checked], paint: Paint) -> Iterator[str]:
    """Yield what is wrong, each at its place with what to do, and what is not known."""
    for tree in found:
        for each in tree.faults:
            where = paint("bold", f"{shown(each.path)}:{each.line}:")
            yield f"{where} {paint('yellow', each.rule)}: {clean(each.message)}"
            if each.advice:
                yield f"    {clean(each.advice)}"
        for text in tree.unknown:
            yield f"{paint('yellow', 'not checked:')} {clean(text)}"


def recap(name: str, found: Sequence[Checked], since: str | None, took: float, paint: Paint) -> str:
    """Return the last line: how much is wrong, in how many files, and with what they were compared."""
    number = sum(len(each.faults) for each in found)
    files = count(sum(each.revisions for each in found), "revision file")
    against = f", compared with {since}" if since else ""
    what = count(number, "problem") if number else paint("green", "nothing wrong")
    known = "" if number or not any(each.unknown for each in found) else ", as far as they can be read"
    return f"{paint('bold', name)}: {what} in {files}{against}{known}  {seconds(took)}"


def document(spec: Spec, found: Sequence[Checked], since: str | None, took: float) -> dict[str, Any]:
    """Return the document."""
    return {
        **head("revision-check", spec),
        "clean": not any(each.faults for each in found),
        "since": since,
        "seconds": round(took, 3),
        "trees": [
            {
                "tree": tree.tree,
                "files": tree.revisions,
                "unknown": list(tree.unknown),
                "problems": [fields(each, "path line rule message advice") for each in tree.faults],
            }
            for tree in found
        ],
    }
