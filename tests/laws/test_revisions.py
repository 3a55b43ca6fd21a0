"""Our reading of a tree gives the same answers as Alembic's, on trees of every shape.

Alembic gets the same revisions as values (``RevisionMap`` needs no files); what it would write into the version table
is found by running its own ``HeadMaintainer`` over the steps, with the statements left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.runtime.migration import HeadMaintainer, RevisionStep
from alembic.script.revision import RangeNotAncestorError, Revision as AlembicRevision, RevisionMap
from hypothesis import given, strategies as st
from support.law import law

from provision.alembic.tree.graph import Graph
from provision.alembic.tree.source import Revision
from provision.alembic.tree.targets import move_down, resolve, rows_after_stamp
from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Script(AlembicRevision):
    """A revision of Alembic's with the two functions that a step looks up."""

    class module:  # noqa: N801
        upgrade = downgrade = staticmethod(lambda: None)


class Rows(HeadMaintainer):
    """The version table as a set."""

    def __init__(self, rows: Iterable[str]) -> None:
        super().__init__(None, rows)  # type: ignore[arg-type]

    def _insert_version(self, version: str) -> None:
        assert version not in self.heads
        self.heads.add(version)

    def _delete_version(self, version: str) -> None:
        self.heads.remove(version)

    def _update_version(self, from_: str, to_: str) -> None:
        assert to_ not in self.heads
        self.heads.remove(from_)
        self.heads.add(to_)


def revision(name: str, down: Sequence[str] = (), depends_on: Sequence[str] = ()) -> Revision:
    return Revision(name, tuple(down), tuple(depends_on), (), "", (), 1, 1, Path(f"{name}.py"))


def alembic_map(revisions: Sequence[Revision]) -> RevisionMap:
    return RevisionMap(lambda: [Script(each.id, each.down or None, each.depends_on or None) for each in revisions])


def _stands_beside(name: str, down: Sequence[str], revisions: Sequence[Revision]) -> bool:
    """Tell whether a dependency is beside what a revision follows, not above it.

    Where it is above and the database is at other heads too, Alembic's own bookkeeping fails (a KeyError in
    ``merge_branch_idents``, a row too many after a downgrade), so there is nothing to compare with.
    """
    return _ancestors([name], revisions).isdisjoint(down)


@st.composite
def trees(draw: st.DrawFn, *, dependencies: int = 2) -> list[Revision]:
    count = draw(st.integers(1, 14))
    names = [f"rev{number:02}" for number in range(count)]
    found = []
    for number, name in enumerate(names):
        earlier = names[:number]
        down: list[str] = []
        depends_on: list[str] = []
        if earlier:
            wide = draw(st.sampled_from([1, 1, 1, 1, 0, 2, 3]))
            near = earlier[-3:] if draw(st.booleans()) else earlier
            down = draw(st.lists(st.sampled_from(near), unique=True, min_size=min(wide, len(near)), max_size=wide))
            down = _without_ancestors(down, found)
            if draw(st.integers(0, 3)) == 0:
                below = _ancestors(down, found)
                others = [each for each in earlier if each not in below and _stands_beside(each, down, found)]
                if others:
                    depends_on = draw(st.lists(st.sampled_from(others), unique=True, max_size=dependencies))
                    depends_on = _without_ancestors(depends_on, found)
        found.append(revision(name, down, depends_on))
    return draw(st.permutations(found))


def _ancestors(names: Iterable[str], revisions: Sequence[Revision]) -> set[str]:
    by_id = {each.id: each for each in revisions}
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        seen.add(name)
        todo += [*by_id[name].down, *by_id[name].depends_on]
    return seen


def _without_ancestors(names: list[str], revisions: Sequence[Revision]) -> list[str]:
    return [a for a in names if not any(a in _ancestors([b], revisions) for b in names if b != a)]


def _steps(graph_map: RevisionMap, names: Iterable[str], *, up: bool) -> list[RevisionStep]:
    return [RevisionStep(graph_map, graph_map.get_revision(name), up) for name in names]  # type: ignore[arg-type]


def _run(graph_map: RevisionMap, rows: Iterable[str], names: Iterable[str], *, up: bool) -> tuple[str, ...]:
    maintainer = Rows(rows)
    for step in _steps(graph_map, names, up=up):
        maintainer.update_to_step(step)
    return tuple(sorted(maintainer.heads))


def _upgrade(graph_map: RevisionMap, target: tuple[str, ...], rows: tuple[str, ...]) -> tuple[str, ...]:
    found: list[Any] = list(graph_map.iterate_revisions(target, rows or None, implicit_base=True))
    return tuple(each.revision for each in reversed(found))


@given(trees())
@law(75)
def test_heads_are_alembics(tree: list[Revision]) -> None:
    graph, theirs = Graph(tree), alembic_map(tree)
    assert sorted(graph.heads) == sorted(theirs.heads)
    assert sorted(resolve(graph, "heads")) == sorted(theirs._real_heads)


@given(trees(dependencies=1), st.data())
@law(100)
def test_an_upgrade_runs_the_same_revisions_in_the_same_order_and_leaves_the_same_rows(
    tree: list[Revision], data: st.DataObject
) -> None:
    graph, theirs = Graph(tree), alembic_map(tree)
    target: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    for _ in range(2):  # from empty to somewhere, and on from there
        target = graph.version_rows([*target, data.draw(st.sampled_from([each.id for each in tree]))])
        ours = graph.pending(rows, target)
        assert ours == _upgrade(theirs, target, rows)
        rows = _run(theirs, rows, ours, up=True)
        assert rows == graph.version_rows(target)


@given(trees(dependencies=3), st.data())
@law(75)
def test_what_runs_is_complete_and_nothing_runs_before_what_it_needs(tree: list[Revision], data: st.DataObject) -> None:
    """With several dependencies Alembic's order depends on its hash seed, so only the law itself can be tested."""
    graph, theirs = Graph(tree), alembic_map(tree)
    target = graph.version_rows([data.draw(st.sampled_from([each.id for each in tree]))])
    ours = graph.pending((), target)
    assert sorted(ours) == sorted(_upgrade(theirs, target, ()))
    done: set[str] = set()
    for name in ours:
        assert done.issuperset([*graph[name].down, *graph[name].depends_on])
        done.add(name)
    assert _run(theirs, (), ours, up=True) == graph.version_rows(target)


@given(trees(dependencies=1))
@law(75)
def test_a_downgrade_to_base_is_alembics(tree: list[Revision]) -> None:
    graph, theirs = Graph(tree), alembic_map(tree)
    rows = resolve(graph, "heads")
    ours = graph.downgrades(rows, ())
    found: list[Any] = list(theirs.iterate_revisions(rows, "base", select_for_downgrade=True))
    assert ours == tuple(each.revision for each in found)
    assert _run(theirs, rows, ours, up=False) == ()


@given(trees(dependencies=1), st.data())
@law(75)
def test_a_downgrade_leaves_exactly_the_target(tree: list[Revision], data: st.DataObject) -> None:
    graph, theirs = Graph(tree), alembic_map(tree)
    rows = resolve(graph, "heads")
    target = graph.version_rows([data.draw(st.sampled_from([each.id for each in tree]))])
    ours = graph.downgrades(rows, target)
    assert graph.ancestors(rows) - set(ours) == graph.ancestors(target)
    assert _run(theirs, rows, ours, up=False) == target


@given(trees(dependencies=1), st.data())
@law(100)
def test_a_downgrade_that_was_typed_undoes_what_alembics_does(tree: list[Revision], data: st.DataObject) -> None:
    graph, theirs = Graph(tree), alembic_map(tree)
    names = [each.id for each in tree]
    rows = graph.version_rows(data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2)))
    target = data.draw(st.sampled_from(sorted(graph.ancestors(rows))))
    try:
        ours = move_down(graph, rows, target)
    except MigrationsError:
        with pytest.raises(RangeNotAncestorError):
            list(theirs.iterate_revisions(rows, target, select_for_downgrade=True))
        return
    found: list[Any] = list(theirs.iterate_revisions(rows, target, select_for_downgrade=True))
    assert ours.names == tuple(each.revision for each in found)
    assert graph.downgrades(rows, ours.rows) == ours.names  # so that the rows alone say what is to be undone


@given(trees(), st.data())
@law(50)
def test_a_stamp_holds_what_was_asked_for_and_no_row_that_another_includes(
    tree: list[Revision], data: st.DataObject
) -> None:
    graph = Graph(tree)
    names = [each.id for each in tree]
    rows = graph.version_rows(data.draw(st.lists(st.sampled_from(names), max_size=3)))
    wanted = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    after = rows_after_stamp(graph, rows, wanted, purge=False)
    assert graph.version_rows(after) == after
    assert set(wanted) <= graph.ancestors(after)
    assert set(after) <= {*rows, *wanted}
    assert rows_after_stamp(graph, rows, wanted, purge=True) == graph.version_rows(wanted)
    assert rows_after_stamp(graph, ("nowhere",), ["base"], purge=True) == ()


@given(trees())
@law(40)
def test_at_the_target_there_is_nothing_to_do(tree: list[Revision]) -> None:
    graph = Graph(tree)
    rows = resolve(graph, "heads")
    assert graph.pending(rows, rows) == graph.downgrades(rows, rows) == ()
