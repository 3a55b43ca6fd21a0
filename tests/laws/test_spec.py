"""Whatever a file holds, it is a spec or it has problems, each on a line of the file, and none tells a secret."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from support.law import law

from provision.errors import SpecError, UsageError
from provision.spec.load import load, read
from provision.spec.model import Spec
from provision.spec.passwords import PasswordValue

TABLE = Path(__file__).parent.parent / "tables" / "spec"
VALID = (TABLE / "every-key.yml").read_text()
SECRET = "Tr0ub4dor&3"
ENVIRON = {"HOME": "/home/somebody", "SHOP_PASSWORD": SECRET, "NUMBER": "5433"}
PIECES = (
    "",
    " ",
    "\n",
    "\t",
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "&a ",
    "*a",
    "!x ",
    "|",
    ">",
    '"',
    "'",
    "%",
    "@",
    "`",
    "? ",
    "---\n",
    "...",
    "<<: ",
    "~",
    "no",
    "0x10",
    "1e9",
    "-1",
    "22:22",
    "\0",
    "\x85",
    "\u2028",
    "\ufeff",
    "é",
    "😀",
    "$",
    "${",
    "${SHOP_PASSWORD}",
    "${NUMBER}",
    "$$",
    "9" * 400,
)


def judge(content: bytes) -> SpecError | Spec:
    """Read ``content``, and hold what comes out against the promises."""
    outcome = outcome_of(content)
    if isinstance(outcome, Spec):
        return outcome
    assert outcome.problems
    line_count = len(content.decode("utf-8", errors="replace").splitlines()) or 1
    for problem in outcome.problems:
        assert 1 <= problem.line <= line_count + 1
        assert problem.column >= 1
        assert problem.message.isprintable()
        assert 0 < len(problem.message) < 400
        assert SECRET not in str(problem)
    assert SECRET not in "".join(traceback.format_exception(outcome))
    return outcome


def outcome_of(content: bytes) -> SpecError | Spec:
    try:
        return read(TABLE / "some.yml", content, ENVIRON)
    except SpecError as error:
        return error


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Return the spec that has every key, after one to four mutations of its text or of its lines."""
    text = VALID
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["replace", "insert", "line away", "line twice", "lines change", "indent", "cut"]))
        start = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(PIECES))
        lines = text.splitlines(keepends=True) or [""]
        row, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        if kind == "replace":
            text = text[:start] + piece + text[start + draw(st.integers(0, 12)) :]
        elif kind == "insert":
            text = text[:start] + piece + text[start:]
        elif kind == "cut":
            text = text[:start]
        elif kind == "line away":
            text = "".join([*lines[:row], *lines[row + 1 :]])
        elif kind == "line twice":
            text = "".join([*lines[: row + 1], *lines[row:]])
        elif kind == "indent":
            text = "".join([*lines[:row], f"{piece} {lines[row]}", *lines[row + 1 :]])
        else:
            lines[row], lines[other] = lines[other], lines[row]
            text = "".join(lines)
    return text


@law(150)
@given(mutated())
def test_a_mutated_spec_is_a_spec_or_has_problems(text: str) -> None:
    judge(text.encode("utf-8", errors="surrogatepass"))


@law(75)
@given(st.binary(max_size=200))
def test_any_bytes_have_problems(content: bytes) -> None:
    judge(content)


@law(75)
@given(st.lists(st.sampled_from([*PIECES, "a", "server", "name", "password", "\n  "]), max_size=30).map("".join))
def test_any_yaml_has_problems(text: str) -> None:
    judge(text.encode())


VALUES = st.recursive(
    st.sampled_from(["a", "no", "1", "1.5", "null", '""', "${SHOP_PASSWORD}", "${MISSING}", "'x y'", "../x", "10s"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "file", "name", "password", "user"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=6,
)
LINES = [line for line in VALID.splitlines() if ":" in line and not line.startswith("#")]


@law(100)
@given(st.sampled_from(LINES), VALUES)
def test_any_value_of_any_key_is_judged(line: str, value: str) -> None:
    text = VALID.replace(line, f"{line[: line.index(':')]}: {value}")
    judge(text.encode())


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() or "\t" in text))
def test_a_password_comes_through_as_it_is_and_stays_secret(password: str) -> None:
    content = b"name: shop\nserver: {image: 'postgres:17', credentials: {password: '${PW}'}}\n"
    try:
        spec = read(TABLE / "some.yml", content, {"PW": password})
    except SpecError:
        assert any(char in password for char in "\0\r\n")
        return
    assert isinstance(spec.server.password, PasswordValue)
    assert spec.server.password.value.reveal() == password
    assert repr(spec) == repr(read(TABLE / "some.yml", content, {"PW": "another"}))


@law(75)
@given(
    st.sampled_from([line for line in LINES if "password" not in line]),
    st.sampled_from(["pasword", "passwd", "PASSWORD", "db_password", "secret", "password"]),
    st.sampled_from(["{0}", '"{0}"', "'{0}", "{{{0}}}", "[{0}", "{0}: x", "|\n  {0}", "{{a: {0}", "*{0}", "!{0} x"]),
)
def test_a_password_in_the_file_is_not_shown(line: str, key: str, form: str) -> None:
    secret = "hunter2hunter2"
    indentation = line[: len(line) - len(line.lstrip(" -"))].replace("-", " ")
    text = VALID.replace(line, f"{line}\n{indentation}{key}: {form.format(secret)}")
    outcome = outcome_of(text.encode())
    for problem in outcome.problems if isinstance(outcome, SpecError) else ():
        assert secret not in str(problem)


@pytest.mark.parametrize(
    "section", ["", "server: {image: 'postgres:17'}\n", "server:\n  image: postgres:17\n  settings:\n"]
)
def test_a_file_full_of_problems_is_soon_read(section: str) -> None:
    indentation = " " * 4 if section.endswith("settings:\n") else ""
    text = "name: shop\n" + section + "".join(f"{indentation}wrong{number}: 1\n" for number in range(20_000))
    outcome = judge(text.encode())
    assert isinstance(outcome, SpecError)
    assert len(outcome.problems) == 100


def test_a_file_that_is_not_there_names_the_one_that_is(tmp_path: Path) -> None:
    (tmp_path / "dev.yml").touch()
    (tmp_path / "ci.yml").touch()
    with pytest.raises(UsageError, match="there is no spec") as caught:
        load(tmp_path / "deb.yml", {})
    assert caught.value.next_step == f"did you mean {tmp_path}/dev.yml?"


def test_a_directory_is_not_a_spec(tmp_path: Path) -> None:
    (tmp_path / "dev.yml").touch()
    with pytest.raises(UsageError, match="is a directory") as caught:
        load(tmp_path, {})
    assert caught.value.next_step == f"did you mean {tmp_path}/dev.yml?"


def test_paths_start_at_the_spec_and_not_at_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "dev.yml").write_text("name: shop\nserver: {image: 'postgres:17', data: {path: ../data}}\n")
    monkeypatch.chdir(tmp_path)
    spec = load(Path("specs/dev.yml"), {})
    assert spec.path == tmp_path / "specs" / "dev.yml"
    assert str(spec.server.data) == f"DataPath(path={tmp_path / 'data'!r})"
