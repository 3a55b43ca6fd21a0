"""Where a revision comes from that this checkout has not: as a table (`origin.yml`), and in real repositories."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.alembic import origin
from provision.alembic.tree.graph import Graph
from provision.alembic.tree.location import Location
from provision.errors import UnknownRevisionError, with_spec

CASES: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_suffix("").with_name("origin.yml").read_text()
)
COMMIT = origin.Commit("1a2b3c4" * 5, "1a2b3c4", "2026-11-20", "Anna", "add orders")


# --- What Git has said, in words ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES["explained"], ids=lambda case: case["name"])
def test_what_is_told(case: dict[str, Any]) -> None:
    said = dict(case["found"])
    worktree = said.pop("worktree", "")
    said["refs"] = tuple(origin.Ref(name, worktree, "m/c.py") for name in said.get("refs", ()))
    said["commit"] = COMMIT if said.get("commit") else None
    said["git"] = tuple(said.get("git", ["git"]))
    lines, next_step = origin.advise(origin.Origin("c", **said))
    assert ([with_spec(each, "specs/dev.yml") for each in lines], next_step) == (case["lines"], case["next"])


@pytest.mark.parametrize("case", CASES["below"], ids=lambda case: case["name"])
def test_the_last_revision_in_common(case: dict[str, Any]) -> None:
    printed = "".join(f"HEAD:{path}\0{line}\n" for path, lines in case["files"].items() for line in lines)
    tree = Graph.of(
        {Path("a.py"): b"revision = 'a'\ndown_revision = None", Path("b.py"): b"revision = 'b'\ndown_revision = 'a'"}
    )
    assert origin.back("c", origin.below(origin.stated(printed).get("HEAD", {})), tree) == case["back"]


@pytest.mark.parametrize("case", CASES["patterns"], ids=lambda case: case["id"])
def test_the_line_that_states_an_id(case: dict[str, Any], tmp_path: Path) -> None:
    for line in (*case["states"], *case["others"]):
        (tmp_path / "r.py").write_text(f"import x\n{line}\n")
        argv = ("grep", "-qE", "-e", origin.pattern(case["id"]), "r.py")
        assert (subprocess.run(argv, cwd=tmp_path, check=False).returncode == 0) == (line in case["states"]), line


# --- Real repositories -------------------------------------------------------------------------------------------


class Repository:
    """A repository with an Alembic tree in ``m`` and another one in ``other``."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def __call__(self, *words: str) -> str:
        who = ("-c", "user.name=Anna", "-c", "user.email=anna@example.com", "-c", "init.defaultBranch=main")
        argv = ("git", *who, *words)
        return subprocess.run(argv, cwd=self.top, check=True, capture_output=True, text=True).stdout

    def add(self, *names: str, tree: str = "m") -> None:
        for name in names:
            path = self.top / tree / "versions" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            down = repr(chr(ord(name) - 1)) if name > "a" else None
            path.write_text(f"revision: str = {name!r}\ndown_revision = {down}\n")
            self("add", "-A")
            self("commit", "-q", "-m", f"add {name}")

    @property
    def location(self) -> Location:
        return Location(self.top / "m", (self.top / "m" / "versions",), recursive=False, cwd=self.top)

    def find(self, name: str = "c") -> origin.Origin:
        sources = {path: path.read_bytes() for path in sorted(self.location.versions[0].glob("*.py"))}
        return origin.find(name, Graph.of(sources), self.location)

    def has(self, name: str = "c") -> bool:
        return (self.location.versions[0] / f"{name}.py").is_file()

    def follow(self, found: origin.Origin) -> None:
        """Type the command of the advice."""
        _, command = origin.advise(found)
        subprocess.run(command, shell=True, cwd=self.top, check=True, capture_output=True)  # noqa: S602


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """On ``main`` with a; the branch ``orders`` has b and c, too."""
    made = Repository(tmp_path / "shop")
    made.top.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    made("init", "-q")
    made.add("a")
    made("switch", "-q", "-c", "orders")
    made.add("b", "c")
    made("switch", "-q", "main")
    return made


def names(found: origin.Origin) -> list[str]:
    return [each.name for each in found.refs]


def test_another_branch(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.top)
    found = repository.find()
    assert (found.trouble, names(found), found.back) == ("", ["refs/heads/orders"], "a")
    assert found.commit is not None
    assert (found.commit.subject, found.commit.author, found.git) == ("add c", "Anna", ("git",))
    repository.follow(found)
    assert repository.has()


def test_from_elsewhere_with_the_variables_of_a_hook(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository.top.parent)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    found = repository.find()
    assert (names(found), found.git) == (["refs/heads/orders"], ("git", "-C", str(repository.top)))


def test_a_branch_that_was_rebased(repository: Repository) -> None:
    repository.add("z", tree="other")
    repository("branch", "old", "orders")
    repository("rebase", "-q", "main", "orders")
    repository("switch", "-q", "main")
    assert sorted(names(repository.find())) == ["refs/heads/old", "refs/heads/orders"]


def test_a_remote_and_what_this_branch_follows(repository: Repository) -> None:
    clone = Repository(repository.top.parent / "clone")
    repository("clone", "-q", str(repository.top), str(clone.top))
    found = clone.find()
    assert names(found) == ["refs/remotes/origin/orders"]
    repository("merge", "-q", "orders")
    clone("fetch", "-q")
    found = clone.find()
    assert names(found) == ["refs/remotes/origin/main", "refs/remotes/origin/orders"]
    assert "merge origin/main" in origin.advise(found)[1]
    clone.follow(found)
    assert clone.has()


def test_a_tag_alone(repository: Repository) -> None:
    repository("tag", "v1", "orders")
    repository("branch", "-q", "-D", "orders")
    found = repository.find()
    assert names(found) == ["refs/tags/v1"]
    repository.follow(found)
    assert repository.has()


def test_a_deleted_branch_is_not_found(repository: Repository) -> None:
    repository("branch", "-q", "-D", "orders")
    found = repository.find()
    assert (found.trouble, found.refs, found.commit) == ("", (), None)


def test_a_file_that_every_branch_has_lost(repository: Repository) -> None:
    repository("merge", "-q", "orders")
    repository("branch", "-q", "-d", "orders")
    repository("rm", "-q", "m/versions/c.py")
    repository("commit", "-q", "-m", "remove c")
    found = repository.find()
    assert found.refs == ()
    assert found.commit is not None
    assert found.commit.subject == "add c"
    repository.follow(found)
    assert repository.has()


def test_a_file_that_only_the_working_tree_has_lost(repository: Repository) -> None:
    repository("merge", "-q", "orders")
    repository("rm", "-q", "m/versions/c.py")
    found = repository.find()
    assert names(found)[0] == "HEAD"
    repository.follow(found)
    assert repository.has()


def test_worktrees(repository: Repository) -> None:
    other = Repository(repository.top.parent / "worktree")
    repository("worktree", "add", "-q", str(other.top), "orders")
    found = repository.find()
    assert found.refs[0].worktree == str(other.top)
    repository.follow(found)
    assert repository.has()
    other("switch", "-q", "--detach", "main")
    assert names(other.find())[0] == "refs/heads/orders"


def test_the_same_id_in_another_tree_is_another_revision(repository: Repository) -> None:
    repository("switch", "-q", "-c", "others")
    repository.add("d", tree="other")
    repository.add("d", tree="m/versions/deeper")
    repository("switch", "-q", "main")
    assert repository.find("d").commit is None
    recursive = replace(repository.location, recursive=True)
    assert names(origin.find("d", Graph([]), recursive)) == ["refs/heads/others"]


def test_a_shallow_clone(repository: Repository) -> None:
    clone = Repository(repository.top.parent / "clone")
    repository("clone", "-q", "--depth", "1", f"file://{repository.top}", str(clone.top))
    found = clone.find()
    assert (found.refs, found.is_shallow) == ((), True)
    clone.follow(found)
    assert names(clone.find()) == ["refs/remotes/origin/orders"]


def test_no_repository(tmp_path: Path) -> None:
    (tmp_path / "m" / "versions").mkdir(parents=True)
    found = Repository(tmp_path).find()
    assert found.trouble == "this tree is in none of its repositories"


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    (tmp_path / "m" / "versions").mkdir(parents=True)
    made = Repository(tmp_path)
    made("init", "-q")
    assert (made.find().refs, made.find().trouble) == ((), "")


def test_a_repository_of_somebody_else(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "dubious ownership" in repository.find().trouble


def test_no_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.top))
    assert repository.find().trouble == "it cannot be run: No such file or directory"


def test_a_git_that_does_not_answer(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = repository.top.parent / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    found = origin.find("c", Graph([]), repository.location, seconds=0.2)
    assert found.trouble == "it has not answered within 0.2 s"


def test_an_error_is_completed(repository: Repository) -> None:
    error = UnknownRevisionError("app", ["c"], evidence=["alembic_version holds c"])
    origin.explain(error, Graph([]), repository.location)
    assert error.evidence[:2] == ("alembic_version holds c", "branch orders has it: m/versions/c.py")
    assert "switch orders" in (error.next_step or "")
