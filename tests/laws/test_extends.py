"""What holds of any two mappings that are merged, and of any text that is set for a run."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, strategies as st
from support.law import law

from provision.errors import SpecError, UsageError
from provision.report import effective as report
from provision.spec.effective import values
from provision.spec.layers import merged
from provision.spec.load import read
from provision.spec.model import Spec
from provision.spec.reading import Reading
from provision.spec.variables import Variables
from provision.spec.yaml import Mapping, Scalar, parse

if TYPE_CHECKING:
    from provision.spec.yaml import Node

PLACE = ("elsewhere",)
"""A place where no keys exclude each other."""
SECRET = "Tr0ub4dor&3"
TABLE = Path(__file__).parent.parent / "tables" / "spec"
VALID = (TABLE / "every-key.yml").read_text()
KEYS = st.sampled_from(["a", "b", "c", "on", "d.e", "f g"])
TEXTS = st.sampled_from(
    ["x", "y z", "'", '"', "a: b", "# c", "5432", "true", "null", "~", "", "é😀", "a\nb", "[1]", "- d"]
)


def data(*, nulls: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings of mappings, lists and texts."""
    leaves = TEXTS | st.none() if nulls else TEXTS
    nested = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3))
    return st.dictionaries(KEYS, nested, max_size=4)


def node(value: dict[str, Any], source: int = 0) -> Mapping:
    """Return a mapping as a file has it."""
    top = parse(yaml.safe_dump(value, allow_unicode=True, width=1000).encode(), source).top
    assert top is not None
    return top


def plain(found: Node) -> Any:
    """Return what a node says, without its marks."""
    if isinstance(found, Scalar):
        return None if found.is_null else found.text
    if isinstance(found, Mapping):
        return {name: plain(value) for name, (_, value) in found.entries.items()}
    return [plain(each) for each in found.items]


def together(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Merge as the documents say it: by hand."""
    found = dict(lower)
    for name, value in upper.items():
        if value is None and name in lower:
            del found[name]
        elif isinstance(value, dict) and isinstance(lower.get(name), dict):
            found[name] = together(lower[name], value)
        else:
            found[name] = value
    return found


@law(100)
@given(data(nulls=True), data(nulls=True))
def test_mappings_are_merged_and_everything_else_is_replaced(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    assert plain(merged(node(lower), node(upper), PLACE)) == together(lower, upper)


SHAPED = st.dictionaries(KEYS, st.dictionaries(KEYS, TEXTS | st.lists(TEXTS, max_size=2), max_size=3), max_size=4)
"""Mappings in which the same key is a mapping everywhere, or nowhere: a text between two mappings parts them."""


@law(60)
@given(SHAPED, SHAPED, SHAPED)
def test_merging_is_associative_and_idempotent(one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]) -> None:
    a, b, c = node(one), node(two), node(three)
    assert plain(merged(merged(a, b, PLACE), c, PLACE)) == plain(merged(a, merged(b, c, PLACE), PLACE))
    assert plain(merged(merged(a, b, PLACE), b, PLACE)) == plain(merged(a, b, PLACE))
    assert plain(merged(a, node({}), PLACE)) == plain(a) == plain(merged(node({}), a, PLACE))


@law(60)
@given(data(nulls=True), data(nulls=False))
def test_what_is_merged_leaves_both_as_they_were(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    a, b = node(lower), node(upper)
    merged(a, b, PLACE)
    assert (plain(a), plain(b)) == (lower, upper)


def reading(top: Mapping, sources: dict[int, dict[str, Any]]) -> Reading:
    document = parse(yaml.safe_dump(sources[0]).encode())
    found = Reading(Path("/x/dev.yml"), document._replace(top=top), Variables({}, ()), dict)
    found.sources[1] = found.sources[0]._replace(path=Path("/x/base.yml"))
    return found


@law(60)
@given(data(nulls=True), data(nulls=True))
def test_what_is_printed_says_the_same(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    texts = {1: {"databases": lower}, 0: {"databases": upper}}
    top = merged(node(texts[1], 1), node(texts[0]))
    lines = list(report.lines(values(reading(top, texts)), Path("/x/dev.yml")))
    again = parse("\n".join(lines).encode())
    assert again.faults == ()
    assert again.top is not None
    assert plain(again.top) == plain(top)
    for line in lines:
        assert line.endswith(":") or "  # base.yml:" in line or "  # dev.yml:" in line


@law(60)
@given(data(nulls=True), data(nulls=True))
def test_an_origin_is_where_the_text_is(lower: dict[str, Any], upper: dict[str, Any]) -> None:
    texts = {1: {"databases": lower}, 0: {"databases": upper}}
    found = values(reading(merged(node(texts[1], 1), node(texts[0])), texts))
    for each in found:
        place: Any = texts[1 if each.path.name == "base.yml" else 0]
        for key in each.key:
            place = place[key]
        assert place == each.text or isinstance(place, {"{}": dict, "[]": list}.get(str(each.text), ()))


WORDS = st.sampled_from(
    ["server", "port", "settings", "roles", "app", "password", "env", "data", "work_mem", "extends"]
)
SIGNS = st.sampled_from(
    [".", "=", "=", '"', " ", "null", "{", "}", "[", "]", ": ", "'", "${NUMBER}", "1", SECRET, "\n", "é"]
)


@law(150)
@given(st.lists(st.lists(WORDS | SIGNS, max_size=8).map("".join), min_size=1, max_size=3))
def test_whatever_is_set_is_a_spec_or_said_to_be_wrong(overrides: list[str]) -> None:
    try:
        found = read(TABLE / "some.yml", VALID.encode(), {"HOME": "/home/x", "NUMBER": "5433"}, overrides=overrides)
    except SpecError as error:
        for each in error.problems:
            assert each.column >= 1
            assert str(each.path) != "--set" or each.line <= len(overrides)
            assert each.message.isprintable()
    except UsageError as error:
        said = "".join(traceback.format_exception(error)) + str(error.evidence)
        assert SECRET not in said or "password" not in said
    else:
        assert isinstance(found, Spec)


@law(60)
@given(st.sampled_from(["server.credentials.password", "roles.app.password", "migrations.env.API_TOKEN"]), TEXTS)
def test_no_secret_is_taken(key: str, around: str) -> None:
    for value in (SECRET, f"'{SECRET}'", f"{around}{SECRET}", f"{{a: {SECRET}}}", f"[{SECRET}]", f"${{X:-{SECRET}}}"):
        with pytest.raises((SpecError, UsageError)) as caught:
            read(TABLE / "some.yml", VALID.encode(), {}, overrides=[f"{key}={value}"])
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert SECRET not in str(getattr(caught.value, "problems", ""))
