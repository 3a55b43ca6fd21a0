"""Where boxes are that refer to each other: in layers from left to right, what is referred to on the left.

It is Sugiyama's method, in its simplest form: break the cycles, give each box the layer behind everything that it
refers to, put a point into each layer that an edge passes, order each layer by where its neighbours are, and move
boxes to the height of their neighbours without overlapping. Everything is decided by order, never by chance, so the
same boxes are always in the same places. Lengths are in pixels.
https://en.wikipedia.org/wiki/Layered_graph_drawing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Final, NamedTuple

GAP: Final = 22
"""Between boxes of a layer."""
LANE: Final = 56
"""Between layers, for the edges."""
WIDEST: Final = 1080
"""What is beside each other where that is up to us, in pixels."""
_POINT: Final = 10
"""The height of the place that an edge takes in a layer that it passes."""
_ROUNDS: Final = 6


class Box(NamedTuple):
    """A box as it was asked for: its name and its size."""

    name: str
    width: int
    height: int


class Edge(NamedTuple):
    """An edge: ``source`` refers to ``target``; the offsets say how far below the tops of the boxes it begins."""

    source: str
    target: str
    source_offset: int
    target_offset: int


class Placed(NamedTuple):
    """A box in its place."""

    name: str
    x: int
    y: int
    width: int
    height: int


class Line(NamedTuple):
    """An edge as points from its source to its target; ``sides`` are the sides where it leaves them: -1 left, 1 right.

    One from a box to itself has two points on the same side.
    """

    edge: Edge
    points: tuple[tuple[int, int], ...]
    sides: tuple[int, int]


class Picture(NamedTuple):
    """Boxes and lines, and the size of what they take."""

    width: int
    height: int
    boxes: tuple[Placed, ...]
    lines: tuple[Line, ...]


Way = tuple[str, ...]
"""The places that an edge passes, from its left to its right end."""


def layout(boxes: Sequence[Box], edges: Sequence[Edge]) -> Picture:
    """Place boxes, and lines between them; edges to boxes that are not there are left out.

    What is connected is one picture of its own; these, and boxes that nothing refers to, follow each other.
    """
    names = {each.name for each in boxes}
    real = [each for each in edges if each.source in names and each.target in names]
    groups = _groups(boxes, real)
    pictures = [_layered(group, [e for e in real if e.source in {b.name for b in group}]) for group in groups]
    connected = [each for each, group in zip(pictures, groups, strict=True) if len(group) > 1]
    alone = [each for each, group in zip(pictures, groups, strict=True) if len(group) == 1]
    return _below(_shelves(connected), _columns(alone))


def _groups(boxes: Sequence[Box], edges: Sequence[Edge]) -> list[list[Box]]:
    """Return what hangs together, the largest first."""
    leader = {each.name: each.name for each in boxes}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for each in edges:
        leader[find(each.source)] = find(each.target)
    found: dict[str, list[Box]] = {}
    for box in boxes:
        found.setdefault(find(box.name), []).append(box)
    return sorted(found.values(), key=len, reverse=True)


def _layered(boxes: Sequence[Box], edges: Sequence[Edge]) -> Picture:
    loops = [each for each in edges if each.source == each.target]
    ahead = _acyclic(boxes, [each for each in edges if each.source != each.target])
    layer = _layers(boxes, [(left, right) for left, right, _ in ahead])
    size = {each.name: (each.width, each.height) for each in boxes}
    layers: list[list[str]] = [[] for _ in range(max(layer.values()) + 1)]
    for box in boxes:
        layers[layer[box.name]].append(box.name)
    ways: list[tuple[Way, Edge]] = []
    for number, (left, right, edge) in enumerate(ahead):
        passed = [f"\0{number}:{at}" for at in range(layer[left] + 1, layer[right])]
        for at, point in enumerate(passed, layer[left] + 1):
            layers[at].append(point)
            size[point] = (0, _POINT)
        ways.append(((left, *passed, right), edge))
    ports = _ports(ways)
    _order(layers, ports)
    top = _heights(layers, size, ports)
    return _drawn(layers, size, top, ways, loops)


def _acyclic(boxes: Sequence[Box], edges: Sequence[Edge]) -> list[tuple[str, str, Edge]]:
    """Return the edges with their left and right ends: what is referred to is left, but where that makes a cycle."""
    follows: dict[str, list[str]] = {each.name: [] for each in boxes}
    for each in edges:
        follows[each.source].append(each.target)
    done: set[str] = set()
    active: set[str] = set()
    back: set[tuple[str, str]] = set()
    for box in boxes:
        walk = [] if box.name in done else [(box.name, iter(follows[box.name]))]
        active |= {name for name, _ in walk}
        while walk:
            name, rest = walk[-1]
            found = next(rest, None)
            if found is None:
                walk.pop()
                active.discard(name)
                done.add(name)
            elif found in active:
                back.add((name, found))
            elif found not in done:
                active.add(found)
                walk.append((found, iter(follows[found])))
    return [(e.source, e.target, e) if (e.source, e.target) in back else (e.target, e.source, e) for e in edges]


def _layers(boxes: Sequence[Box], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each box: behind all that are left of it, and what is only left of others close to these."""
    before: dict[str, list[str]] = {each.name: [] for each in boxes}
    after: dict[str, list[str]] = {each.name: [] for each in boxes}
    for left, right in pairs:
        before[right].append(left)
        after[left].append(right)
    found: dict[str, int] = {}
    for name in TopologicalSorter(before).static_order():
        found[name] = max((found[each] + 1 for each in before[name]), default=0)
    for name, lefts in before.items():
        if after[name] and not lefts:
            found[name] = min(found[each] for each in after[name]) - 1
    return found


Ports = dict[str, list[tuple[str, int, int]]]
"""For each place its neighbours: which, and how far below the tops of both the edge is."""


def _ports(ways: Iterable[tuple[Way, Edge]]) -> tuple[Ports, Ports]:
    """Return the neighbours on the left, and on the right."""
    lefts: Ports = {}
    rights: Ports = {}
    for way, edge in ways:
        offsets = {edge.source: edge.source_offset, edge.target: edge.target_offset}
        for left, right in pairwise(way):
            at, there = offsets.get(left, _POINT // 2), offsets.get(right, _POINT // 2)
            rights.setdefault(left, []).append((right, at, there))
            lefts.setdefault(right, []).append((left, there, at))
    return lefts, rights


def _order(layers: list[list[str]], ports: tuple[Ports, Ports]) -> None:
    """Order each layer by the mean place of its neighbours, from left to right and back, and keep the best order."""
    best, fewest = [list(each) for each in layers], _crossings(layers, ports[1])
    for round_ in range(_ROUNDS):
        near = ports[round_ % 2]
        for names in layers if round_ % 2 == 0 else reversed(layers):
            place = {name: at / max(len(each), 1) for each in layers for at, name in enumerate(each)}
            means = {
                name: sum(place[other] for other, _, _ in near[name]) / len(near[name]) if name in near else place[name]
                for name in names
            }
            names.sort(key=means.__getitem__)
        crossings = _crossings(layers, ports[1])
        if crossings < fewest:
            best, fewest = [list(each) for each in layers], crossings
    layers[:] = best


def _crossings(layers: Sequence[Sequence[str]], rights: Ports) -> int:
    total = 0
    for names, following in pairwise(layers):
        place = {name: at for at, name in enumerate(following)}
        ends = [
            place[other] for name in names for other, _, _ in sorted(rights.get(name, []), key=lambda e: place[e[0]])
        ]
        total += sum(first > second for at, first in enumerate(ends) for second in ends[at + 1 :])
    return total


def _heights(
    layers: Sequence[Sequence[str]], size: Mapping[str, tuple[int, int]], ports: tuple[Ports, Ports]
) -> dict[str, int]:
    """Return the top of each place: as near to its neighbours as its order allows."""
    top: dict[str, int] = {}
    for names in layers:
        top |= dict(zip(names, _apart([0] * len(names), [_tall(size[name]) for name in names]), strict=True))
    for round_ in range(_ROUNDS):
        near = ports[round_ % 2]
        for names in layers if round_ % 2 == 0 else reversed(layers):
            wanted = [_wanted(top, name, near.get(name, ())) for name in names]
            top |= dict(zip(names, _apart(wanted, [_tall(size[name]) for name in names]), strict=True))
    least = min(top.values())
    return {name: at - least for name, at in top.items()}


def _tall(size: tuple[int, int]) -> int:
    """Return the height of a place with the gap below it; lines may be closer to each other than boxes."""
    return size[1] + (GAP if size[0] else _POINT)


def _wanted(top: Mapping[str, int], name: str, near: Sequence[tuple[str, int, int]]) -> int:
    """Return where the top of a box is when its edges are as level as they can be: at the median."""
    levels = sorted(top[other] + there - at for other, at, there in near)
    if not levels:
        return top[name]
    return (levels[(len(levels) - 1) // 2] + levels[len(levels) // 2]) // 2


def _apart(wanted: Sequence[int], heights: Sequence[int]) -> list[int]:
    """Return tops near to those that are wanted, in their order; ``heights`` are with the gaps below.

    Neighbours that are too close become a block, which is where it suits its members best.
    """
    blocks: list[tuple[list[int], int]] = []  # where each member wants the block's top, and the height of the block
    for want, height in zip(wanted, heights, strict=True):
        wants, tall = [want], height
        while blocks and _middle(blocks[-1][0]) + blocks[-1][1] > _middle(wants):
            before, above = blocks.pop()
            wants, tall = [*before, *[each - above for each in wants]], above + tall
        blocks.append((wants, tall))
    found: list[int] = []
    for wants, _ in blocks:
        at = _middle(wants)
        for _ in wants:
            found.append(at)
            at += heights[len(found) - 1]
    return found


def _middle(values: Sequence[int]) -> int:
    return sum(values) // len(values)


def _drawn(
    layers: Sequence[Sequence[str]],
    size: Mapping[str, tuple[int, int]],
    top: Mapping[str, int],
    ways: Sequence[tuple[Way, Edge]],
    loops: Sequence[Edge],
) -> Picture:
    left: dict[str, int] = {}
    ends: dict[str, int] = {}
    at = 0
    for names in layers:
        wide = max(size[name][0] for name in names)
        for name in names:
            left[name], ends[name] = at, at + (size[name][0] or wide)
        at += wide + LANE
    lines = [_line(way, edge, left, ends, top) for way, edge in ways]
    lines += [
        Line(
            each,
            ((ends[each.source], top[each.source] + each.source_offset),
             (ends[each.source], top[each.source] + each.target_offset)),
            (1, 1),
        )
        for each in loops
    ]  # fmt: skip
    boxes = [Placed(name, left[name], top[name], *size[name]) for name in size if size[name][0]]
    width = at - LANE + (LANE // 2 if loops else 0)
    return Picture(width, max(top[name] + size[name][1] for name in size), tuple(boxes), tuple(lines))


def _line(way: Way, edge: Edge, left: Mapping[str, int], ends: Mapping[str, int], top: Mapping[str, int]) -> Line:
    offsets = {edge.source: edge.source_offset, edge.target: edge.target_offset}
    first, *passed, last = way
    points = [(ends[first], top[first] + offsets[first])]
    for name in passed:
        points += [(left[name], top[name] + _POINT // 2), (ends[name], top[name] + _POINT // 2)]
    points.append((left[last], top[last] + offsets[last]))
    if first == edge.source:
        return Line(edge, tuple(points), (1, -1))
    return Line(edge, tuple(points[::-1]), (-1, 1))


def _moved(picture: Picture, x: int, y: int) -> Picture:
    boxes = tuple([each._replace(x=each.x + x, y=each.y + y) for each in picture.boxes])
    lines = [each._replace(points=tuple([(a + x, b + y) for a, b in each.points])) for each in picture.lines]
    return Picture(picture.width, picture.height, boxes, tuple(lines))


def _joined(pictures: Sequence[Picture]) -> Picture:
    """Return pictures that were moved to where they belong as one."""
    boxes = tuple([box for each in pictures for box in each.boxes])
    lines = tuple([line for each in pictures for line in each.lines])
    spare = [x for line in lines if line.edge.source == line.edge.target for x in [line.points[0][0] + LANE // 2]]
    width = max([*[each.x + each.width for each in boxes], *spare], default=0)
    passed = [y for line in lines for _, y in line.points]  # below all boxes, where a line passes a low one
    return Picture(width, max([*[each.y + each.height for each in boxes], *passed], default=0), boxes, lines)


def _shelves(pictures: Sequence[Picture]) -> Picture:
    """Return pictures beside each other where that fits, and below where not."""
    found: list[Picture] = []
    x = y = tall = 0
    for each in pictures:
        if x and x + each.width > WIDEST:
            x, y, tall = 0, y + tall + 2 * GAP, 0
        found.append(_moved(each, x, y))
        x, tall = x + each.width + LANE, max(tall, each.height)
    return _joined(found)


def _columns(pictures: Sequence[Picture]) -> Picture:
    """Return single boxes in columns of one width, each put where most room is left."""
    if not pictures:
        return Picture(0, 0, (), ())
    wide = max(each.width for each in pictures) + GAP
    ends = [0] * max(1, min(len(pictures), (WIDEST + GAP) // wide))
    found = []
    for each in pictures:
        at = min(range(len(ends)), key=ends.__getitem__)
        found.append(_moved(each, at * wide, ends[at]))
        ends[at] += each.height + GAP
    return _joined(found)


def _below(first: Picture, second: Picture) -> Picture:
    if not first.boxes:
        return second
    return _joined([first, _moved(second, 0, first.height + 2 * GAP)])
