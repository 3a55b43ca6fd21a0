"""What ``provision migrate`` shows, as text: the lists of revisions in Alembic's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.report.console import Paint
    from provision.revisions.listing import Entry


def history(entry: Entry, paint: Paint) -> str:
    """Return a revision as ``alembic history`` does: what it follows, itself, its marks and its message."""
    before = ", ".join(entry.down) or "<base>"
    needed = f" ({', '.join(entry.depends_on)})" if entry.depends_on else ""
    marks = _labels(entry) + _marks(entry) + (" (branchpoint)" if entry.is_branch_point else "")
    marks += " (mergepoint)" if len(entry.down) > 1 else ""
    return f"{before}{needed} -> {paint('bold', entry.id)}{marks}, {entry.message}"


def head(entry: Entry, paint: Paint) -> str:
    """Return a revision as ``alembic heads`` does."""
    return paint("bold", entry.id) + _labels(entry) + _marks(entry)


def current(entry: Entry, paint: Paint) -> str:
    """Return a row of the version table as ``alembic current`` does; one that is not of this checkout is marked."""
    if entry.path is None:
        return f"{paint('bold', entry.id)} {paint('red', '(not in this checkout)')}"
    return (
        paint("bold", entry.id)
        + _marks(entry, tell_current=False)
        + (" (branchpoint)" if entry.is_branch_point else "")
        + (" (mergepoint)" if len(entry.down) > 1 else "")
    )


def _labels(entry: Entry) -> str:
    return f" ({', '.join(entry.branch_labels)})" if entry.branch_labels else ""


def _marks(entry: Entry, *, tell_current: bool = True) -> str:
    marks = " (head)" if entry.is_head else ""
    marks += " (effective head)" if entry.is_effective_head else ""
    return marks + (" (current)" if entry.is_current and tell_current else "")
