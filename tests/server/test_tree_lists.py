"""Several trees in one spec."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trees

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Server

pytestmark = pytest.mark.server


def test_trees_run_in_the_order_of_the_list(tmp_path: Path, database: Server) -> None:
    bodies = {"private": {"one": trees.table("one")}, "alpha": {"two": 'op.execute("INSERT INTO one VALUES (1)")'}}
    for name, revisions in bodies.items():
        env = trees.ENV.replace("connection=connection", f'connection=connection, version_table="{name}_version"')
        trees.write(tmp_path / name, revisions, env=env)
    at = database.endpoint
    lines = [
        f"  - {{name: {each}, script_location: {each}/migrations, version_table: {each}_version}}" for each in bodies
    ]
    spec = tmp_path / "spec.yml"
    spec.write_text(
        f"name: test-list\nserver: {{runtime: external, image: 'postgres:18', host: {at.host}, port: {at.port}, "
        f"database: '{at.database}', credentials: {{user: postgres, password: '${{PW}}'}}}}\nmigrations:\n"
        + "\n".join(lines)
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "provision", "apply", str(spec)], env={**os.environ, "PW": at.password.reveal()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("migrations/private") < done.stdout.index("migrations/alpha")
    assert database.execute("SELECT id FROM one") == [(1,)]
