"""``migrate check --files``: each thing that can be wrong with revision files, at its line, also beside a branch."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support import program

from provision.alembic.tree.checking import Since, check
from provision.alembic.tree.source import read_fields
from provision.errors import MigrationsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.program import Ran

ROOT = Path(__file__).parents[2]
SPEC = """
name: files-test
server: {image: "postgres:18"}
migrations: {script_location: migrations, target: TARGET}
"""
SERVER = """server:
  image: "postgres:18"
  credentials: {password: {command: [touch, PLACE/ran]}}"""
HERE = Path("/app/versions")


def revision(name: str, down: str | tuple[str, ...] | None, body: str = "pass", label: str | None = None) -> str:
    text = f'"""make {name}"""\n\nrevision = {name!r}\ndown_revision = {down!r}\nbranch_labels = {label!r}\n'
    return f"{text}\n\ndef upgrade():\n    {body}\n\n\ndef downgrade():\n    pass\n"


CHAIN = {"a.py": revision("a", None), "b.py": revision("b", "a"), "c.py": revision("c", "b")}


def found(
    files: Mapping[str, str], since: Since | None = None, *, target: str = "head", widens: bool = False
) -> list[Any]:
    checked = check("app", target, _bytes(files), since, widens=widens)
    return [(each.path.name, each.line, each.rule) for each in checked.faults]


def _bytes(files: Mapping[str, str]) -> dict[Path, bytes]:
    return {HERE / name: text.encode() for name, text in files.items()}


def other(base: Mapping[str, str], tip: Mapping[str, str] | None = None) -> Since:
    return Since("origin/main", _bytes(base), _bytes(base if tip is None else tip))


LONG = "x" * 33


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({}, []),
        ({"d.py": revision("d", "b")}, [("c.py", 4, "heads"), ("d.py", 4, "heads")]),
        ({"d.py": revision("d", ("b", "c"))}, []),
        ({"d.py": revision("c", "b")}, [("d.py", 3, "duplicate-id")]),
        ({"d.py": revision(LONG, "c")}, [("d.py", 3, "long-id")]),
        ({"d.py": revision("", "c")}, [("d.py", 3, "empty-id")]),
        ({"d.py": "revision = 'd'\ndown_revision = ('c'\n"}, [("d.py", 2, "unreadable")]),
        ({"d.py": "x = 1\n"}, [("d.py", 1, "unreadable")]),
        ({"d.py": revision("d", "gone")}, [("d.py", 4, "broken")]),
        ({"a.py": revision("a", "c")}, [("a.py", 4, "broken")]),
        (
            {"d.py": "x = (\n", "e.py": revision("c", "b"), "f.py": revision(LONG, "c")},
            [("d.py", 1, "unreadable"), ("e.py", 3, "duplicate-id"), ("f.py", 3, "long-id")],
        ),
    ],
)
def test_what_is_wrong_with_files(more: dict[str, str], wrong: list[tuple[str, int, str]]) -> None:
    assert found({**CHAIN, **more}) == wrong


TWO = {**CHAIN, "x.py": revision("x", None, label="shop"), "y.py": revision("y", "x")}


@pytest.mark.parametrize(
    ("files", "target", "rules"),
    [
        (TWO, "head", {"heads"}),
        (TWO, "heads", set()),
        (TWO, "shop@head", set()),
        ({**TWO, "z.py": revision("z", "x")}, "shop@head", {"heads"}),
        ({**TWO, "z.py": revision("z", "x")}, "heads", set()),
        (TWO, "none@head", {"heads"}),
        (TWO, "b", {"heads"}),
    ],
)
def test_how_many_heads_a_target_allows(files: dict[str, str], target: str, rules: set[str]) -> None:
    assert {rule for _, _, rule in found(files, target=target)} == rules


def test_a_tree_that_widens_its_version_table_may_have_long_ids() -> None:
    assert found({**CHAIN, "d.py": revision(LONG, "c")}, widens=True) == []


def test_a_computed_id_is_not_known_and_nothing_that_depends_on_it_is_guessed() -> None:
    files = {**CHAIN, "d.py": revision("d", "b").replace("'d'", "'d' + ''"), "e.py": revision("e", "d")}
    checked = check("app", "head", _bytes(files), None, widens=False)
    assert checked.faults == ()
    assert checked.unknown == (
        "/app/versions/d.py:3 computes `revision`, so it cannot be known without running the file",
    )


EDITED = {**CHAIN, "b.py": revision("b", "a", "op.execute('SELECT 1')")}
NEW = {**CHAIN, "d.py": revision("d", "c")}


@pytest.mark.parametrize(
    ("files", "since", "wrong"),
    [
        (NEW, other(CHAIN), []),
        (EDITED, other(CHAIN), [("b.py", 9, "edited")]),
        ({**EDITED, "b.py": CHAIN["b.py"].replace("\n", "\r\n")}, other(CHAIN), []),
        ({"a.py": CHAIN["a.py"], "b.py": CHAIN["b.py"]}, other(CHAIN), [("c.py", 1, "removed")]),
        ({"a.py": CHAIN["a.py"], "b.py": CHAIN["b.py"], "renamed.py": CHAIN["c.py"]}, other(CHAIN), []),
        ({"a.py": CHAIN["a.py"], "n.py": EDITED["b.py"], "c.py": CHAIN["c.py"]}, other(CHAIN), [("n.py", 9, "edited")]),
        ({**CHAIN, "notes.py": revision("d", "c")}, other({**CHAIN, "notes.py": "x = 1\n"}), []),
        (NEW, other(CHAIN, {**CHAIN, "e.py": revision("e", "c")}), [("d.py", 4, "heads")]),
        (NEW, other(CHAIN, {**CHAIN, "e.py": revision("d", "c", "x = 1")}), [("d.py", 3, "duplicate-id")]),
        (NEW, other(CHAIN, NEW), []),
        (CHAIN, other(CHAIN, {**CHAIN, "e.py": revision("e", "c"), "f.py": revision("f", "c")}), []),
        (CHAIN, other(CHAIN, {**CHAIN, "e.py": revision("e", "nowhere")}), []),
    ],
)
def test_what_a_branch_may_not_do_to_another(
    files: dict[str, str], since: Since, wrong: list[tuple[str, int, str]]
) -> None:
    assert found(files, since) == wrong


# The command, with Git.


def git(home: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(("git", *names, *words), cwd=home, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose branch ``main`` has three revisions, with a branch of its own checked out."""
    home = tmp_path / "project"
    put(home, {"a_b.py": revision("a", None), "b.py": revision("b", "a"), "c.py": revision("c", "b")})
    (home / "spec.yml").write_text(SPEC.replace("TARGET", "head"))
    git(home, "init", "-q")
    git(home, "add", ".")
    git(home, "commit", "-qm", "three revisions")
    git(home, "checkout", "-qb", "branch")
    return home


def put(home: Path, files: Mapping[str, str]) -> None:
    versions = home / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    (versions.parent / "env.py").write_text("raise SystemExit('nothing of the project is run')\n")
    for name, text in files.items():
        (versions / name).write_text(text)


def run(home: Path, *words: str, code: int, **environ: str) -> Ran:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nonexistent", **environ}
    done = program.run("migrate", "check", "--files", *words, cwd=home, environ=environ)
    assert done.code == code, done.all
    return done


def test_the_command_names_file_line_and_what_to_do(project: Path) -> None:
    assert "files-test: nothing wrong in 3 revision files  " in run(project, "spec.yml", code=0).out
    put(project, {"d.py": revision("d", "b"), "b.py": revision("b", "a", "x = 1")})
    done = run(project, "--since", "main", "spec.yml", code=1)
    assert "migrations/versions/b.py:9: edited: revision b of main was edited" in done.out
    put(project, {"b.py": revision("b", "a")})
    done = run(project, "--since", "main", "spec.yml", code=1)
    assert "migrations/versions/d.py:4: heads: the tree has several heads: d, and c (c.py)\n" in done.out
    assert "files-test: 2 problems in 4 revision files, compared with main  " in done.out


def test_the_document_is_as_described(project: Path) -> None:
    put(project, {"d.py": revision("d", "b")})
    (project / "migrations" / "versions" / "c.py").unlink()
    document = json.loads(run(project, "--since", "main", "--json", "spec.yml", code=1).out)
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/revision-check.json").read_text()))
    assert [each["rule"] for each in document["trees"][0]["problems"]] == ["removed"]
    assert document["since"] == "main"


def test_revisions_that_the_other_branch_got_meanwhile_count(project: Path) -> None:
    put(project, {"d.py": revision("d", "c")})
    git(project, "add", ".")
    git(project, "commit", "-qm", "d")
    git(project, "checkout", "-q", "main")
    put(project, {"e.py": revision("e", "c")})
    git(project, "add", ".")
    git(project, "commit", "-qm", "e")
    git(project, "checkout", "-q", "branch")
    done = run(project, "--since", "main", "spec.yml", code=1)
    assert "d.py:4: heads: with main, the tree has 2 heads: d, and e (e.py)" in done.out
    assert "    let it follow the other: `down_revision = 'e'`" in done.out


def test_a_shallow_clone_says_what_to_fetch_and_that_helps(project: Path, tmp_path: Path) -> None:
    put(project, {"d.py": revision("d", "c")})
    git(project, "add", ".")
    git(project, "commit", "-qm", "d")
    git(tmp_path, "clone", "-q", "--depth", "1", "--branch", "branch", project.as_uri(), "clone")
    clone = tmp_path / "clone"
    for _ in range(2):  # once without the branch, once without the commit where it was left
        done = run(clone, "--since", "origin/main", "spec.yml", code=64)
        assert "this clone is shallow" in done.err
        assert "actions/checkout with `fetch-depth: 0`; GitLab: the variable `GIT_DEPTH: 0`" in done.err
        git(clone, "fetch", "--depth", "1", "origin", "+refs/heads/main:refs/remotes/origin/main")
    line = done.err.split("next: git ")[1].splitlines()[0]
    git(clone, *line.split())
    run(clone, "--since", "origin/main", "spec.yml", code=0)


def test_it_runs_nothing_that_the_spec_names(project: Path) -> None:
    spec = project / "spec.yml"
    spec.write_text(spec.read_text().replace('server: {image: "postgres:18"}', SERVER).replace("PLACE", str(project)))
    run(project, "--since", "main", "spec.yml", code=0, PROVISION_NO_COMMANDS="1")
    run(project, "--since", "main", "spec.yml", code=0)
    assert not (project / "ran").exists()


def test_without_git_only_since_is_refused(project: Path) -> None:
    (project / ".git").rename(project / "no-git")
    run(project, "spec.yml", code=0)
    done = run(project, "--since", "main", "spec.yml", code=64)
    assert "Git cannot say" in done.err
    assert "next: the same command without `--since`" in done.err


@pytest.mark.parametrize("since", ["--exec=touch x", "nothing", "main; touch x", ""])
def test_what_names_no_commit(since: str, project: Path) -> None:
    done = run(project, f"--since={since}", "spec.yml", code=64)
    assert "--since" in done.err
    assert not (project / "x").exists()


def test_all_trees_are_checked_or_the_one_that_is_named(project: Path) -> None:
    put(project / "other", {"x.py": revision("x", None), "y.py": revision("x", None)})
    spec = project / "spec.yml"
    spec.write_text(
        'name: two\nserver: {image: "postgres:18"}\nmigrations:\n'
        "  - {name: app, script_location: migrations}\n"
        "  - {name: more, script_location: other/migrations, version_table: more}\n"
    )
    assert "two: 1 problem in 5 revision files" in run(project, "spec.yml", code=1).out
    assert "two: nothing wrong in 3 revision files" in run(project, "--tree", "app", "spec.yml", code=0).out
    assert (
        "the spec declares no migrations with the name 'none'"
        in run(project, "--tree", "none", "spec.yml", code=64).err
    )


def test_a_tree_whose_place_only_the_interpreter_knows_is_not_checked(project: Path) -> None:
    spec = project / "spec.yml"
    spec.write_text(SPEC.replace("TARGET", "head").replace("location: migrations", "location: 'package:migrations'"))
    done = run(project, "spec.yml", code=0)
    assert "not checked: only the project's interpreter knows where package:migrations is" in done.out


def test_an_expression_that_is_nested_too_deep_is_an_error_of_its_file() -> None:
    with pytest.raises(MigrationsError, match=r"a.py:1 is not valid Python"):
        read_fields(b"revision = 'a'" + b" + ''" * 100_000, Path("a.py"))
