"""`init` with the Compose plugin, and without: what it makes of a compose file is the same."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provision.init.begin import TEMPLATES, begin
from provision.init.found import Beginning, Options
from provision.init.initialise import look
from provision.observe.outside import shipped
from provision.system import project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.docker
CASES = sorted((Path(__file__).parent.parent / "tables/init").glob("compose*.case"))
SHIPPED = {name: (shipped() / "init" / name).read_text() for name in TEMPLATES}


class Machine:
    """A machine with the Compose plugin, or without; it remembers what the plugin answered."""

    def __init__(self, root: Path, *, has_plugin: bool) -> None:
        self._root, self._has_plugin = root, has_plugin
        self.answers: list[Mapping[str, Any] | str] = []

    def listener(self, _port: int) -> str | None:
        return None

    def directory_of(self, _name: str) -> str | None:
        return None

    def exists(self, path: Path) -> bool:
        return path.is_file()

    def is_ignored(self, path: str) -> bool:
        return path == ".env"

    def compose(self, paths: Sequence[str]) -> Mapping[str, Any] | str:
        if not self._has_plugin:
            return "Docker's Compose plugin is not here"
        self.answers.append(project.config([self._root / path for path in paths]))
        return self.answers[-1]

    def image(self) -> tuple[str, str | None]:
        return "postgres:17", None


def written(root: Path, text: str) -> Path:
    """Write the files of a case."""
    files = re.split(r"^--- (.*)\n", text, flags=re.MULTILINE)[1:]
    for name, content in zip(files[::2], files[1::2], strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def both(root: Path) -> tuple[Beginning, Beginning, list[Mapping[str, Any] | str]]:
    """Return what `init` does with the plugin and without, and the plugin's answers."""
    machine = Machine(root, has_plugin=True)
    asked = begin(look(root), Options(), machine, SHIPPED)
    return asked, begin(look(root), Options(), Machine(root, has_plugin=False), SHIPPED), machine.answers


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_plugin_changes_nothing_of_what_is_read_without_it(case: Path, tmp_path: Path) -> None:
    asked, read, answers = both(written(tmp_path / "shop", case.read_text()))
    assert [each for each in answers if isinstance(each, str)] == []
    assert asked.files == read.files
    assert asked.found == read.found
    assert list(asked.remarks) == [each for each in read.remarks if "not followed: " not in each]


DATABASE = """
services:
  store:
    image: postgres:16
    environment: {POSTGRES_USER: keeper, POSTGRES_DB: shelf, POSTGRES_PASSWORD: "${KEEPER_PW:-hunter2}"}
    env_file: ./keeper.env
    ports: ["5511:5432"]
    command: postgres -c work_mem=8MB
"""
OVERRIDDEN = """services: {db: {image: "postgres:16", user: "70"}}
--- compose.override.yml
services: {db: {user: !reset null, ports: !override ["5533:5432"]}}
"""


@pytest.mark.parametrize(
    ("text", "line", "not_followed"),
    [
        (
            "services: {db: {extends: {file: ../common.yml, service: store}, ports: !override ['5522:5432']}}",
            "  port: 5522\n",
            "!override, the file ../common.yml, which compose.yml extends",
        ),
        (
            "include: [../common.yml]\nservices: {web: {image: nginx}}",
            "  port: 5511\n",
            "the file ../common.yml, which compose.yml includes",
        ),
        (
            OVERRIDDEN,
            "  port: 5533\n",
            "!override, !reset",
        ),
    ],
)
def test_what_only_the_plugin_follows(text: str, line: str, not_followed: str, tmp_path: Path) -> None:
    (tmp_path / "common.yml").write_text(DATABASE)
    (tmp_path / "keeper.env").touch()
    root = written(tmp_path / "shop", f"--- compose.yml\n{text}")
    asked, read, _ = both(root)
    spec = asked.files[-1].text
    assert line in spec
    assert "image: postgres:16\n" in spec
    if "../common.yml" in text:
        assert "password: ${KEEPER_PW:-hunter2}" in spec  # with its default, as the file has it
        assert "work_mem: 8MB" in spec
        assert "../keeper.env, an env_file, is outside of this directory" in "\n".join(asked.remarks)
    assert "not taken" not in "\n".join(asked.remarks)
    (remark,) = [each for each in read.remarks if "not followed: " in each]
    assert remark.startswith(f"compose.yml: not followed: {not_followed} (Docker's Compose plugin is not here)")


def test_a_remote_file_is_not_downloaded_and_its_login_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the client connect to its engine, which it does over SSH before it starts a plugin."""
    for program in ("git", "ssh"):
        (tmp_path / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "ssh://nobody@host.invalid")
    own = "services: {db: {image: 'postgres:17'}}"
    included = "include: ['https://me:hunter2@host.invalid/x.git']"
    asked, _, answers = both(written(tmp_path / "shop", f"--- compose.yml\n{included}\n{own}"))
    assert answers == ["`docker compose config` failed"]
    assert "host.invalid/x.git, which compose.yml includes (`docker compose config` failed)" in asked.remarks[0]
    assert "hunter2" not in f"{asked}"
    _, _, (answer,) = both(written(tmp_path / "shop", f"--- compose.yml\n{own}"))
    assert not isinstance(answer, str)
    assert not (tmp_path / "started").exists()


def test_a_program_that_does_not_answer_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "_SECONDS", 0.2)
    (tmp_path / "docker").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    asked, read, answers = both(written(tmp_path / "shop", f"--- compose.yml{DATABASE}"))
    assert answers == ["`docker compose config` did not answer within 0.2 s"]
    assert (asked.files, asked.remarks) == (read.files, read.remarks)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert both(tmp_path / "shop")[2] == ["Docker's Compose plugin is not here"]
