"""The SQL of revisions as one script, whose comments say what it is for and what is missing, and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision.alembic import Rendered, Script
from provision.model.words import count, shown
from provision.report.words import clean


def lines(script: Script) -> Iterator[str]:
    """Yield the lines of a script that can be pasted into psql."""
    tree = script.tree
    way = "upgrade" if script.upgrade else "downgrade"
    if script.rendering is None:
        yield f"-- {tree.spec.name}, migrations/{tree.name}: no SQL: {clean(script.unknown)}"
        return
    yield f"-- {tree.spec.name}, migrations/{tree.name}: {way} from {' + '.join(script.rows) or 'base'}"
    if script.note:
        yield f"-- {script.note}"
    if script.rendering.without_env:
        yield f"-- rendered without env.py: {clean(script.rendering.without_env.splitlines()[0])}"
    if script.missing:
        total = count(len(script.rendering.revisions), "revision")
        yield f"-- INCOMPLETE: {len(script.missing)} of {total} cannot be rendered"
    yield from _block(script.rendering.prologue)
    for each in script.rendering.revisions:
        yield from _revision(script, each)
    yield from _block(script.rendering.epilogue)


def _revision(script: Script, each: Rendered) -> Iterator[str]:
    revision = script.tree.graph[each.revision]
    yield ""
    yield f"-- {'' if script.upgrade else 'undo '}{clean(str(revision))}"
    yield f"-- {clean(shown(revision.path))}"
    if each.reason:
        yield f"-- NOT RENDERED: {clean(each.reason)}" + (f"  ({clean(each.place)})" if each.place else "")
        return
    yield from _block(each.sql)


def _block(sql: str) -> Iterator[str]:
    text = sql.strip("\n")
    if text:
        yield ""
        yield from text.splitlines()


def document(script: Script) -> dict[str, Any]:
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
