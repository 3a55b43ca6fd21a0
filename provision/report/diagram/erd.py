"""Tables as a picture, as the template of the report draws it: boxes, columns, and curves from key to key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from provision.insight.tables import Column, Reference, Table
from provision.report.amounts import rows, size
from provision.report.diagram.layout import Box, Edge, Line, Picture, layout
from provision.report.words import clean

Key = tuple[str, str]

ROW: Final = 18
HEAD: Final = 30
MOST_COLUMNS: Final = 12
"""Columns in a box; keys come first when there are more."""
_PER_CHARACTER: Final = 6.4
"""Pixels of a character of 12 pixels on average, in the fonts that browsers bring; the boxes clip what is wider."""
_PER_LETTER: Final = 8.0
"""The same of a bold one of 13 pixels."""
_NARROWEST, _WIDEST = 150, 260
_PAD: Final = 10
_MARGIN: Final = 14
"""Around the picture: an edge of a box has a width, and the foot of a crow."""
_LONGEST: Final = 24
_FOOT: Final = 9


class Field(NamedTuple):
    """A column as it is drawn: its name, type and marks, and where its baseline is below the top of its box."""

    name: str
    type: str
    is_key: bool
    is_reference: bool
    y: int


class Entity(NamedTuple):
    """A table as it is drawn; ``tone`` and ``what`` are what happens to it: for the style sheet, and in words.

    ``amount`` is how large it is, ``more`` how many columns are left out.
    """

    table: Table
    title: str
    amount: str
    fields: tuple[Field, ...]
    more: int
    tone: str
    what: str
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0

    @property
    def last(self) -> int:
        """Where the row below the columns is."""
        return HEAD + len(self.fields) * ROW + ROW // 2


class Curve(NamedTuple):
    """An edge as an SVG path with its ends: the foot of a crow where rows refer, a bar where they are referred to."""

    path: str
    label: str


class Drawing(NamedTuple):
    """What the template draws."""

    width: int
    height: int
    entities: tuple[Entity, ...]
    curves: tuple[Curve, ...]


def drawing(tables: Sequence[Table], marks: Mapping[Key, tuple[str, str]] | None = None) -> Drawing:
    """Return the picture of tables; what they refer to and is not among them has no line.

    ``marks`` are the tone and the words for what happens to a table.
    """
    entities = {name(each.key): _entity(each, *(marks or {}).get(each.key, ("", ""))) for each in tables}
    boxes = [Box(label, each.width, each.height) for label, each in entities.items()]
    edges, labels = [], []
    for table in tables:
        for each in table.references:
            if name(each.to) in entities:
                own, other = entities[name(table.key)], entities[name(each.to)]
                edges.append(Edge(name(table.key), name(each.to), _row(own, each.columns), _row(other, each.others)))
                labels.append(f"{title(table, each)}, {each.name}")
    picture = layout(boxes, edges)
    words = dict(zip(edges, labels, strict=True))
    return _drawn(picture, entities, words)


def title(table: Table, reference: Reference) -> str:
    """Return in words what refers to what: ``orders (user_id) → users (id)``."""
    schema, other = reference.to
    there = other if schema == "public" else f"{schema}.{other}"
    return f"{table.title} ({', '.join(reference.columns)}) → {there} ({', '.join(reference.others)})"


def name(key: Key) -> str:
    """Return the name of a box; no two tables have the same."""
    return f"{key[0]}\0{key[1]}"


def _entity(table: Table, tone: str, what: str) -> Entity:
    referring = {column for each in table.references for column in each.columns}
    shown = _shown(table.columns, referring)
    fields = tuple(
        [
            Field(_cut(each.name), _type(each), each.is_key, each.name in referring, HEAD + at * ROW + ROW // 2)
            for at, each in enumerate(shown)
        ]
    )
    amount = f"{rows(table.rows)} · {size(table.size)}"
    heading = _cut(table.title)
    more = len(table.columns) - len(shown)
    longest = max([len(each.name) + len(each.type) + 3 for each in fields], default=0) * _PER_CHARACTER
    longest = max(longest, len(heading) * _PER_LETTER + (len(amount) + 2) * _PER_CHARACTER)
    width = round(min(_WIDEST, max(_NARROWEST, longest + 2 * _PAD)))
    height = HEAD + ROW * (len(fields) + bool(more) + bool(what)) + 6
    return Entity(table, heading, amount, fields, more, tone, what, width=width, height=height)


def _shown(columns: Sequence[Column], referring: Collection[str]) -> list[Column]:
    if len(columns) <= MOST_COLUMNS:
        return [*columns]
    first = sorted(columns, key=lambda each: not (each.is_key or each.name in referring))[: MOST_COLUMNS - 1]
    return [each for each in columns if each in first]


def _type(column: Column) -> str:
    """Return a type as it fits into a box, with a question mark where the column may be null."""
    text = column.type
    for long, short in _SHORT.items():
        text = text.replace(long, short)
    return _cut(text) + ("" if column.not_null else "?")


_SHORT: Final = {
    "character varying": "varchar",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "double precision": "float8",
    "character(": "char(",
}


def _cut(text: str) -> str:
    return clean(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _row(entity: Entity, columns: Sequence[str]) -> int:
    """Return how far below the top of a box the first of some columns is; its middle where that is not shown."""
    wanted = _cut(columns[0]) if columns else ""
    return next((each.y for each in entity.fields if each.name == wanted), HEAD // 2)


def _drawn(picture: Picture, entities: Mapping[str, Entity], words: Mapping[Edge, str]) -> Drawing:
    placed = [
        entities[box.name]._replace(x=box.x + _MARGIN, y=box.y + _MARGIN, width=box.width, height=box.height)
        for box in picture.boxes
    ]
    curves = [_curve(line, words[line.edge]) for line in picture.lines]
    return Drawing(picture.width + 2 * _MARGIN, picture.height + 2 * _MARGIN, tuple(placed), tuple(curves))


def _curve(line: Line, label: str) -> Curve:
    points = [(x + _MARGIN, y + _MARGIN) for x, y in line.points]
    (x, y), (end, at) = points[0], points[-1]
    many, one = line.sides
    if line.edge.source == line.edge.target:
        out = x + 26
        path = f"M{x} {y}C{out} {y} {out} {at} {end} {at}"
    else:
        path = f"M{x} {y}" + "".join(
            f"C{(a + c) // 2} {b} {(a + c) // 2} {d} {c} {d}" for (a, b), (c, d) in pairwise(points)
        )
    foot = x + many * _FOOT
    bar = end + one * _FOOT
    return Curve(f"{path}M{x} {y - 5}L{foot} {y}L{x} {y + 5}M{bar} {at - 5}V{at + 5}", label)
