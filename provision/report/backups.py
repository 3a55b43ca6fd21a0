"""Backups as text and as JSON: what there is, and what was done about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from provision.backups.kept import Backup, place, read
from provision.backups.making import files, made
from provision.model import Plan, Result, Step
from provision.model.words import shown, size
from provision.report.console import Console, Paint
from provision.report.documents import Document, ended
from provision.report.snapshots import age, table
from provision.report.words import head
from provision.spec.model import Spec

_HEADINGS = ("FILE", "DATABASE", "AGE", "SIZE", "REVISION", "BEFORE")


def lines(spec: Spec, found: Sequence[Backup], paint: Paint) -> Iterator[str]:
    """Yield the backups as a table, and where they are."""
    if not found:
        yield f"{paint('bold', spec.name)}: no backups"
        return
    yield from table(_HEADINGS, [_row(each) for each in found], paint)
    yield f"  in {shown(place(spec))}"


def _row(backup: Backup) -> tuple[str, ...]:
    rows = " ".join([row for _, each in sorted(backup.revisions.items()) for row in each])
    long_ago = age(backup.at) if backup.at else "?"
    before = re.split("[,:]", backup.why)[0]
    return backup.path.name, backup.database or "?", long_ago, size(backup.bytes), rows, before


def written(done: Result) -> Iterator[str]:
    """Yield the files that were written."""
    for each in made(done.outcomes):
        yield f"  {shown(each)}"


def going_back(steps: Iterable[Step], console: Console) -> dict[str, str]:
    """Return the commands that bring back what steps have backed up before others, and what for."""
    return {console.line("backup restore", each.name): "the data as it was before" for each in files(steps)}


def next_steps(spec: Spec, verb: str, done: Result, pending: Plan | None, console: Console) -> dict[str, str]:
    """Return what to type next, and what for; ``pending`` is the plan of the spec afterwards."""
    found = {}
    if verb == "make" and spec.server.runtime != "external":
        for each in made(done.outcomes):
            file = each.name if each.parent.name == "backups" else shown(each)
            found[console.line("backup restore", file)] = "bring the data back"
    if pending is not None and pending.differs:
        found[console.line("apply")] = "bring everything to the spec"
    if verb == "restore":
        found[console.line("snapshot undo")] = "put back what was replaced"
    return found


def listing(spec: Spec, found: Sequence[Backup]) -> Document:
    """Return the document of the backups that there are."""
    return {**head("backups", spec), "backups": [_backup(each) for each in found]}


def _backup(backup: Backup) -> dict[str, Any]:
    return {
        "file": str(backup.path),
        "database": backup.database or None,
        "made": backup.at or None,
        "bytes": backup.bytes,
        "revisions": {tree: list(rows) for tree, rows in sorted(backup.revisions.items())},
        "before": backup.why or None,
    }


def result(spec: Spec, verb: str, done: Result, pending: Plan | None) -> Document:
    """Return the document of a backup, a restore or a removal."""
    return {
        **head("backup", spec),
        "verb": verb,
        "backups": [_backup(read(each)) for each in made(done.outcomes)],
        **ended(done),
        "changes_pending": None if pending is None else pending.differs,
    }
