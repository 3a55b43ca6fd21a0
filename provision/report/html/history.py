"""The revisions of a tree as the page shows them: a row each with its lanes, and the laws of the tree beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from provision.alembic import Graph, Law, history
from provision.report.diagram.lanes import Row, lanes
from provision.report.html.words import Cut, cut, near
from provision.review import TreeReview
from provision.spec.model import Spec

_LANE: Final = 16
_FIRST: Final = 12
KNOT: Final = 16
"""How far below the top of its row a revision's knot is, in pixels."""
_EVIDENCE: Final = 8
_SIGNS: Final = {"passed": ("✓", "good"), "failed": ("✗", "bad"), "not checked": ("·", "quiet")}
TRIED: Final = ("one head", "empty → head", "up → down → up", "models")


class Segment(NamedTuple):
    """A line within a row, in pixels; ``below`` and ``to_below``: its end is the bottom of the row, however high."""

    x1: int
    y1: int
    x2: int
    y2: str
    pending: bool


class Revision(NamedTuple):
    """One row: ``when`` it was applied, in UTC, and its state.

    That is ``here``, ``applied``, ``pending``, ``other`` (beyond the target) or ``unknown``.
    """

    id: str
    message: str
    marks: tuple[str, ...]
    state: str
    when: str
    x: int
    segments: tuple[Segment, ...]


class LawView(NamedTuple):
    """One law: its sign with a tone, its name, and what became of it."""

    sign: str
    tone: str
    name: str
    text: str
    evidence: Cut


class History(NamedTuple):
    """The revisions and laws of a tree; ``width`` is that of the lanes in pixels, ``unknown`` rows that no file has."""

    name: str
    database: str
    total: int
    width: int
    revisions: tuple[Revision, ...]
    more: int
    unknown: tuple[str, ...]
    laws: tuple[LawView, ...]
    untried: str
    problem: str


def of(spec: Spec, tree: TreeReview, *, most: int) -> History:
    """Return the newest revisions of a tree, at most so many, and its laws."""
    if tree.tree is None:
        problem = near(spec, "; ".join([tree.problem.sentence, *tree.problem.evidence])) if tree.problem else ""
        return History(tree.name, tree.database, 0, 0, (), 0, (), (), "", problem)
    graph = tree.tree.graph
    names = history(graph)
    rows = lanes(names, {each: graph.predecessors(each) for each in names})[:most]
    widest = max([at for row in rows for at in (row.lane, *row.before, *row.after, *row.passing)], default=0)
    applied = graph.ancestors([each for each in tree.rows or () if each in graph])
    pending = {each.revision for script in tree.scripts if script.rendering for each in script.rendering.revisions}
    states = {each: _state(tree, each, applied, pending) for each in names}
    return History(
        tree.name,
        tree.database,
        len(names),
        2 * _FIRST + widest * _LANE,
        tuple([_row(tree, graph, row, states) for row in rows]),
        len(names) - len(rows),
        graph.unknown(tree.rows or ()),
        tuple([_law(spec, each) for each in tree.laws]),
        near(spec, tree.without.get("laws", "")) if len(tree.laws) < len(TRIED) else "",
        "",
    )


def _state(tree: TreeReview, name: str, applied: set[str], pending: set[str]) -> str:
    if tree.rows is None:
        return "unknown"
    if name in tree.rows:
        return "here"
    return "pending" if name in pending else "applied" if name in applied else "other"


def _row(tree: TreeReview, graph: Graph, row: Row, states: dict[str, str]) -> Revision:
    is_pending = states[row.name] in ("pending", "other")
    marks = (
        *(["head"] if row.name in graph.heads else []),
        *graph[row.name].branch_labels,
        *[f"needs {each}" for each in graph[row.name].depends_on],
    )
    when = "" if is_pending else tree.times.get(row.name, "")[:16]  # to the minute
    segments = tuple(_segments(row, pending=is_pending))
    return Revision(row.name, graph[row.name].message, marks, states[row.name], when, _x(row.lane), segments)


def _segments(row: Row, *, pending: bool) -> Iterator[Segment]:
    """Yield the lines of a row; ``100%`` is its bottom."""
    for at in row.passing:
        yield Segment(_x(at), 0, _x(at), "100%", pending=False)
    for at in row.before:
        yield Segment(_x(at), 0, _x(row.lane), str(KNOT), pending=False)
    for at in row.after:
        yield Segment(_x(row.lane), KNOT, _x(at), "100%", pending=pending)


def _x(lane: int) -> int:
    return _FIRST + lane * _LANE


def _law(spec: Spec, law: Law) -> LawView:
    sign, tone = _SIGNS[law.outcome]
    lines = [near(spec, line) for text in law.evidence for line in text.splitlines()]
    return LawView(sign, tone, law.name, near(spec, law.text), cut(lines, _EVIDENCE))
