"""The hooks for pre-commit: their lines are typed every day, and pre-commit itself runs them in ``make test-long``."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pre_commit.clientlib import load_config, load_manifest

sys.path.insert(0, str(Path(__file__).parent))

from recipes import files
from support import program
from support.checkout import ROOT

if TYPE_CHECKING:
    from support.program import Ran

MANIFEST = ROOT / ".pre-commit-hooks.yaml"
HOOKS: dict[str, dict[str, Any]] = {each["id"]: each for each in load_manifest(str(MANIFEST))}
CONFIG = files((ROOT / "docs" / "ci.md").read_text(encoding="utf-8"))[".pre-commit-config.yaml"]
(DOCUMENTED,) = yaml.safe_load(CONFIG)["repos"]
SPEC = """
name: hooks-test
server: {image: "postgres:18"}
migrations: {script_location: ../migrations}
"""
ENV = """
from alembic import context

context.configure(url=context.config.get_main_option("sqlalchemy.url"), literal_binds=True)
with context.begin_transaction():
    context.run_migrations()
"""


def revision(name: str, down: str | None, body: str = "pass") -> str:
    head = f'"""make {name}"""\nfrom alembic import op\nrevision = {name!r}\ndown_revision = {down!r}\n'
    return f"{head}def upgrade():\n    {body}\ndef downgrade():\n    pass\n"


def git(home: Path, *words: str, code: int = 0, **environ: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    clean = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ("git", *names, *words), cwd=home, check=False, capture_output=True, text=True, env={**clean, **environ}
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone of a project whose branch ``main`` has two revisions."""
    origin = tmp_path / "origin"
    versions = origin / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(ENV)
    (versions / "a.py").write_text(revision("a", None))
    (versions / "b.py").write_text(revision("b", "a"))
    (origin / "specs").mkdir()
    (origin / "specs" / "dev.yml").write_text(SPEC)
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "two revisions")
    git(tmp_path, "clone", "-q", origin.as_uri(), "project")
    return tmp_path / "project"


def put(home: Path, name: str, text: str) -> None:
    (home / "migrations" / "versions" / name).write_text(text)


LOCKS = "op.execute('CREATE INDEX i ON t (c)')"
CASES = [
    ("provision-validate", {}, 0, "specs/dev.yml: valid"),
    ("provision-revisions", {"c.py": revision("c", "b")}, 0, "nothing wrong in 3 revision files"),
    ("provision-revisions", {"b.py": revision("b", "a", "x = 1")}, 1, "migrations/versions/b.py:6: edited: revision b"),
    ("provision-revisions", {"c.py": revision("c", "a")}, 1, "c.py:4: heads: the tree has several heads"),
    ("provision-lint", {}, 0, "hooks-test: nothing is pending"),
    ("provision-lint", {"c.py": revision("c", "b")}, 0, "nothing found in 1 revision from b"),
    ("provision-lint", {"c.py": revision("c", "b", LOCKS)}, 1, "require-concurrent-index-creation"),
]


def words_of(hook: str, *names: str) -> list[str]:
    """Return the command of a hook as pre-commit makes it: the entry, the arguments, the files."""
    documented = next(each for each in DOCUMENTED["hooks"] if each["id"] == hook)
    given = HOOKS[hook]
    arguments = documented.get("args", given["args"])
    return [*shlex.split(given["entry"]), *arguments, *(names if given["pass_filenames"] else ())]


def run(home: Path, words: list[str], code: int) -> Ran:
    assert words[0] == "provision"
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nonexistent"}
    done = program.run(*words[1:], cwd=home, environ=environ)
    assert done.code == code, done.all
    return done


@pytest.mark.parametrize(("hook", "changed", "code", "said"), CASES)
def test_the_line_of_a_hook(hook: str, changed: dict[str, str], code: int, said: str, project: Path) -> None:
    for name, text in changed.items():
        put(project, name, text)
    assert said in run(project, words_of(hook, "specs/dev.yml"), code).all


def test_a_hook_without_arguments_checks_the_usual_spec(project: Path) -> None:
    (project / "provision.yml").write_text(SPEC.replace("../migrations", "migrations"))
    for hook in ("provision-revisions", "provision-lint"):
        run(project, [*shlex.split(HOOKS[hook]["entry"]), *HOOKS[hook]["args"]], 0)


def test_every_hook_is_documented_and_the_example_is_valid(tmp_path: Path) -> None:
    path = tmp_path / ".pre-commit-config.yaml"
    path.write_text(CONFIG)
    (repository,) = load_config(str(path))["repos"]
    assert {each["id"] for each in repository["hooks"]} == HOOKS.keys()
    assert {hook for hook, *_ in CASES} == HOOKS.keys()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_pre_commit_installs_and_runs_the_hooks(project: Path, tmp_path: Path) -> None:
    ours = tmp_path / "ours"
    tracked = git(ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for each in filter(None, tracked):
        if (ROOT / each).is_file():
            (ours / each).parent.mkdir(parents=True, exist_ok=True)
            (ours / each).write_bytes((ROOT / each).read_bytes())
    git(ours, "init", "-q")
    git(ours, "add", "-f", ".")
    git(ours, "commit", "-qm", "a release")
    git(ours, "tag", DOCUMENTED["rev"])
    (project / ".pre-commit-config.yaml").write_text(CONFIG.replace(DOCUMENTED["repo"], ours.as_uri()))
    environ = {
        "PRE_COMMIT_HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_HOST": "unix:///nonexistent",
    }
    subprocess.run(("pre-commit", "install"), cwd=project, env={**os.environ, **environ}, check=True)
    git(project, "add", ".pre-commit-config.yaml", "specs/dev.yml")
    git(project, "commit", "-qm", "hooks", **environ)
    put(project, "c.py", revision("c", "b"))
    git(project, "add", ".")
    said = git(project, "commit", "-m", "a good revision", **environ)
    assert said.count("Passed") == 2
    assert "provision validate" in said
    put(project, "b.py", revision("b", "a", "x = 1"))
    git(project, "add", ".")
    said = git(project, "commit", "-m", "an edit", code=1, **environ)
    assert "migrations/versions/b.py:6: edited: revision b of origin/main" in said
    git(project, "checkout", "-q", "HEAD", "--", ".")
    put(project, "d.py", revision("d", "c", LOCKS))
    git(project, "add", ".")
    assert "require-concurrent-index-creation" in git(project, "commit", "-m", "a lock", code=1, **environ)
