"""Pictures: boxes do not overlap and are inside, lines join the right boxes, and lanes lead where they must."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, strategies as st
from support.law import law

from provision.insight.tables import Column, Reference, Table
from provision.report.diagram.erd import drawing
from provision.report.diagram.lanes import Row, lanes, text
from provision.report.diagram.layout import GAP, Box, Edge, Picture, layout

EXAMPLES = 60
NAMES = st.integers(0, 14).map(lambda number: f"t{number}")


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Box], list[Edge]]:
    """Boxes with edges between any of them: cycles, loops, several between two, and some that lead nowhere."""
    names = draw(st.lists(NAMES, unique=True, max_size=12))
    boxes = [Box(name, draw(st.integers(1, 300)), draw(st.integers(20, 400))) for name in names]
    offset = st.integers(0, 19)
    edges = draw(st.lists(st.builds(Edge, NAMES, NAMES, offset, offset), max_size=25, unique=True))
    return boxes, edges


def overlap(picture: Picture) -> list[tuple[str, str]]:
    return [
        (a.name, b.name)
        for a, b in combinations(picture.boxes, 2)
        if a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height
    ]


@law(EXAMPLES)
@given(graphs())
def test_boxes_are_all_there_inside_and_apart(graph: tuple[list[Box], list[Edge]]) -> None:
    boxes, edges = graph
    picture = layout(boxes, edges)
    assert sorted((each.name, each.width, each.height) for each in picture.boxes) == sorted(boxes)
    assert overlap(picture) == []
    for each in picture.boxes:
        assert each.x >= 0
        assert each.y >= 0
        assert each.x + each.width <= picture.width
        assert each.y + each.height <= picture.height


@law(EXAMPLES)
@given(graphs())
def test_boxes_above_each_other_have_a_gap(graph: tuple[list[Box], list[Edge]]) -> None:
    for a, b in combinations(layout(*graph).boxes, 2):
        if a.x < b.x + b.width and b.x < a.x + a.width:
            assert max(a.y, b.y) - (a.y + a.height if a.y < b.y else b.y + b.height) >= GAP


@law(EXAMPLES)
@given(graphs())
def test_lines_lead_from_side_to_side_of_their_boxes(graph: tuple[list[Box], list[Edge]]) -> None:
    boxes, edges = graph
    picture = layout(boxes, edges)
    at = {each.name: each for each in picture.boxes}
    known = [each for each in edges if each.source in at and each.target in at]
    assert sorted(line.edge for line in picture.lines) == sorted(known)
    for line in picture.lines:
        ends = ((line.edge.source, line.edge.source_offset), (line.edge.target, line.edge.target_offset))
        for (name, offset), (x, y), side in zip(ends, (line.points[0], line.points[-1]), line.sides, strict=True):
            box = at[name]
            assert (x, y) == (box.x + box.width if side == 1 else box.x, box.y + offset)
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points)


@law(EXAMPLES)
@given(graphs())
def test_a_line_passes_no_box_of_a_layer_between_its_ends(graph: tuple[list[Box], list[Edge]]) -> None:
    """It has a place of its own there: the level parts of it, between the curves, touch no box."""
    picture = layout(*graph)
    for line in picture.lines:
        passed = line.points[1:-1]
        for (left, y), (right, _) in zip(passed[::2], passed[1::2], strict=True):
            low, high = min(left, right), max(left, right)
            assert not [b for b in picture.boxes if b.x < high and low < b.x + b.width and b.y <= y <= b.y + b.height]


@law(EXAMPLES)
@given(graphs())
def test_the_same_boxes_are_in_the_same_places(graph: tuple[list[Box], list[Edge]]) -> None:
    assert layout(*graph) == layout(*graph)


@law(EXAMPLES)
@given(graphs())
def test_what_refers_is_right_of_what_it_refers_to_unless_that_leads_back(graph: tuple[list[Box], list[Edge]]) -> None:
    boxes, edges = graph
    order = {each.name: number for number, each in enumerate(boxes)}
    down = [each for each in edges if order.get(each.source, -1) > order.get(each.target, 99)]
    picture = layout(boxes, down)
    at = {each.name: each for each in picture.boxes}
    assert all(at[each.target].x + at[each.target].width < at[each.source].x for each in down)


def table(number: int, columns: int, others: list[int]) -> Table:
    keys = tuple([Reference(f"fk{each}", ("public", f"t{each}"), (f"c{each % columns}",), ("c0",)) for each in others])
    names = tuple([Column(f"c{each}", "integer", not_null=True, is_key=not each) for each in range(columns)])
    return Table("public", f"t{number}", names, keys)


@law(EXAMPLES)
@given(st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(0, 9), max_size=4, unique=True)), max_size=10))
def test_a_drawing_of_tables_holds_everything(shapes: list[tuple[int, list[int]]]) -> None:
    tables = [table(number, *each) for number, each in enumerate(shapes)]
    found = drawing(tables)
    assert len(found.curves) == sum(number < len(shapes) for _, others in shapes for number in others)
    for each in found.entities:
        assert 0 < each.x <= each.x + each.width < found.width
        assert 0 < each.y <= each.y + each.height < found.height
        assert all(0 < field.y < each.height for field in each.fields)
        assert len(each.fields) + each.more == len(each.table.columns)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    """Revisions, newest first: each follows none, one or several that are older."""
    count = draw(st.integers(0, 16))
    follows = {}
    for number in range(count):
        older = list(range(max(0, number - 4), number))
        chosen = draw(st.lists(st.sampled_from(older), unique=True, max_size=3)) if older else []
        follows[f"r{number}"] = [f"r{each}" for each in chosen]
    return list(follows)[::-1], follows


def followed(rows: tuple[Row, ...]) -> dict[str, list[str]]:
    """Read from the lanes alone what each revision follows."""
    begun: dict[int, str] = {}
    found: dict[str, list[str]] = {row.name: [] for row in rows}
    for row in rows:
        for lane in row.before:
            found[begun.pop(lane)].append(row.name)
        assert sorted(begun) == list(row.passing)
        assert row.lane not in begun
        begun |= dict.fromkeys(row.after, row.name)
    assert begun == {}
    return found


@law(EXAMPLES)
@given(histories())
def test_lanes_lead_from_each_revision_to_all_that_it_follows(history: tuple[list[str], dict[str, list[str]]]) -> None:
    names, follows = history
    found = followed(lanes(names, follows))
    assert {name: sorted(each) for name, each in found.items()} == {
        name: sorted(each) for name, each in follows.items()
    }


@law(EXAMPLES)
@given(histories())
def test_the_text_has_a_line_for_each_revision_in_their_order(history: tuple[list[str], dict[str, list[str]]]) -> None:
    names, follows = history
    lines = list(text(lanes(names, follows), {name: f"<{name}>" for name in names}))
    assert [line.split("<")[1].rstrip(">") for line in lines if "●" in line] == names
    columns = {line.index("<") for line in lines if "●" in line}
    assert len(columns) <= 1
