"""The JSON documents of ``provision migrate``, described in ``docs/json.md``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.report.migrations import not_compared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.alembic.running.ask import Comparison, Written
    from provision.alembic.tree.graph import Graph
    from provision.alembic.tree.listing import Entry
    from provision.alembic.verbs.sql import Script
    from provision.report.migrations import Moved
    from provision.spec.model import Spec

Document = dict[str, Any]


def revisions(spec: Spec, tree: str, entries: Sequence[Entry]) -> Document:
    """Return the document of a list of revisions."""
    return {
        "schema": "provision/revisions/1",
        **_of(spec, tree),
        "revisions": [_entry(each) for each in entries],
    }


def moved(spec: Spec, tree: str, graph: Graph, verb: str, done: Moved) -> Document:
    """Return the document of an upgrade, a downgrade or a stamp that was carried out, or had nothing to do."""
    return {
        "schema": "provision/migration/1",
        **_of(spec, tree),
        "verb": verb,
        "changed": done.before != done.after,
        "before": list(done.before),
        "after": list(done.after),
        "revisions": [
            {"revision": name, "message": graph[name].message, "seconds": round(seconds, 3)}
            for name, seconds in done.revisions
        ],
        "seconds": round(done.seconds, 3),
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


def sql(script: Script) -> Document:
    """Return the part of a document that holds the SQL of one direction of one tree."""
    rendering = script.rendering
    return {
        "tree": script.tree.name,
        "direction": "upgrade" if script.upgrade else "downgrade",
        "from": list(script.rows),
        "complete": rendering is not None and not script.missing,
        "note": script.note or script.unknown or None,
        "without_env": rendering.without_env if rendering else None,
        "before": rendering.prologue if rendering else "",
        "revisions": [
            {
                "revision": each.revision,
                "message": script.tree.graph[each.revision].message,
                "path": str(script.tree.graph[each.revision].path),
                "sql": None if each.reason else each.sql,
                "reason": each.reason,
            }
            for each in (rendering.revisions if rendering else ())
        ],
        "after": rendering.epilogue if rendering else "",
    }


def rendered(script: Script) -> Document:
    """Return the document of ``provision migrate sql``."""
    spec = script.tree.spec
    return {
        "schema": "provision/migration-sql/1",
        "environment": spec.name,
        "spec": str(spec.path),
        **sql(script),
    }


def compared(spec: Spec, tree: str, found: Comparison) -> Document:
    """Return the document of ``provision migrate check``."""
    return {
        "schema": "provision/model-check/1",
        **_of(spec, tree),
        "clean": not found.differences,
        "differences": [_operation(each) for each in found.differences],
        "tables": found.tables,
        "not_compared": list(not_compared(found)),
    }


def written(spec: Spec, tree: str, done: Written) -> Document:
    """Return the document of a revision file that was written, or was not because there was nothing to write."""
    return {
        "schema": "provision/revision-file/1",
        **_of(spec, tree),
        "changed": bool(done.files),
        "files": [{"revision": name, "path": path} for name, path in done.files],
        "operations": [_operation(each) for each in done.operations],
    }


def _operation(line: str) -> Document:
    sign, _, text = line.partition(" ")
    return {"sign": sign, "text": text}
