"""Snapshots as text and as JSON: what is kept, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from provision.model import Plan, Result
from provision.model.words import size
from provision.report.console import Console, Paint
from provision.report.documents import Document, ended
from provision.report.words import fields, head
from provision.snapshots import Listing, Request, Verb
from provision.snapshots.kept import Kept, by
from provision.snapshots.steps import words
from provision.snapshots.whole import KeptCluster
from provision.spec.model import Spec

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_ALL = "(all)"
_HEADINGS = ("NAME", "DATABASE", "AGE", "SIZE", "REVISION")


def lines(spec: Spec, found: Listing, paint: Paint) -> Iterator[str]:
    """Yield the snapshots as a table, then what was replaced."""
    every: list[Kept | KeptCluster] = [*found.snapshots, *found.clusters]
    snapshots = sorted(every, key=lambda each: each.at, reverse=True)
    replaced: list[Kept | KeptCluster] = [*found.replaced, *found.replaced_clusters]
    if not snapshots:
        yield f"{paint('bold', spec.name)}: no snapshots"
    else:
        yield from table(_HEADINGS, [(each.name, *_row(each)) for each in snapshots], paint)
    for each in replaced:
        database, *rest, revision = _row(each)
        at = f", at {revision}" if revision else ""
        yield f"  {paint('dim', '·')} {database} as {by(each.name)} has replaced it: {', '.join(rest)}{at}"


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], paint: Paint) -> Iterator[str]:
    """Yield rows below headings, in columns."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for number, row in enumerate((headings, *rows)):
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        yield line if number else paint("dim", line)


def _row(kept: Kept | KeptCluster) -> tuple[str, ...]:
    return kept.database if isinstance(kept, Kept) else _ALL, age(kept.at), size(kept.size), words(kept.revisions)


def age(at: str) -> str:
    """Return how long ago a moment was, in its largest unit."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()))
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def next_steps(request: Request, pending: Plan | None, console: Console) -> dict[str, str]:
    """Return what to type next, and what for; ``pending`` is the plan of the spec afterwards."""
    found, which = {}, ["--all"] * request.is_whole
    if request.verb is Verb.SAVE:
        found[console.line("snapshot restore", request.name, *which)] = "bring the data back"
    if pending is not None and pending.differs:
        found[console.line("apply")] = "bring everything to the spec"
    if request.verb in (Verb.RESTORE, Verb.RESET, Verb.UNDO):
        found[console.line("snapshot undo", *which)] = "put back what was replaced"
    return found


def listing(spec: Spec, found: Listing) -> Document:
    """Return the document of what is kept."""
    return {
        **head("snapshots", spec),
        "snapshots": [{"name": each.name, **_facts(each), "automatic": each.is_automatic} for each in found.snapshots],
        "replaced": [{"by": each.name, **_facts(each)} for each in found.replaced],
        "clusters": [{"name": each.name, **_facts(each)} for each in found.clusters],
        "replaced_clusters": [{"by": each.name, **_facts(each)} for each in found.replaced_clusters],
    }


def _facts(kept: Kept | KeptCluster) -> dict[str, Any]:
    return {
        **fields(kept, "database" if isinstance(kept, Kept) else "major"),
        "saved": kept.at,
        "bytes": kept.size,
        "revisions": {tree: list(rows) for tree, rows in sorted(kept.revisions.items())},
    }


def result(spec: Spec, request: Request, done: Result, pending: Plan | None) -> Document:
    """Return the document of a save, a restore, an undo, a reset or a removal."""
    return {
        **head("snapshot", spec),
        "verb": request.verb.value,
        "name": request.name or None,
        "all": request.is_whole,
        **ended(done),
        "changes_pending": None if pending is None else pending.differs,
    }
