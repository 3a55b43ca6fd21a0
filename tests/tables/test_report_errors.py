"""Errors as text: the sentence, the evidence, the next command, and the caret under the right column."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import stat
from pathlib import Path

import click
import pytest

from provision.errors import (
    Command,
    LockedError,
    NextStep,
    Problem,
    ProvisionError,
    SpecError,
    UnavailableError,
    command,
    with_spec,
)
from provision.report.console import PLAIN, Console, Paint
from provision.report.errors import alternatives, excerpt, render, report

ROOT = Path(__file__).parent.parent.parent
EXPECTED = Path(__file__).parent / "report" / "expected"
SPEC = Path("/srv/shop/specs/dev.yml")
LONG = "  settings: {" + ", ".join(f"setting_{number}: {number}" for number in range(30)) + "}"


def problem(line: int, column: int, text: str, message: str, suggestion: str | None = None) -> Problem:
    return Problem(SPEC, line, column, text, message, suggestion)


CASES: dict[str, ProvisionError] = {
    "error-sentence": ProvisionError("the container exited with 1"),
    "error-evidence": UnavailableError(
        "no Docker engine answers",
        evidence=[
            "tried unix:///var/run/docker.sock: no such file",
            "\x1b[31mtried\x1b[0m the context `colima`\nand more",
        ],
        next_step="systemctl start docker",
    ),
    "error-long-evidence": ProvisionError("it failed", evidence=[f"LOG: line {number}" for number in range(50)]),
    "error-two-sentences": LockedError("another apply of shop-dev is running\nit was started by ana, process 4711"),
    "error-spec": SpecError(
        [
            problem(9, 3, "  prot: 5432", "unknown key `prot`", "did you mean `port`?"),
            problem(5, 13, "\tversion:\t16.10", "`16.10` is read as the number 16.1", "write '16.10'"),
            problem(6, 9, "  名前: データ値 # x", "the value is not a word", None),
            problem(7, LONG.index("setting_25") + 1, LONG, "unknown setting `setting_25`", None),
            problem(8, 13, "  password: [hunter2", "the bracket is not closed", None),
            problem(12, 1, "", "the file ends too early", "add `server:`"),
        ]
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_error_is_as_expected(case: str) -> None:
    found = "\n".join(render(CASES[case], PLAIN, width=80)) + "\n"
    path = EXPECTED / f"{case}.txt"
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_colours_only_add_to_the_plain_text(case: str) -> None:
    painted = click.unstyle("\n".join(render(CASES[case], Paint(on=True), width=80)))
    assert painted == "\n".join(render(CASES[case], PLAIN, width=80))


@pytest.mark.parametrize(
    ("line", "column", "width", "text", "caret"),
    [
        ("abc: d", 6, 40, "abc: d", "     ^"),
        ("\tabc", 2, 40, "    abc", "    ^"),
        ("a\tbc", 3, 40, "a   bc", "    ^"),
        ("名前: x", 5, 40, "名前: x", "      ^"),
        ("e\N{COMBINING ACUTE ACCENT}: x", 5, 40, "e\N{COMBINING ACUTE ACCENT}: x", "   ^"),
        ("abc", 99, 40, "abc", "   ^"),
        ("abc", 0, 40, "abc", "^"),
        ("0123456789" * 4, 1, 12, "0123456789…", "^"),
        ("0123456789" * 4, 21, 12, "…5678901234…", "      ^"),
        ("0123456789" * 4, 40, 12, "…0123456789", "          ^"),
        ("a\x1b[31mb", 1, 40, "a\N{REPLACEMENT CHARACTER}[31mb", "^"),
    ],
)
def test_caret_stands_under_the_column(line: str, column: int, width: int, text: str, caret: str) -> None:
    assert excerpt(line, column, width) == (text, caret)


def test_a_bug_is_logged_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    err = io.StringIO()
    password = "hunter2"  # noqa: F841  # the value of a variable must not get into the log
    with pytest.raises(KeyError) as caught:
        _ = {}["key"]
    assert report(caught.value, Console(io.StringIO(), err, {})) == 70
    assert "unexpected error, probably a bug in provision" in err.getvalue()
    (log,) = tmp_path.rglob("error-*.log")
    assert str(log) in err.getvalue()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "KeyError" in log.read_text()
    assert "hunter2" not in log.read_text().replace('password = "hunter2"', "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProvisionError("x"), 1),
        (SpecError([problem(1, 1, "x", "y")]), 65),
        (UnavailableError("x"), 69),
        (LockedError("x"), 75),
        (click.UsageError("X y."), 64),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert report(error, Console(io.StringIO(), io.StringIO(), {})) == code


@pytest.mark.parametrize(
    ("command", "continues"),
    [
        ("provision apply specs/dev.yml", True),
        ("provision -v migrate upgrade", True),
        ("provision migrate test specs/dev.yml", False),
        ("provision migrate lint --trace", False),
        ("provision apply --check", False),
        ("provision plan", False),
    ],
)
def test_what_an_interrupted_command_does_when_it_runs_again(command: str, *, continues: bool) -> None:
    console = Console(io.StringIO(), io.StringIO(), {})
    console.command = command
    report(KeyboardInterrupt(), console)
    assert isinstance(console.err, io.StringIO)
    end = "   # it continues from what was done so far" if continues else ""
    assert console.err.getvalue().endswith(f"next: {command}{end}\n")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (command("apply"), "provision apply specs/dev.yml"),
        (command("destroy --data"), "provision destroy --data specs/dev.yml"),
        ("provision apply --help", "provision apply --help"),
        ("correct it, then: " + command("render"), "correct it, then: provision render specs/dev.yml"),
        (command("psql", "-- -c 'SELECT 1'"), "provision psql specs/dev.yml -- -c 'SELECT 1'"),
        (
            command("destroy") + " && " + command("apply") + "   (no",
            "provision destroy {0} && provision apply {0}   (no",
        ),
        ("docker info", "docker info"),
    ],
)
def test_the_spec_stands_where_it_belongs(step: str, told: str) -> None:
    assert with_spec(step, "specs/dev.yml") == told.format("specs/dev.yml")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (command("apply"), "provision apply"),
        ("correct it, then: " + command("render"), "correct it, then: provision render"),
        (command("destroy") + " && ls", "provision destroy && ls"),
        (command("psql", "-- -c 'SELECT 1'"), "provision psql -- -c 'SELECT 1'"),
        (command("migrate stamp", "0001"), "provision migrate stamp 0001"),
    ],
)
def test_a_spec_that_was_not_typed_is_not_in_the_way(step: str, told: str) -> None:
    assert (step, with_spec(step, "")) == (told, told)


def test_advice_keeps_its_commands_when_it_is_changed() -> None:
    step = ProvisionError("x", next_step="write `target: a`, then: " + command("apply") + "; or wait").next_step
    assert step is not None
    assert step.instead("apply", "upgrade").line("a.yml") == "write `target: a`, then: provision upgrade a.yml; or wait"
    assert step.replaced("`target: ", "`").line("a.yml") == "write `a`, then: provision apply a.yml; or wait"
    assert NextStep(*json_of(step)).line("a.yml") == step.line("a.yml")


def json_of(step: NextStep) -> list[str | Command]:
    return [each if isinstance(each, str) else Command(*each) for each in json.loads(json.dumps(step.parts))]


def test_no_text_of_the_program_has_a_placeholder_for_the_spec() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "provision").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"provision .*SPEC\b", node.value)
    ]
    assert not places


def test_the_spec_is_put_into_the_evidence_too() -> None:
    def told(spec: str) -> str:
        back = "back: " + command("upgrade --rollback") + ", or not"
        error = ProvisionError("x", evidence=["SPEC is a word", back])
        console = Console(io.StringIO(), err := io.StringIO(), {})
        console.spec = spec
        report(error, console)
        return err.getvalue()

    assert "SPEC is a word\n    back: provision upgrade --rollback a.yml, or not" in told("a.yml")
    assert "provision upgrade --rollback, or not" in told("")


@pytest.mark.parametrize(
    ("next_step", "lines"),
    [
        ("wait for it", ["wait for it"]),
        ("wait for it, or give it more time", ["wait for it", "or give it more time"]),
        (
            "set `a: 1` (free now), or `a: auto`; or leave it out",
            ["set `a: 1` (free now)", "or `a: auto`", "or leave it out"],
        ),
        ("set `a: b, or c` (one, or two)", ["set `a: b, or c` (one, or two)"]),
        ('provision psql -- -c "SELECT 1, or 2"', ['provision psql -- -c "SELECT 1, or 2"']),
        ("write `head`, or, to undo them: provision apply", ["write `head`", "or, to undo them: provision apply"]),
        ("name a, b or c", ["name a, b or c"]),
        ("write head, heads, base, or a revision", ["write head, heads, base, or a revision"]),
        ("order it, orderly", ["order it, orderly"]),
    ],
)
def test_each_alternative_has_a_line(next_step: str, lines: list[str]) -> None:
    assert alternatives(next_step) == lines
    shown = list(render(ProvisionError("x", next_step=next_step), PLAIN, width=80))[1:]
    assert [line[len("next: ") :] for line in shown] == lines
    assert [line[: len("next: ")] for line in shown] == ["next: ", *["      "] * (len(lines) - 1)]
