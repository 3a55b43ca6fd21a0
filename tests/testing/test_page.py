"""The examples of docs/testing.md, as the project that they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from support import program

if TYPE_CHECKING:
    from support.suite import Suite

pytestmark = pytest.mark.server

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|yaml|js)\n(?:#|//) (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "r1", None


def upgrade():
    op.create_table("customers", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String))


def downgrade():
    op.drop_table("customers")
"""


@pytest.fixture
def project(embedded: Suite) -> Suite:
    for name, text in BLOCKS:
        embedded.write(name, text)
    spec = yaml.safe_load((embedded.directory / "provision.yml").read_text())
    spec["name"] = embedded.name
    spec["server"]["runtime"] = "embedded"
    embedded.write("provision.yml", yaml.safe_dump(spec))
    embedded.write("migrations/versions/r1.py", REVISION)
    embedded.write("pytest.ini", "[pytest]\npythonpath = .\n")
    return embedded


def test_the_examples_pass(project: Suite) -> None:
    project.run("-W", "error", "tests", passed=9)
    assert project.homes() == []


def test_the_example_for_node_passes(project: Suite, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or int(subprocess.check_output((node, "--version"), text=True)[1:].split(".")[0]) < 20:
        pytest.skip("there is no node 20 or newer")
    program.run("apply", cwd=project.directory, environ=project.environ)
    try:
        project.write("package.json", '{"type": "module"}')
        script = tmp_path / "provision"
        script.write_text(f'#!/bin/sh\nexec {" ".join(program.PROVISION)} "$@"\n')
        script.chmod(0o755)
        path = f"{tmp_path}:{project.environ['PATH']}"
        done = subprocess.run(
            (node, "--test", "test/"),
            cwd=project.directory,
            env={**project.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        left = program.run("clone", "--list", cwd=project.directory, environ=project.environ)
        assert "no clones" in left.out
    finally:
        program.run("destroy", "--data", "--yes", cwd=project.directory, environ=project.environ)
