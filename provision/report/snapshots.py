"""Snapshots as text and as JSON: what is kept, and what was done about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provision.report.documents import Document, outcome
from provision.snapshots import Verb
from provision.snapshots.steps import size, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provision.model import Plan, Result
    from provision.report.console import Console, Paint
    from provision.snapshots import Listing, Request
    from provision.snapshots.kept import Kept
    from provision.spec.model import Spec

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_HEADINGS = ("NAME", "DATABASE", "AGE", "SIZE", "REVISION")


def lines(spec: Spec, found: Listing, paint: Paint) -> Iterator[str]:
    """Yield the snapshots as a table, then what was replaced."""
    if not found.snapshots:
        yield f"{paint('bold', spec.name)}: no snapshots"
    else:
        yield from _table([(each.name, *_row(each)) for each in found.snapshots], paint)
    for each in found.replaced:
        database, *rest, revision = _row(each)
        at = f", at {revision}" if revision else ""
        yield f"  {paint('dim', '·')} {database} as a {each.name} has replaced it: {', '.join(rest)}{at}"


def _table(rows: Sequence[tuple[str, ...]], paint: Paint) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for number, row in enumerate((_HEADINGS, *rows)):
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        yield line if number else paint("dim", line)


def _row(kept: Kept) -> tuple[str, ...]:
    return kept.database, _age(kept.at), size(kept.size), words(kept.revisions)


def _age(at: str) -> str:
    """Return how long ago a moment was, in its largest unit."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def next_steps(request: Request, pending: Plan | None, console: Console) -> dict[str, str]:
    """Return what to type next, and what for; ``pending`` is the plan of the spec afterwards."""
    found = {}
    if request.verb is Verb.SAVE:
        found[console.line("snapshot restore", request.name)] = "bring the data back"
    if pending is not None and pending.differs:
        found[console.line("apply")] = "the spec asks for more than the data has now"
    if request.verb in (Verb.RESTORE, Verb.RESET, Verb.UNDO):
        found[console.line("snapshot undo")] = "have what was replaced again"
    return found


def listing(spec: Spec, found: Listing) -> Document:
    """Return the document of what is kept."""
    return {
        "schema": "provision/snapshots/1",
        "environment": spec.name,
        "spec": str(spec.path),
        "snapshots": [{"name": each.name, **_kept(each), "automatic": each.is_automatic} for each in found.snapshots],
        "replaced": [{"by": each.name, **_kept(each)} for each in found.replaced],
    }


def _kept(kept: Kept) -> dict[str, Any]:
    return {
        "database": kept.database,
        "saved": kept.at,
        "bytes": kept.size,
        "revisions": {tree: list(rows) for tree, rows in sorted(kept.revisions.items())},
    }


def result(spec: Spec, request: Request, done: Result, pending: Plan | None) -> Document:
    """Return the document of a save, a restore, an undo, a reset or a removal."""
    return {
        "schema": "provision/snapshot/1",
        "environment": spec.name,
        "spec": str(spec.path),
        "verb": request.verb.value,
        "name": request.name or None,
        "seconds": round(done.seconds, 3),
        "steps": [outcome(each) for each in done.outcomes],
        "notes": list(done.notes),
        "changes_pending": None if pending is None else pending.differs,
    }
