"""`provision doctor` says what would fail, with the next command; it changes nothing, and runs nothing it must not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from support import program

from provision.alembic.child import imports

if TYPE_CHECKING:
    from support.program import Ran

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "docs" / "schema" / "doctor.json").read_text())
SPEC = """\
name: dr-shop
server: {{runtime: embedded, image: 'postgres:18', port: {port}}}
{more}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    write(directory)
    return directory


def write(project: Path, more: str = "", port: int | str = "auto") -> None:
    (project / "provision.yml").write_text(SPEC.format(port=port, more=more))


def run(project: Path, *words: str, path: str = "") -> Ran:
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(project.parent),
        "HOME": str(project.parent),
    }
    environ["PATH"] = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    return program.run("doctor", *words, cwd=project, environ=environ)


def findings(project: Path, *words: str, path: str = "") -> dict[str, dict[str, Any]]:
    """Return the findings by subject, those that are not ok first; the document follows its schema."""
    done = run(project, "--json", *words, path=path)
    document = json.loads(done.out)
    jsonschema.validate(document, SCHEMA)
    assert done.code == (1 if document["problems"] else 0)
    ordered = sorted(document["findings"], key=lambda each: each["level"] != "ok")
    return {each["subject"]: each for each in ordered}


def a_tree(project: Path, env: str = "import alembic\n") -> str:
    (project / "migrations" / "versions").mkdir(parents=True)
    (project / "migrations" / "env.py").write_text(env)
    return "migrations: {script_location: migrations}"


def files(directory: Path) -> dict[str, int]:
    return {str(each): each.stat().st_mtime_ns for each in sorted(directory.rglob("*")) if "log" not in each.parts}


def test_what_is_in_order_is_ok_and_nothing_is_changed(project: Path) -> None:
    write(project, a_tree(project))
    before = files(project)
    found = findings(project)
    after = {name: time for name, time in files(project).items() if "__pycache__" not in name}
    assert {name.removeprefix(str(project)) for name in after} == {name.removeprefix(str(project)) for name in before}
    assert [found[each]["level"] for each in ("spec", "runtime", "disk", "migrations", "secrets", "apply")] == [
        "ok"
    ] * 6
    assert found["migrations"]["message"].startswith("0 revisions; Alembic 1.")
    assert found["apply"]["next"] == "provision plan"
    assert "no problem" in run(project, "provision.yml").out


def test_a_wrong_spec_is_a_problem_and_the_machine_is_looked_at(project: Path) -> None:
    (project / "provision.yml").write_text("name: dr-shop\nserver: {image: 'postgres:17', prt: 1}\n")
    found = findings(project, "provision.yml")
    assert found["spec"]["level"] == "problem"
    assert found["spec"]["evidence"] == ["provision.yml:2: unknown key `prt`"]
    assert found["spec"]["next"] == "provision validate provision.yml"


def test_who_has_the_port_is_named(project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write(project, port=port)
        found = findings(project)["port"]
        assert found["level"] == "problem"
        assert found["message"].startswith(f"{port} is in use by ")
        assert f"process {os.getpid()}" in found["message"]
    assert findings(project)["port"]["message"] == f"{port} is free"


def test_what_env_py_cannot_import_is_named(project: Path) -> None:
    (project / "app.py").write_text("import nowhere_to_be_found\n")
    tree = a_tree(project, "from alembic import context\nfrom app import Base\nraise SystemExit('env.py ran')\n")
    write(project, tree)
    found = findings(project)["migrations"]
    assert found["level"] == "problem"
    assert found["evidence"] == ["import app: ModuleNotFoundError: No module named 'nowhere_to_be_found'"]
    assert "-m pip install" in found["next"]
    # Of another size in the same second, or Python would take the bytecode of what was there before.
    (project / "app.py").write_text("class Base: ...\n\nfirst: Item\n")
    assert findings(project)["migrations"]["next"].startswith("correct what it says")
    (project / "app.py").write_text("class Base: ...\n")
    assert findings(project)["migrations"]["level"] == "ok"


def test_an_interpreter_without_alembic_is_a_problem(project: Path) -> None:
    python = project / "python"
    python.write_text('#!/bin/sh\nexec python3 -I -S "$@"\n')
    python.chmod(0o755)
    write(project, a_tree(project, "").replace("}", ", python: python}"))
    found = findings(project)["migrations"]
    assert (found["level"], found["message"]) == ("problem", f"{python} has no Alembic")
    assert found["next"].startswith(f"{python} -m pip install alembic")


def test_without_commands_nothing_runs(project: Path) -> None:
    (project / "app.py").write_text("open('ran', 'w').close()\n")
    programs = project.parent / "bin"
    programs.mkdir()
    for name in ("psql", "git", "pg_config"):
        (programs / name).write_text(f"#!/bin/sh\ntouch {project}/ran\n")
        (programs / name).chmod(0o755)
    write(project, a_tree(project, "import app\n"))
    found = findings(project, "--no-commands", path=str(programs))
    assert [found[each]["level"] for each in ("psql", "migrations", "git")] == ["unknown"] * 3
    assert not (project / "ran").exists()
    findings(project, path=str(programs))
    assert (project / "ran").exists()


def test_a_psql_that_is_older_than_the_server_is_a_warning(project: Path) -> None:
    programs = project.parent / "bin"
    programs.mkdir()
    (programs / "psql").write_text("#!/bin/sh\necho 'psql (PostgreSQL) 9.6.24'\n")
    (programs / "psql").chmod(0o755)
    found = findings(project, path=str(programs))["psql"]
    assert (found["level"], found["evidence"]) == ("warning", [str(programs / "psql")])


def test_a_secret_that_others_can_read_is_a_problem_and_the_next_command_mends_it(project: Path) -> None:
    secret = project / ".provision" / "dr-shop" / "secrets" / "password"
    secret.parent.mkdir(parents=True, mode=0o700)
    secret.write_text("hunter2-of-doctor")
    secret.chmod(0o644)
    found = findings(project)["secrets"]
    assert found["level"] == "problem"
    assert "hunter2" not in json.dumps(found)
    subprocess.run(found["next"], shell=True, cwd=project, check=True)  # noqa: S602  # as it is typed
    assert findings(project)["secrets"]["level"] == "ok"


def test_what_git_does_not_ignore_is_a_warning_and_the_next_command_mends_it(project: Path) -> None:
    subprocess.run(("git", "init", "-q"), cwd=project, check=True)
    found = findings(project)["git"]
    assert found["level"] == "warning"
    subprocess.run(found["next"], shell=True, cwd=project, check=True)  # noqa: S602  # as it is typed
    assert findings(project)["git"]["level"] == "ok"


def test_a_schema_for_editors_that_is_missing_is_a_warning(project: Path) -> None:
    text = (project / "provision.yml").read_text()
    (project / "provision.yml").write_text(f"# yaml-language-server: $schema=.provision/spec.schema.json\n{text}")
    found = findings(project)["editor"]
    assert (found["level"], found["next"]) == ("warning", "provision schema -o .provision/spec.schema.json")
    words = found["next"].split()[1:]
    program.run(*words, cwd=project, environ={**os.environ, "PYTHONPATH": str(ROOT)})
    assert findings(project)["editor"]["level"] == "ok"


def test_a_program_that_prints_a_password_has_to_be_there(project: Path) -> None:
    more = "roles: {app: {login: true, password: {command: [no-such-program, x]}}}"
    write(project, more)
    found = findings(project)["secrets"]
    assert (found["level"], found["message"]) == (
        "problem",
        "the program 'no-such-program', which prints a password, is not here",
    )


def test_an_engine_that_does_not_answer_is_a_problem(project: Path) -> None:
    write(project)
    text = (project / "provision.yml").read_text().replace("embedded", "docker")
    (project / "provision.yml").write_text(text)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    done = program.run("doctor", cwd=project, environ=environ)
    assert done.code == 1
    assert "problem  runtime" in done.out
    assert done.out.count("/nowhere/docker.sock") == 1


def test_without_a_spec_it_is_about_the_machine(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "--json").out)
    assert document["spec"] is None
    assert {each["subject"] for each in document["findings"]} <= {"engine", "psql", "runtime"}


def test_imports_are_those_at_the_top_of_a_file() -> None:
    source = "import a.b, c\nfrom d import e, f\nfrom . import g\nif x:\n    import h\n"
    assert imports.names(source) == [("a.b", ""), ("c", ""), ("d", "e"), ("d", "f")]
    assert imports.fault("json", "loads") == imports.fault("xml", "dom") == imports.fault("os", "") == ""
    assert imports.fault("os", "nothing").startswith("ModuleNotFoundError")
