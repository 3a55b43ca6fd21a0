"""Where the tenants of a tree are, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.alembic import Tree
from provision.kinds.tenant_states import position
from provision.model import TenantGroup
from provision.model.words import count, some_of
from provision.report.migrations import Document, of
from provision.report.words import clean


def current(tree: Tree, groups: Sequence[TenantGroup], *, verbose: bool) -> Iterator[str]:
    """Yield a line for each group, as ``alembic current`` writes a revision; ``verbose``: with all names."""
    heads = tree.graph.version_rows(tree.graph.heads)
    if not groups:
        yield "no tenants"
    for rows, names in groups:
        head = " (head)" if rows == heads else ""
        listed = some_of(names, most=len(names)) if verbose else some_of(names)
        yield f"{position(rows)}{head}: {count(len(names), 'tenant')} ({clean(listed)})"


def document(tree: Tree, groups: Sequence[TenantGroup]) -> Document:
    """Return the document of where the tenants are."""
    found = [{"revisions": None if rows is None else list(rows), "tenants": list(names)} for rows, names in groups]
    return {**of(tree, "tenants"), "groups": found}
