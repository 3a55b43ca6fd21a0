"""README.md: the specs that it shows are right, the lists that it gives are complete, what it points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from provision import errors
from provision.spec.load import load

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEV, WHOLE = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


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
