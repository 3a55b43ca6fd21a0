"""A target means the same revisions as with Alembic, and is refused where Alembic refuses it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.script.revision import Revision as AlembicRevision, RevisionError, RevisionMap
from hypothesis import given, strategies as st
from support.law import law

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.source import Revision
from provision.alembic.tree.targets import resolve
from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Sequence

LABELS = ("users", "usage", "bi")
REFUSED = "refused"


def revision(name: str, down: Sequence[str], depends_on: Sequence[str], labels: Sequence[str]) -> Revision:
    return Revision(name, tuple(down), tuple(depends_on), tuple(labels), "", (), 1, 1, Path(f"{name}.py"))


@st.composite
def trees(draw: st.DrawFn) -> list[Revision]:
    names = [f"{draw(st.sampled_from(['rev', 'use', 'a.']))}{number:02}" for number in range(draw(st.integers(1, 9)))]
    labels = list(LABELS)
    found: list[Revision] = []
    for number, name in enumerate(names):
        earlier = names[:number]
        down = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=2)) if earlier else []
        down = [a for a in down if not any(a in Graph(found).ancestors([b]) for b in down if b != a)]
        rest = [each for each in earlier if each not in Graph(found).ancestors(down)] if earlier else []
        depends_on = draw(st.lists(st.sampled_from(rest), unique=True, max_size=1)) if rest else []
        own = [labels.pop()] if labels and draw(st.integers(0, 3)) == 0 else []
        found.append(revision(name, down, depends_on, own))
    return found


def alembic_map(tree: Sequence[Revision]) -> RevisionMap:
    return RevisionMap(
        lambda: [
            AlembicRevision(e.id, e.down or None, e.depends_on or None, e.branch_labels or None)  # type: ignore[arg-type]
            for e in tree
        ]
    )


def theirs(tree: Sequence[Revision], target: str, rows: tuple[str, ...]) -> Any:
    revisions = alembic_map(tree)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning says that going down from several heads will be refused
            if "-" in target:
                _, found = revisions._parse_downgrade_target(rows, target, assert_relative_length=True)
                return () if found == "base" else (found.revision,)
            found = revisions._parse_upgrade_target(rows, target, assert_relative_length=True)
        return tuple(sorted(each.revision for each in found))
    except (RevisionError, AssertionError, AttributeError, KeyError, UserWarning):
        return REFUSED


def ours(tree: Sequence[Revision], target: str, rows: tuple[str, ...]) -> Any:
    try:
        return tuple(sorted(resolve(Graph(tree), target, rows)))
    except MigrationsError:
        return REFUSED


@st.composite
def targets(draw: st.DrawFn, names: Sequence[str]) -> str:
    parts = [*names, *LABELS, "rev0", "use", "us", "nowhere", "head", "base"]
    branch = draw(st.sampled_from([None, None, *LABELS, *names]))
    start = draw(st.sampled_from([*parts, "heads", None]))
    steps = draw(st.sampled_from(["", "", "+1", "+2", "-1", "-3"]))
    if start is None and not steps:
        start = "head"
    return (f"{branch}@" if branch else "") + (start or "") + steps


@given(trees(), st.data())
@law(125)
def test_a_target_is_alembics(tree: list[Revision], data: st.DataObject) -> None:
    graph = Graph(tree)
    target = data.draw(targets([each.id for each in tree]))
    applied = data.draw(st.lists(st.sampled_from([each.id for each in tree]), max_size=2))
    rows = graph.version_rows(applied)
    found = ours(tree, target, rows)
    if found == REFUSED and "@base" in target:
        return  # Alembic does not look whether there is such a branch
    assert found == theirs(tree, target, rows)
