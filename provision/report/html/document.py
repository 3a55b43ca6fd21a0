"""The facts of the page as a JSON document, made of the documents that other commands print."""

from __future__ import annotations

from typing import Any

from provision.alembic import entries, history
from provision.report import documents, laws, lint, migrations, sql
from provision.report.diagram import erd_text
from provision.report.html.verdict import verdict
from provision.report.words import head
from provision.review import Review, TreeReview


def document(review: Review, took: float) -> dict[str, Any]:
    """Return the document of ``provision report``."""
    seen, judged = review.survey, verdict(review)
    return {
        **head("report", seen.spec),
        "at": review.at.isoformat(timespec="seconds"),
        "seconds": round(took, 3),
        "state": judged.state,
        "verdict": judged.headline,
        "consequences": [each.text for each in judged.parts],
        "version": seen.status.version,
        "plan": None if seen.refusal else documents.plan(seen),
        "verification": documents.verification(review.verification),
        "trees": [_tree(each) for each in review.trees],
        "databases": [
            {
                "database": each.name,
                "problem": each.problem or None,
                "size": each.size,
                "tables": erd_text.document(each.tables),
            }
            for each in review.databases
        ],
    }


def _tree(found: TreeReview) -> dict[str, Any]:
    shared = {
        "tree": found.name,
        "database": found.database,
        "problem": found.problem.sentence if found.problem else None,
        "without": dict(found.without),
        "rows": None if found.rows is None else list(found.rows),
        "sql": [sql.document(each) for each in found.scripts],
    }
    if found.tree is None:
        return {**shared, "revisions": None, "lint": None, "laws": None}
    listed = entries(found.tree.graph, history(found.tree.graph), found.rows, found.times)
    return {
        **shared,
        "revisions": migrations.revisions(found.tree, listed),
        "lint": lint.document(found.tree, found.linted, found.trace, 0) if found.linted else None,
        "laws": laws.document(found.tree, found.laws, 0),
    }
