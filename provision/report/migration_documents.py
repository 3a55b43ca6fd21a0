"""The JSON documents of ``provision migrate``, described in ``docs/json.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.revisions.listing import Entry
    from provision.spec.model import Spec

Document = dict[str, Any]


def revisions(spec: Spec, tree: str, entries: Sequence[Entry]) -> Document:
    """Return the document of a list of revisions."""
    return {
        "schema": "provision/revisions/1",
        **_of(spec, tree),
        "revisions": [_entry(each) for each in entries],
    }


def _of(spec: Spec, tree: str) -> Document:
    return {"environment": spec.name, "spec": str(spec.path), "tree": tree}


def _entry(entry: Entry) -> Document:
    return {
        "revision": entry.id,
        "message": entry.message,
        "down_revision": list(entry.down),
        "depends_on": list(entry.depends_on),
        "branch_labels": list(entry.branch_labels),
        "is_head": entry.is_head or entry.is_effective_head,
        "is_current": entry.is_current,
        "path": str(entry.path) if entry.path else None,
    }
