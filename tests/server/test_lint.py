"""What squawk says of revisions, at their operations: the program itself, on trees that are written for it."""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import trees
import yaml
from support import program

if TYPE_CHECKING:
    from support.program import Ran

ROOT = Path(__file__).parents[2]
FIRST = """
op.create_table("orders", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True), sa.Column("note", sa.Text))
op.create_index("ix_new", "orders", ["note"])
"""
SECOND = """
op.create_index(
    "ix_note",
    "orders",
    ["note"],
)
op.drop_column("orders", "note")  # provision: ignore ban-drop-column
with op.get_context().autocommit_block():
    op.create_index("ix_id", "orders", ["id"], postgresql_concurrently=True, if_not_exists=True)
"""
READS = 'if op.get_bind().scalar(sa.text("SELECT 1")):\n    pass'


def spec(home: Path, **revisions: str) -> Path:
    """Write a tree, and a spec for it whose server was never made."""
    trees.write(home, revisions)
    written = home / "spec.yml"
    migrations = {"script_location": "migrations"}
    written.write_text(
        yaml.safe_dump({"name": "lint-test", "server": {"image": "postgres:18"}, "migrations": migrations})
    )
    return written


def run(home: Path, *words: str, code: int, python: Path | None = None, **environ: str) -> Ran:
    """Run the program, with another interpreter where one is named, and see how it ends."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environ}
    argv = (str(python), "-m", "provision") if python else ()
    done = program.run("migrate", "lint", *words, cwd=home, environ=environ, argv=argv)
    assert done.code == code, done.all
    return done


def documented(home: Path, *words: str, code: int) -> dict[str, Any]:
    """Run the program with ``--json``, and see that the document is as it is described."""
    found: dict[str, Any] = json.loads(run(home, "--json", *words, code=code).out)
    jsonschema.validate(found, json.loads((ROOT / "docs/schema/lint.json").read_text()))
    return found


def test_findings_stand_at_their_operations(tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST, beta=SECOND)
    done = run(tmp_path, "--all", "spec.yml", code=1)
    path, finding, advice, statement, *_ = done.out.splitlines()
    assert path == "migrations/versions/beta.py"
    assert finding.startswith("  line 7: require-concurrent-index-creation: ")
    assert advice.startswith("      Use `concurrently`")
    assert statement == "      CREATE INDEX ix_note ON orders (note)"
    assert "lint-test: 1 finding in 1 of 2 revisions from base, 1 ignored by comments" in done.out
    found = documented(tmp_path, "alpha:beta", "spec.yml", code=1)
    assert [(each["rule"], each["line"]) for each in found["findings"]] == [("require-concurrent-index-creation", 7)]
    assert (found["from"], found["revisions"], found["clean"]) == (["alpha"], ["beta"], False)


def test_what_is_clean_exits_with_0(tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST)
    assert documented(tmp_path, "--all", "spec.yml", code=0)["clean"]
    assert "nothing found in 1 revision from base" in run(tmp_path, "spec.yml", "base:head", code=0).out


def test_what_cannot_be_rendered_or_read_is_not_clean(tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST, beta=READS, gamma='op.execute("ALTER TABLE orders FLY")\nop.drop_table("orders")')
    found = documented(tmp_path, "--all", "spec.yml", code=1)
    told = [(each["revision"], each["rule"], each["line"]) for each in found["findings"]]
    assert told[0][:2] == ("beta", "not-rendered")
    assert ("gamma", "syntax-error", 7) in told
    assert ("gamma", "ban-drop-table", 8) in told
    path = tmp_path / "migrations" / "versions" / "beta.py"
    path.write_text("# provision: ignore not-rendered\n" + path.read_text())
    assert all(each["revision"] != "beta" for each in documented(tmp_path, "--all", "spec.yml", code=1)["findings"])


def test_the_projects_own_configuration_of_squawk_counts(tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST, beta=SECOND)
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["require-concurrent-index-creation"]\n')
    assert documented(tmp_path, "--all", "spec.yml", code=0)["clean"]


def test_a_missing_squawk_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    places = f"{ROOT}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    done = run(tmp_path, "--all", "spec.yml", code=1, python=python, PYTHONPATH=places, PATH="/usr/bin:/bin")
    assert "squawk, which looks for what is dangerous in SQL, is not installed" in done.err
    assert f"next: {python} -m pip install 'squawk-cli>=2,<3'" in done.err


def test_a_squawk_that_prints_annotations_is_understood(tmp_path: Path) -> None:
    """squawk 2.20 to 2.56 does, under GITHUB_ACTIONS."""
    spec(tmp_path, alpha=FIRST, beta=SECOND)
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    old = python.with_name("squawk")
    real = Path(sys.executable).with_name("squawk")
    old.write_text(
        f'#!/bin/sh\n[ -z "$GITHUB_ACTIONS" ] || echo "::warning file=0.sql,line=1::slow"\nexec {real} "$@"\n'
    )
    old.chmod(0o755)
    places = f"{ROOT}{os.pathsep}{sysconfig.get_paths()['purelib']}"
    words = ("--all", "--json", "spec.yml")
    done = run(tmp_path, *words, code=1, python=python, PYTHONPATH=places, GITHUB_ACTIONS="true")
    assert [each["rule"] for each in json.loads(done.out)["findings"]] == ["require-concurrent-index-creation"]


@pytest.mark.parametrize("words", [("--all", "base:head"), ("--trace", "--all"), ("--trace", "base:head"), ("a", "b")])
def test_what_does_not_go_together_is_a_slip_on_the_command_line(words: tuple[str, ...], tmp_path: Path) -> None:
    spec(tmp_path, alpha=FIRST)
    run(tmp_path, *words, "spec.yml", code=64)


def test_without_a_server_what_is_pending_is_everything_or_has_to_be_named(tmp_path: Path) -> None:
    written = spec(tmp_path, alpha=FIRST)
    written.write_text(written.read_text().replace("server:\n", "server:\n  runtime: embedded\n"))
    done = run(tmp_path, "spec.yml", code=0)
    assert "from base: there is no data yet" in done.out
