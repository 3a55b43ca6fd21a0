"""README.md: the specs that it shows are right, the lists that it gives are complete, what it points at is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from provision import errors
from provision.spec.load import load

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEV, WHOLE = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_a_first_apply_is_on_the_first_screens() -> None:
    lines = README.splitlines()
    assert len(lines) <= 200
    assert lines.index("$ provision apply specs/dev.yml") < lines.index("```", 40) <= 60


def test_the_first_spec_is_the_one_in_the_repository() -> None:
    assert yaml.safe_load(DEV) == yaml.safe_load((ROOT / "specs" / "dev.yml").read_text(encoding="utf-8"))


def test_the_spec_in_one_screen_is_right(tmp_path: Path) -> None:
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    python = tmp_path / ".venv" / "bin" / "python"
    for directory in (python.parent, tmp_path / "specs"):
        directory.mkdir(parents=True)
    python.touch()
    path = tmp_path / "specs" / "shop.yml"
    path.write_text(WHOLE, encoding="utf-8")
    assert load(path, {}).name == "shop"


def test_every_exit_code_is_named() -> None:
    section = README.split("\n## Exit codes\n")[1].split("\n## ")[0].split(". [")[0]
    named = {int(code) for code in re.findall(r"(?:^|· )(\d+)\s", section.strip())}
    codes = {code for name, code in vars(errors).items() if name.startswith("EXIT_")}
    assert named | {errors.EXIT_INTERRUPTED} == codes


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_points_at_is_there(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        pointed = path.parent / target if target else path
        assert pointed.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", pointed.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{target}#{anchor}"


INSTALL = re.compile(r"\b(?:pipx?|uv)\b[^\n]*?\b(?:install|inject|add|run)\b([^\n|#]*)")
"""The words behind an installer's verb, in a document, a hint or a pipeline."""
OURS = "provision-postgres"
SHOWN = [
    *DOCUMENTS,
    *(
        path
        for place in ("provision", "templates", "specs", "migrations", ".ci", "tests/ci")
        for path in (ROOT / place).rglob("*")
        if path.suffix in (".py", ".md", ".j2", ".yml", ".toml", "")
        and path.is_file()
        and ".provision" not in path.parts
    ),
    ROOT / "Makefile",
]


def _others(text: str) -> list[str]:
    """Return what a text installs by the name of another project on the index."""
    named = [
        re.split(r"[\[<>=~!;]", word)[0] for found in INSTALL.findall(text) for word in re.split(r"[\s'\"`,()]+", found)
    ]
    return [name for name in named if name in ("provision", "pg-provision")]


@pytest.mark.parametrize(
    "line",
    ["pip install provision", "pip install 'provision[embedded]' pytest", "- run: python -m pip install -U provision",
     "pipx install provision", "uv tool install 'provision>=0.1'", "uv add provision"],
)  # fmt: skip
def test_a_line_that_installs_another_project_is_found(line: str) -> None:
    assert _others(line)
    assert not _others(line.replace("provision", OURS))


def test_no_line_installs_the_other_project_named_provision() -> None:
    assert not {str(path.relative_to(ROOT)): found for path in SHOWN if (found := _others(path.read_text("utf-8")))}


def test_the_distribution_has_the_name_that_the_documents_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == OURS
    assert list(project["scripts"]) == ["provision"]
    assert f"pip install {OURS} " in (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "provision"


def test_every_folder_has_a_row_in_the_architecture() -> None:
    rows = ARCHITECTURE.split("\n## Where things are\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([\w.]+?)/?`", "".join(row.split("|")[1] for row in rows.splitlines()[3:] if "|" in row)))
    parts = {each.name for each in PACKAGE.iterdir() if each.suffix == ".py" or (each / "__init__.py").exists()}
    assert named == parts - {"__init__.py", "__main__.py"}


def test_every_decision_names_files_that_are_there() -> None:
    rows = ARCHITECTURE.split("\n## Decisions\n")[1].split("\n## ")[0].splitlines()
    places = [each for row in rows if "`" in row for each in re.findall(r"`([^`]+)`", row.split(" | ")[-1])]
    assert places
    assert not [each for each in places if not (list(PACKAGE.glob(each)) or (ROOT / each).exists())]
