"""``--format github`` on an embedded server: each annotation at its file and line, and the summary of the step."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.program import Ran

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def shop() -> Iterator[Embedded]:
    """An environment that runs, with two revisions applied and a third that nothing has run."""
    with an_open_directory() as home, an_embedded_environment(home / "work" / "project") as made:
        made.migrations("alpha", "beta")
        made.apply()
        made.migrations("alpha", "beta", "gamma")
        yield made


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    return tmp_path / "summary.md"


def run(shop: Embedded, summary: Path, *words: str, code: int = 0) -> Ran:
    """Run a command as a step of a workflow, whose checkout is the directory above the project."""
    place = str(shop.directory.parent)
    environ = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": place, "GITHUB_STEP_SUMMARY": str(summary)}
    return shop.run(*words, code=code, **environ)


def annotations(done: Ran) -> list[tuple[str, str | None, int | None]]:
    """Return the kind, the file and the line of each annotation."""
    found = re.finditer(r"(?m)^::(error|warning|notice) (?:file=([^,]*),)?(?:line=(\d+),)?", done.all)
    return [(each[1], each[2], int(each[3]) if each[3] else None) for each in found]


def revision(shop: Embedded, number: int) -> Path:
    return shop.directory / "migrations" / "versions" / f"r{number}.py"


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_plan_puts_its_steps_and_its_sql_into_the_summary(shop: Embedded, summary: Path) -> None:
    done = run(shop, summary, "plan")
    assert annotations(done) == []
    text = summary.read_text()
    assert text.startswith(f"### provision plan: {shop.name}: 1 revision\n\n```diff\n~ migrate ")
    assert "<details><summary>SQL of <code>alembic</code></summary>\n\n```sql\n" in text
    assert "CREATE TABLE gamma" in text
    assert text.endswith("```\n\n</details>\n\n")


def test_json_stays_one_document(shop: Embedded, summary: Path) -> None:
    done = run(shop, summary, "plan", "--json")
    assert json.loads(done.out)["schema"] == "provision/plan/1"


def test_the_problems_of_a_spec_are_shown_at_their_lines(shop: Embedded, summary: Path) -> None:
    before = shop.spec.read_text()
    shop.spec.write_text(before.replace("version: 1", "version: 1\nsever: {}") + "mighty: true\n")
    wrong = [line_of(shop.spec, "sever"), line_of(shop.spec, "mighty")]
    expected = [("error", "project/spec.yml", line) for line in wrong]
    try:
        for words in (("validate",), ("plan",), ("migrate", "check", "--files")):
            assert annotations(run(shop, summary, *words, code=65)) == expected
        done = run(shop, summary, "validate", "--json", code=65)
    finally:
        shop.spec.write_text(before)
    assert json.loads(done.out)["valid"] is False
    assert annotations(done) == expected
    assert "### provision plan: failed\n\n```text\n" in summary.read_text()


def test_what_is_not_as_declared_is_shown_at_the_spec(shop: Embedded, summary: Path) -> None:
    path = shop.home / "config" / "postgresql.conf"
    before = path.read_text()
    path.write_text(f"{before}# edited\n")
    try:
        assert annotations(run(shop, summary, "verify"))[0] == ("warning", "project/spec.yml", None)
        assert annotations(run(shop, summary, "verify", "--detailed-exitcode", code=2))[0][0] == "error"
        assert annotations(run(shop, summary, "verify", "--format", "text")) == []
    finally:
        path.write_text(before)
    assert re.search(f"### provision verify: {shop.name}: \\d of \\d+ things not as declared", summary.read_text())


def test_a_revision_that_fails_is_shown_at_its_line(shop: Embedded, summary: Path) -> None:
    path = revision(shop, 3)
    before = path.read_text()
    path.write_text(before.replace("def upgrade():\n", "def upgrade():\n    op.execute('SELECT 1 FROM nowhere')\n"))
    line = line_of(path, "nowhere")
    try:
        done = run(shop, summary, "apply", code=1)
        laws = run(shop, summary, "migrate", "test", "--format", "junit", code=1)
    finally:
        path.write_text(before)
    place = "project/migrations/versions/r3.py"
    assert annotations(done) == [("error", place, line)]
    (suite,) = ET.fromstring(laws.out)  # noqa: S314  # our own text
    failed = {each.attrib["name"]: each.attrib["file"] for each in suite if each.find("failure") is not None}
    assert failed == {"empty → head": place, "up → down → up": place}
    assert annotations(laws) == []
    assert 'relation "nowhere" does not exist' in summary.read_text()


def test_a_downgrade_that_leaves_something_is_shown_at_the_function(shop: Embedded, summary: Path) -> None:
    path = revision(shop, 2)
    before = path.read_text()
    path.write_text(re.sub(r"(def downgrade\(\):\n).*\n", r"\1    pass\n", before))
    try:
        done = run(shop, summary, "migrate", "test", code=1)
    finally:
        path.write_text(before)
    assert annotations(done) == [("error", "project/migrations/versions/r2.py", line_of(path, "def downgrade"))]


def test_models_that_differ_are_one_annotation_without_a_file(shop: Embedded, summary: Path) -> None:
    shop.apply()
    env = shop.directory / "migrations" / "env.py"
    before = env.read_text()
    models = "import sqlalchemy as sa\ntarget_metadata = sa.MetaData()\nsa.Table('alpha', target_metadata)\n"
    env.write_text(
        models + before.replace("connection=connection", "connection=connection, target_metadata=target_metadata")
    )
    try:
        done = run(shop, summary, "migrate", "check", code=1)
    finally:
        env.write_text(before)
    assert annotations(done) == [("error", None, None)]
    assert "### provision migrate check:" in summary.read_text()


def test_two_documents_for_one_output_are_refused(shop: Embedded, summary: Path) -> None:
    done = run(shop, summary, "migrate", "lint", "--json", "--format", "sarif", "--all", code=64)
    assert "two documents for one standard output" in json.loads(done.out)["error"]
