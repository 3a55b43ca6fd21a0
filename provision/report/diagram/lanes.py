"""The revisions of a tree as a graph of lanes, newest first, as ``git log --graph`` draws commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One revision: its lane, counted from 0, and what passes it.

    ``before`` are lanes that end here, coming from newer revisions; ``after`` are lanes that begin here, towards what
    it follows; ``passing`` are those of others. Its own lane is in ``before`` if it is continued from above, and in
    ``after`` if it continues.
    """

    name: str
    lane: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    passing: tuple[int, ...]


def lanes(names: Sequence[str], follows: Mapping[str, Sequence[str]]) -> tuple[Row, ...]:
    """Give each revision a lane; ``names`` are newest first, and ``follows`` what each builds or depends on.

    What is not among ``names`` is followed by a lane that does not end.
    """
    waiting: list[str | None] = []
    """For each lane, the revision that ends it."""
    found = []
    for name in names:
        before = tuple([at for at, each in enumerate(waiting) if each == name])
        lane = before[0] if before else _free(waiting)
        for at in before:
            waiting[at] = None
        passing = tuple([at for at, each in enumerate(waiting) if each is not None])
        after = []
        for number, parent in enumerate(follows.get(name, ())):
            at = lane if not number else _free(waiting)
            if at == len(waiting):
                waiting.append(None)
            waiting[at] = parent
            after.append(at)
        found.append(Row(name, lane, before, tuple(after), passing))
    return tuple(found)


def _free(waiting: Sequence[str | None]) -> int:
    """Return the first lane that nothing uses."""
    return next((at for at, each in enumerate(waiting) if each is None), len(waiting))


def text(rows: Sequence[Row], words: Mapping[str, str], signs: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the graph as lines: a sign for each revision with its words, and lines where lanes part and meet."""
    width = 2 * max([at for each in rows for at in (each.lane, *each.before, *each.after, *each.passing)], default=0)
    for row in rows:
        if len(row.before) > 1:
            yield _link(row.lane, row.before, row.passing, "╯").rstrip()
        line = [" "] * (width + 2)
        for at in row.passing:
            line[2 * at] = "│"
        line[2 * row.lane] = (signs or {}).get(row.name, "●")
        yield f"{''.join(line)} {words.get(row.name, row.name)}"
        if len(row.after) > 1:
            yield _link(row.lane, row.after, row.passing, "╮").rstrip()


def _link(lane: int, ends: Sequence[int], passing: Sequence[int], corner: str) -> str:
    """Return the line that joins a lane with others; lanes that it crosses go on."""
    first, last = min(lane, *ends), max(lane, *ends)
    line = [" "] * (2 * max(last, *passing, lane) + 1)
    for at in range(2 * first, 2 * last + 1):
        line[at] = "─"
    for at in passing:
        line[2 * at] = "┼" if first < at < last else "│"
    left = "╭" if corner == "╮" else "╰"
    for at in ends:
        line[2 * at] = (corner if at == last else "┬" if corner == "╮" else "┴") if at > lane else left
        if first < at < lane:
            line[2 * at] = "┬" if corner == "╮" else "┴"
    line[2 * lane] = "┼" if first < lane < last else "├" if last > lane else "┤"
    return "".join(line)
