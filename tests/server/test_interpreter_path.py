"""What the migrations run is looked for beside their interpreter first, as where a virtual environment is active."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.embedded import Embedded

PROGRAMS = {
    "python": f'exec {sys.executable} "$@"',
    "migrate-shop": 'echo "migrating with $(command -v python)"; exit 3',
    "tidy": 'echo "# tidied" >> "$1"',
}
INI = """
[alembic]
script_location = %(here)s/migrations
[post_write_hooks]
hooks = tidy
tidy.type = exec
tidy.executable = tidy
tidy.options = REVISION_SCRIPT_FILENAME
"""
MAKO = '"""${message}"""\nrevision = ${repr(up_revision)}\ndown_revision = ${repr(down_revision)}\n'


@pytest.fixture
def project(environment: Embedded) -> Embedded:
    """A project whose programs are in the directory of its interpreter, which is not in PATH."""
    programs = environment.directory / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    environment.migrations("userdata")
    (environment.directory / "migrations" / "script.py.mako").write_text(MAKO)
    (environment.directory / "alembic.ini").write_text(INI)
    tree = {"config": "alembic.ini", "python": ".venv/bin/python", "script_location": None}
    return environment.declare(migrations=tree)


def test_a_program_and_a_hook_are_found_beside_the_interpreter(project: Embedded) -> None:
    project.run("migrate", "revision", "-m", "more", "--rev-id", "r2", "spec.yml", spec=False)
    (made,) = (project.directory / "migrations" / "versions").glob("r2*.py")
    assert made.read_text().endswith("# tidied\n")
    made.unlink()
    project.declare(migrations={"command": ["migrate-shop"]})
    said = project.run("apply", code=1).err
    assert f"migrating with {project.directory}/.venv/bin/python" in said
