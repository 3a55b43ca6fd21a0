"""Whether a golden fits what is wanted: a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from provision.golden.key import Fit, Golden, Inputs, Recorded, TreeInputs, choose, match
from provision.model.value import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLIER = "migrations/shop: revision %s runs before some of those that it has"
CLUSTER = {"runtime": "embedded", "programs": "18a", "initdb": "--locale=C"}


def tree(applied: str, unapplied: str = "", rows: str | None = None, name: str = "shop", **parts: str) -> TreeInputs:
    """Return a tree whose revisions are letters; one with a ``'`` behind it was edited."""
    last = applied.split()[-1:] if rows is None else rows.split()
    parts = {"python": "3.11", "file env.py": "e", **parts}
    return TreeInputs(name, tuple(each.rstrip("'") for each in last), _files(applied), _files(unapplied), parts)


def _files(text: str) -> Mapping[str, str]:
    return {each.rstrip("'"): f"digest of {each}" for each in text.split()}


def inputs(*trees: TreeInputs, **changes: Any) -> Inputs:
    """Return inputs with these trees."""
    declared = {"role app": "1", "setting timezone": "UTC", **changes.pop("declared", {})}
    return Inputs({**CLUSTER, **changes}, declared, trees)


def outcome(before: Inputs, after: Inputs, level: int = 1) -> str:
    """Say how a golden of what was there before fits: ``exact``, ``level 0``, what remains, or why it does not."""
    found = match(after, Golden.of(before, level=level))
    if isinstance(found, str):
        return found
    if found.golden.level == 0:
        return "level 0"
    rest = [f"{name} {'+'.join(rows) or 'base'} + {count}" for name, (rows, count) in found.rest.items()]
    return ", ".join(rest) or "exact"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (tree("a b"), tree("a b"), "exact"),
        (tree(""), tree(""), "exact"),
        (tree("a b"), tree("a b c d"), "shop b + 2"),
        (tree(""), tree("a"), "shop base + 1"),
        # Only new files are allowed.
        (tree("a b"), tree("a' b"), "migrations/shop: revision a was edited"),
        (tree("a b"), tree("a' b c"), "migrations/shop: revision a was edited"),
        (tree("a b"), tree("a c"), "migrations/shop: revision b is gone"),
        (tree("a b"), tree("a"), "migrations/shop: revision b is gone"),
        # Where the target is moves.
        (tree("a b c"), tree("a b", "c"), "migrations/shop: c is beyond the target"),
        (tree("a b", "c"), tree("a b c"), "shop b + 1"),
        (tree("a b", "c"), tree("a b", "c d"), "exact"),
        (tree("a b", "c"), tree("a b", "c'"), "migrations/shop: revision c was edited"),
        (tree("a b", "c"), tree("a b"), "migrations/shop: revision c is gone"),
        # Branches, merges and several heads; what ran later there must not run before it now.
        (tree("a b c", rows="b c"), tree("a b c", rows="c b"), "exact"),
        (tree("a b c", rows="b c"), tree("a c b", rows="b c"), f"{EARLIER % 'c'}"),
        (tree("a b", rows="b"), tree("a c b m", rows="m"), f"{EARLIER % 'c'}"),
        (tree("a b", rows="b"), tree("a b c d", rows="c d"), "shop b + 2"),
        (tree("a b c", rows="b c"), tree("a b c m", rows="m"), "shop b+c + 1"),
        (tree("a x", rows="x"), tree("a b", "x", rows="b"), "migrations/shop: x is beyond the target"),
        # What else decides.
        (tree("a"), tree("a b", python="3.12"), "migrations/shop: python: 3.11 → 3.12"),
        (tree("a"), tree("a", **{"file env.py": "f"}), "migrations/shop: file env.py: e → f"),
        (tree("a"), tree("a", **{"file util.py": "u"}), "migrations/shop: file util.py: none → u"),
        (tree("a", **{"file util.py": "u"}), tree("a"), "migrations/shop: file util.py: u → none"),
        (tree("a", env="x" * 50), tree("a", env="y"), f"migrations/shop: env: {'x' * 40}… → y"),
        (tree("a"), tree("a", name="other"), "trees: shop → other"),
    ],
)
def test_one_tree(before: TreeInputs, after: TreeInputs, expected: str) -> None:
    assert outcome(inputs(before), inputs(after)) == expected


ONE, TWO = tree("a b"), tree("p q", name="more")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([ONE, TWO], [ONE, TWO], "exact"),
        ([ONE, TWO], [ONE, tree("p q r", name="more")], "more q + 1"),
        ([ONE], [ONE, TWO], "more base + 2"),
        ([ONE], [tree("a b c"), TWO], "shop b + 1, more base + 2"),
        ([], [ONE, TWO], "shop base + 2, more base + 2"),
        ([ONE, tree("", name="more")], [tree("a b c"), TWO], "shop b + 1, more base + 2"),
        # The second tree has run where the first one was not complete.
        ([ONE, TWO], [tree("a b c"), TWO], "migrations/shop has new revisions, and migrations/more ran after it"),
        ([ONE, TWO], [TWO, ONE], "trees: shop, more → more, shop"),
        ([ONE, TWO], [ONE], "trees: shop, more → shop"),
        ([ONE], [], "trees: shop → none"),
    ],
)
def test_several_trees(before: list[TreeInputs], after: list[TreeInputs], expected: str) -> None:
    assert outcome(inputs(*before), inputs(*after)) == expected


@pytest.mark.parametrize(
    ("changes", "expected", "level0"),
    [
        ({}, "exact", "level 0"),
        ({"programs": "18b"}, "programs: 18a → 18b", "programs: 18a → 18b"),
        ({"initdb": "--locale=de"}, "initdb: --locale=C → --locale=de", "initdb: --locale=C → --locale=de"),
        ({"initdb/1.sql": "s"}, "initdb/1.sql: none → s", "initdb/1.sql: none → s"),
        ({"variable POSTGRES_DB": "shop"}, "variable POSTGRES_DB: none → shop", "level 0"),
        ({"declared": {"role app": "2"}}, "role app: 1 → 2", "level 0"),
        ({"declared": {"role more": "1"}}, "role more: none → 1", "level 0"),
        ({"declared": {"setting timezone": "GMT"}}, "setting timezone: UTC → GMT", "level 0"),
    ],
)
def test_the_server_and_what_is_declared(changes: dict[str, Any], expected: str, level0: str) -> None:
    before, after = inputs(ONE), inputs(ONE, **changes)
    assert (outcome(before, after), outcome(before, after, level=0)) == (expected, level0)


def chosen(candidates: list[Golden], changed: tuple[Recorded, ...] = ()) -> tuple[Fit | None, list[str]]:
    reasons: list[str] = []
    fit = choose(
        inputs(tree("a b c d")),
        candidates,
        lambda each: "a file was changed" if each in changed else "",
        lambda golden, why: reasons.append(f"{golden.level}: {why}"),
    )
    return fit, reasons


LEVEL0, SHORT, LONG, EXACT = (
    Golden.of(inputs(tree(each)), level=level) for each, level in (("", 0), ("a", 1), ("a b c", 1), ("a b c d", 1))
)


@pytest.mark.parametrize(
    ("candidates", "best", "words"),
    [
        ([LEVEL0, SHORT, LONG, EXACT], EXACT, ""),
        ([LEVEL0, SHORT, LONG], LONG, ", c + 1 revision"),
        ([SHORT, LEVEL0], SHORT, ", a + 3 revisions"),
        ([LEVEL0], LEVEL0, ", an empty server"),
    ],
)
def test_the_longest_beginning_wins_and_level_0_is_the_last(candidates: list[Golden], best: Golden, words: str) -> None:
    fit, reasons = chosen(candidates)
    assert fit is not None
    assert (fit.golden, str(fit), reasons) == (best, f"golden {best.key[:4]}…{words}", [])


def test_one_whose_code_reads_something_else_now_is_passed_over() -> None:
    read = Recorded({"app/models.py": "m"})
    best, level0 = Golden.of(inputs(tree("a b c")), read), Golden.of(inputs(), level=0)
    fit, reasons = chosen([best, level0], changed=(read,))
    assert fit is not None
    assert (fit.golden, reasons) == (level0, ["1: a file was changed"])
    assert chosen([best], changed=(read,)) == (None, ["1: a file was changed"])


def test_a_document_says_the_same() -> None:
    golden = replace(
        Golden.of(inputs(ONE, TWO), Recorded({"a": "1"}, {"A": "-"}, "x", ("B",))), size=3, made=1.5, used=2.5
    )
    document = json.loads(json.dumps(golden.document()))
    assert Golden.read(document) == golden
    assert len(golden.key) == 64


@pytest.mark.parametrize(
    "spoiled",
    [
        {"format": 0},
        {"level": 2},
        {"key": "0" * 64},
        {"recorded": {"files": {"b": "2"}, "variables": {}, "everything": "", "own": []}},
        {"inputs": {"cluster": {}}},
        {"size": "many"},
    ],
)
def test_a_document_that_was_changed_is_none(spoiled: dict[str, Any]) -> None:
    document = {**Golden.of(inputs(ONE)).document(), **spoiled}
    assert Golden.read(json.loads(json.dumps(document))) is None


@pytest.mark.parametrize("document", [None, [], {}, "x", 3])
def test_what_is_no_document_is_none(document: Any) -> None:
    assert Golden.read(document) is None


def test_all_that_decides_is_in_the_key() -> None:
    first = Golden.of(inputs(ONE))
    others = [
        Golden.of(inputs(ONE, programs="18b")),
        Golden.of(inputs(ONE, declared={"role app": "2"})),
        Golden.of(inputs(tree("a b'"))),
        Golden.of(inputs(tree("a b", python="3.12"))),
        Golden.of(inputs(ONE), Recorded({"a": "1"})),
        Golden.of(inputs(ONE), level=0),
    ]
    assert len({first.key, *[each.key for each in others]}) == 7
    assert Golden.of(inputs(ONE), level=0).key == Golden.of(inputs(tree("x")), level=0).key
