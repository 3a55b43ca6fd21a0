"""Five hundred revisions: a plan reads them and runs none, and sees at once what has become of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trees

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server

PLAN = """
import sys
from provision.cli import run
code = run(["plan", sys.argv[1]])
print("loaded:", *sorted({"alembic", "sqlalchemy", "mako"} & set(sys.modules)))
sys.exit(code)
"""
NUMBER = 500
RUNS = "raise RuntimeError('a revision file was run')\n"


def planned(tmp_path: Path, database: Server) -> str:
    process = trees.provision_apply(tmp_path / "spec.yml", database, "large", "-c", PLAN)
    said, _ = process.communicate(timeout=60)
    assert said.endswith("loaded:\n"), said
    return said


def test_a_plan_at_the_head_runs_nothing_and_sees_every_change(tmp_path: Path, database: Server) -> None:
    trees.write(tmp_path, {f"r{number:03}": "pass" for number in range(NUMBER)})
    versions = tmp_path / "migrations" / "versions"
    for path in versions.glob("*.py"):
        path.write_text(path.read_text() + RUNS)
    database.execute(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('r499')",
    )
    apply = trees.provision_apply(tmp_path / "spec.yml", database, "large")
    said, _ = apply.communicate(timeout=60)
    assert apply.returncode == 0, said  # what was read of the files is kept
    assert "nothing to do" in planned(tmp_path, database)
    last = versions / "r499.py"
    text = last.read_text()

    (versions / "r500.py").write_text(text.replace("r499", "r500").replace("r498", "r499"))
    assert "r500  make r500" in planned(tmp_path, database)
    (versions / "r500.py").unlink()
    assert "nothing to do" in planned(tmp_path, database)

    last.write_text(text.replace("r498", "r497"))
    assert "the tree has 2 heads" in planned(tmp_path, database)
    last.write_text(text)
    assert "nothing to do" in planned(tmp_path, database)

    last.unlink()
    assert "the database is at revision r499, which this checkout does not have" in planned(tmp_path, database)
