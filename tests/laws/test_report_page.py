"""The page of a report: small, escaped, without scripts, and with a verdict for each state."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.law import law
from support.made_up import PLANS, REFUSAL, RUNNING, Survey

from provision.insight.tables import Column, Reference, Table
from provision.model import Plan, Status
from provision.report.html import LARGEST, page
from provision.report.html.verdict import verdict
from provision.report.html.view import MOST_BOXES, boxes
from provision.review import DatabaseReview, Review
from provision.spec.load import read
from provision.verification import verification

EXAMPLES = 25
SPEC = read(Path("/srv/dev.yml"), b"name: shop\nserver: {image: 'postgres:17', credentials: {password: p@ss/word}}", {})
AT = datetime(2026, 11, 29, 10, 27, tzinfo=UTC)
HOSTILE = st.text(max_size=30) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "</style>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}",
        "\x00\x1b[31m",
        "\u202e",
        "a`b",
    ]
)


def review(plan: Plan, status: Status = RUNNING, refusal: Any = None, tables: tuple[Table, ...] = ()) -> Review:
    survey: Any = Survey(SPEC, plan, status, refusal=refusal, world=SimpleNamespace())
    return Review(verification(survey), (), (DatabaseReview("shop", tables, 1),), AT)


class Seen(HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize(
    ("plan", "status", "refusal", "state", "headline"),
    [
        ((), RUNNING, None, "clean", "Everything is as declared"),
        (PLANS["fresh"], Status("absent"), None, "absent", "Nothing is there yet: 1 to create, 1 to reload"),
        (PLANS["reload"], RUNNING, None, "pending", "Not as declared: 1 thing differs"),
        (PLANS["drift"], RUNNING, None, "pending", "Not as declared: 3 things differ"),
        (PLANS["fresh"], Status("stopped"), None, "stopped", "The server is stopped: what differs in it is not known"),
        ((), Status("unreachable", "silence"), None, "unreachable", "The server does not answer"),
        ((), RUNNING, REFUSAL, "refused", "Refused: the volume is another's"),
    ],
)
def test_verdict(plan: Any, status: Status, refusal: Any, state: str, headline: str) -> None:
    found = review(Plan(plan), status, refusal)
    judged = verdict(found)
    assert (judged.state, judged.headline) == (state, headline)
    assert judged.parts
    text = page(found)
    assert headline in "".join(Seen(text).text)
    assert "p@ss/word" not in text


def test_what_differs_and_is_for_others_is_no_pending_change() -> None:
    judged = verdict(review(Plan(notes=("work_mem is '4MB'",))))
    assert (judged.state, judged.headline) == ("left", "Not as declared: 1 difference for others to change")


@st.composite
def tables(draw: st.DrawFn) -> tuple[Table, ...]:
    names = draw(st.lists(HOSTILE.filter(bool), unique=True, min_size=1, max_size=8))
    found = []
    for name in names:
        columns = tuple(
            [
                Column(each, draw(HOSTILE), draw(st.booleans()), draw(st.booleans()))
                for each in draw(st.lists(HOSTILE, min_size=1, max_size=4))
            ]
        )
        others = draw(st.lists(st.sampled_from(names), max_size=2))
        keys = tuple([Reference(draw(HOSTILE), ("public", other), (columns[0].name,), ("id",)) for other in others])
        found.append(
            Table("public", name, columns, keys, draw(st.none() | st.integers(0, 10**12)), 8192, draw(HOSTILE))
        )
    return tuple(found)


TAGS = set(
    Seen(page(review(Plan(PLANS["drift"]), tables=(Table("public", "t", (Column("c", "int", True, True),)),)))).tags
)
TAGS |= {"path", "g", "title", "del"}


@law(EXAMPLES)
@given(tables())
def test_no_name_becomes_an_element(found: tuple[Table, ...]) -> None:
    text = page(review(Plan(PLANS["drift"]), tables=found))
    seen = Seen(text)
    assert set(seen.tags) <= TAGS
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    assert not [
        value for name, value in seen.attributes if name in ("href", "src") and value[:1] != "#" and value != "data:,"
    ]
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    text.encode()


def wide(number: int) -> Table:
    columns = tuple(
        [Column(f'"column" {each} of <{number}>', "character varying(200)", False, False) for each in range(60)]
    )
    keys = tuple([Reference(f"f{each}", ("public", f"t{each}"), (columns[each].name,), ("id",)) for each in range(8)])
    return Table("public", f"t{number}", columns, keys, 10**9, 10**12, "<&>" * 400)


@pytest.mark.parametrize("number", [0, 1, 25, 26, 200, 600])
def test_a_page_is_never_large(number: int) -> None:
    steps = [each for _ in range(200) for each in PLANS["drift"]]
    notes = tuple(["<note> " * 300] * 300)
    text = page(review(Plan(tuple(steps), notes=notes), tables=tuple([wide(each) for each in range(number)])))
    assert len(text.encode()) < LARGEST
    assert text.count("<svg class=") == (number if number <= MOST_BOXES else 0)


def test_of_many_tables_those_have_a_box_that_are_touched_and_their_neighbours() -> None:
    chain = [
        Table("public", f"t{at}", references=(Reference("f", ("public", f"t{at - 1}"), ("a",), ("b",)),))
        for at in range(60)
    ]
    assert [each.name for each in boxes(chain, [("public", "t30"), ("public", "gone")])] == ["t29", "t30", "t31"]
    assert boxes(chain, []) == ()
    assert len(boxes(chain, [each.key for each in chain])) == MOST_BOXES
    assert boxes(chain[:MOST_BOXES], []) == tuple(chain[:MOST_BOXES])
