"""Tables, and the lanes of revisions, as text that other programs and people read."""

from __future__ import annotations

from provision.insight.tables import Column, Reference, Table
from provision.report.diagram.erd import MOST_COLUMNS, drawing
from provision.report.diagram.erd_text import dot, mermaid
from provision.report.diagram.lanes import lanes, text

ID = Column("id", "bigint", not_null=True, is_key=True)
USERS = Table("public", "users", (ID,), rows=2)
ORDERS = Table(
    "shop",
    'or"ders %',
    (ID, Column("user id", "bigint", not_null=False, is_key=False), Column("2nd", "text[]", True, False)),
    (Reference("fk", ("public", "users"), ("user id",), ("id",)),),
)
PROFILES = Table(
    "public",
    "profiles",
    (Column("user_id", "bigint", not_null=True, is_key=True),),
    (Reference("fk", ("public", "users"), ("user_id",), ("id",), is_unique=True),),
)


def test_mermaid() -> None:
    assert list(mermaid((ORDERS, PROFILES, USERS))) == [
        "erDiagram",
        '  "shop.or_ders _" {',
        "    bigint id PK",
        "    bigint user_id FK",
        "    text[] c2nd",
        "  }",
        '  "profiles" {',
        "    bigint user_id PK, FK",
        "  }",
        '  "users" {',
        "    bigint id PK",
        "  }",
        '  "users" |o--o{ "shop.or_ders _" : "user id"',
        '  "users" ||--o| "profiles" : "user_id"',
    ]


def test_dot() -> None:
    assert list(dot((ORDERS, USERS)))[3:] == [
        r'  t0 [label="shop.or\"ders %|<c0> id *: bigint\l|<c1> user id: bigint\l|<c2> 2nd: text[]\l"];',
        r'  t1 [label="users|<c0> id *: bigint\l"];',
        "  t0:c1 -> t1:c0;",
        "}",
    ]


def test_what_is_referred_to_and_not_there_has_no_line() -> None:
    assert "--" not in "".join(mermaid((ORDERS,)))
    assert drawing((ORDERS,)).curves == ()


def test_a_wide_table_shows_its_keys_first() -> None:
    columns = tuple([Column(f"c{each}", "integer", True, each == 30) for each in range(31)])
    (entity,) = drawing((Table("public", "wide", columns),)).entities
    assert [each.name for each in entity.fields] == [*[f"c{each}" for each in range(MOST_COLUMNS - 2)], "c30"]
    assert entity.more == 31 - (MOST_COLUMNS - 1)


def test_lanes_as_text() -> None:
    follows = {"g": ["e", "f"], "f": ["b"], "e": ["d", "c"], "d": ["b"], "c": ["b"], "b": ["a"], "a": []}
    drawn = text(lanes("gfedcba", follows), {"g": "g, merged"}, {"b": "◉"})
    assert "\n".join(drawn) == (
        "●      g, merged\n├─╮\n│ ●    f\n● │    e\n├─┼─╮\n● │ │  d\n│ │ ●  c\n├─┴─╯\n◉      b\n●      a"
    )
