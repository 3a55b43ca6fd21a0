"""The report of real environments in every state, as a document, as a page, and in a real browser."""

from __future__ import annotations

import json
import re
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support.browser import Browser, browser
from support.embedded import Embedded, an_embedded_environment, an_open_directory
from support.environment import PASSWORD

from provision.errors import UsageError
from provision.review import saving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    States = Iterator[tuple[str, tuple[str, ...]]]

pytestmark = pytest.mark.server

Reports = dict[str, tuple[Path, Any]]
ROOT = Path(__file__).parents[2]
LARGEST = 200_000
STATES = {
    "absent": "Nothing is there yet",
    "pending": "Not as declared: 3 things differ, 2 revisions pending",
    "traced": "Not as declared: 3 things differ, 2 revisions pending",
    "heads": "Refused: target: head is ambiguous: the tree has 2 heads",
    "refused": "Refused: the database is at revision feed, which this checkout does not have",
    "tables-200": "Not as declared",
    "stopped": "The server is stopped",
}
DAILY = ("traced",)
MORE = {
    "clean": "Everything is as declared",
    "none": "Everything is as declared",
    "tables-1": "Not as declared",
    "tables-25": "Not as declared",
}
LOOKS = [(width, scheme) for width in (390, 768, 1280) for scheme in ("light", "dark")]
HEAD = '''
"""what is <b>pending</b> & `quoted`"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{0}", "{1}"

'''
PENDING = """
def upgrade():
    op.alter_column("orders", "name", type_=sa.Integer, postgresql_using="length(name)")
    op.add_column("customers", sa.Column("note", sa.Text, comment="</style><script>alert(1)</script>"))
    op.create_table("lines", sa.Column("id", sa.Integer, sa.ForeignKey("orders.id"), primary_key=True))

def downgrade():
    op.drop_table("lines")
    op.drop_column("customers", "note")
"""
EMPTY = "def upgrade():\n    pass\n"
HOSTILE = """
CREATE TABLE "<script>alert('x')</script>" (id int PRIMARY KEY, "</svg>" text,
    customer int REFERENCES customers (id));
COMMENT ON TABLE "<script>alert('x')</script>" IS '"><img src=x onerror=alert(1)>';
INSERT INTO customers (name) SELECT 'x' FROM generate_series(1, 1000); ANALYZE customers
"""


def made(environment: Embedded) -> States:
    """Bring an environment into one state after the other; yield its name, and what a report of it is asked for."""
    versions = environment.migrations("customers", "orders").directory / "migrations" / "versions"
    yield "absent", ("--with", "laws")
    environment.apply()
    with closing(environment.connection()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(HOSTILE)
    (versions / "r3.py").write_text(HEAD.format("r3", "r2") + PENDING)
    (versions / "r4.py").write_text(HEAD.format("r4", "r3") + EMPTY)
    environment.server(settings={"work_mem": "9MB"})
    yield "pending", ()
    yield "traced", ("--with", "trace,laws")
    (versions / "r5.py").write_text(HEAD.format("r5", "r3") + EMPTY)
    yield "heads", ()
    (versions / "r5.py").unlink()
    with closing(environment.connection()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("UPDATE alembic_version SET version_num = 'feed'")
        yield "refused", ()
        cursor.execute("; ".join(tables(200)))
        yield "tables-200", ()
    environment.run("stop")
    yield "stopped", ()


def made_too(environment: Embedded) -> States:
    """Do the same for the states that ``make test-long`` looks at."""
    environment.apply()
    yield "none", ()
    versions = environment.migrations("customers", "orders").directory / "migrations" / "versions"
    environment.apply()
    yield "clean", ()
    (versions / "r3.py").write_text(HEAD.format("r3", "r2") + PENDING)
    for number in (1, 25):
        environment.query("; ".join(tables(number)))
        yield f"tables-{number}", ()


def tables(number: int) -> Iterator[str]:
    """Yield statements that make so many tables and say that ``r2`` is applied; a table refers to some before it."""
    yield "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE alembic_version (version_num text)"
    yield "INSERT INTO alembic_version VALUES ('r2')"
    for at in range(number):
        columns = ", ".join(f"column_{each} text" for each in range(at % 20))
        keys = "".join(f", t{each}_id int REFERENCES {name(each)}" for each in {at // 2, at // 3} - {at})
        yield f"CREATE TABLE {name(at)} (id int PRIMARY KEY, name text{columns and ', '}{columns}{keys})"


def name(at: int) -> str:
    return ("orders", "customers", f"table_{at}")[min(at, 2)]


@contextmanager
def reported(states: Callable[[Embedded], States]) -> Iterator[Reports]:
    """Have a page and a document for each state."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as environment:
        environment.server(credentials={"user": "postgres", "password": "${PW}"})
        found = {}
        for state, words in states(environment):
            path = directory / f"{state}.html"
            found[state] = (path, environment.run("report", "--json", "-o", str(path), *words).json())
        yield found


@pytest.fixture(scope="module")
def reports() -> Iterator[Reports]:
    with reported(made) as found:
        yield found


@pytest.fixture(scope="module")
def more() -> Iterator[Reports]:
    with reported(made_too) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


def text_of(path: Path) -> str:
    """Return what a person reads of a page."""
    plain = re.sub(r"<(style|title)>.*?</\1>|<[^>]*>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(plain.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").split())


def test_each_state_has_its_page(reports: Reports) -> None:
    assert list(reports) == list(STATES)
    for state, (path, _) in reports.items():
        assert re.sub(r"\s", "", STATES[state]) in re.sub(r"\s", "", text_of(path)), state


def test_pages_are_small_and_have_no_script_nor_secret(reports: Reports) -> None:
    for path, document in reports.values():
        page = path.read_text()
        assert len(page.encode()) < LARGEST
        assert "<script" not in page
        assert "<img" not in page
        assert PASSWORD not in page + json.dumps(document, ensure_ascii=False)
        assert "SCRAM-SHA-256" not in page + json.dumps(document)


def test_documents(reports: Reports) -> None:
    for _, document in reports.values():
        parts = [("report", document), ("verification", document["verification"]), ("plan", document["plan"])]
        parts += [(part, tree[part]) for tree in document["trees"] for part in ("revisions", "lint", "laws")]
        for part, found in parts:
            if found is not None:
                jsonschema.validate(found, json.loads((ROOT / f"docs/schema/{part}.json").read_text()))
    assert [document["state"] for _, document in reports.values()] == [
        "absent", "pending", "pending", "refused", "refused", "pending", "stopped",
    ]  # fmt: skip
    assert len(reports["tables-200"][1]["databases"][0]["tables"]) == 200


def test_what_a_trace_has_seen_takes_the_place_of_what_the_statements_say(reports: Reports) -> None:
    said, seen = (text_of(reports[state][0]) for state in ("pending", "traced"))
    assert "1 table may be rewritten" in said
    assert "orders may be rewritten" in said
    assert "1 table is rewritten , 1 table is locked" in seen
    assert re.search(
        r"customers locked: about 1,000 rows, \d+ kB; readers and writers wait \d.* s \(on the copy\)", seen
    )


def test_laws(reports: Reports) -> None:
    trees = {state: document["trees"][0] for state, (_, document) in reports.items()}
    assert [law["name"] for law in trees["pending"]["laws"]["laws"]] == ["one head"]
    assert len(trees["traced"]["laws"]["laws"]) == 4
    assert "it does not run" in trees["absent"]["without"]["laws"]
    assert [law["outcome"] for law in trees["heads"]["laws"]["laws"]] == ["failed"]


def looks_well(chromium: Browser, path: Path) -> None:
    """See that a page fits, asks for nothing, and can be read by everybody, at each width and in both schemes."""
    for width, scheme in LOOKS:
        chromium.open(path, width=width, scheme=scheme)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
        assert not [each for each in chromium.requests if each not in (path.as_uri(), "data:,")]
        if width != 768:
            assert chromium.violations() == []
        assert chromium.complaints == []


def boxes(chromium: Browser) -> Any:
    return chromium.evaluate("document.querySelectorAll('.picture > svg > svg').length")


@pytest.mark.parametrize("state", [pytest.param(e, marks=() if e in DAILY else pytest.mark.long) for e in STATES])
def test_in_a_browser(state: str, reports: Reports, chromium: Browser) -> None:
    looks_well(chromium, reports[state][0])


@pytest.mark.long
@pytest.mark.parametrize("state", MORE)
def test_more_in_a_browser(state: str, more: Reports, chromium: Browser) -> None:
    path = more[state][0]
    assert MORE[state] in text_of(path)
    looks_well(chromium, path)
    assert boxes(chromium) == {"clean": 2, "none": 0, "tables-1": 1, "tables-25": 25}[state]


def test_every_state_in_the_narrowest_window(reports: Reports, chromium: Browser) -> None:
    for path, _ in reports.values():
        chromium.open(path, width=390)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= 390
        assert chromium.complaints == []


def test_of_many_tables_those_that_are_touched_have_a_box(reports: Reports, chromium: Browser) -> None:
    chromium.open(reports["tables-200"][0])
    assert 2 < boxes(chromium) <= 25
    assert chromium.evaluate("document.querySelectorAll('.list tbody tr').length") == 200
    touched = chromium.evaluate("[...document.querySelectorAll('.box.may .t, .box.warn .t')].map(t => t.textContent)")
    assert sorted(touched) == ["customers", "orders"]


def test_on_paper_it_is_light_and_open(reports: Reports, chromium: Browser) -> None:
    chromium.open(reports["traced"][0], width=794, scheme="dark", media="print")
    assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.evaluate("document.querySelector('.list').getBoundingClientRect().height") > 50
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 794


def test_another_file_is_never_replaced(reports: Reports, tmp_path: Path) -> None:
    page = reports["stopped"][0].read_text()
    path = tmp_path / "report.html"
    save = partial(saving.save, path)
    save(page)
    save(page + "<!-- newer -->")
    assert path.read_text().endswith("<!-- newer -->")
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"report\.html is there, and is no report"):
        save(page)
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="is no report"):
        saving.save(Path("/dev/stdout"), page)
