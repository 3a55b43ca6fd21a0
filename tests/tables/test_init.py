"""A tree of files in, a tree of files out: what `init` finds in a project, and what it makes of it.

Each `init/NAME.case` has the files of a project, `init/NAME.expected` what becomes of it. UPDATE_EXPECTED=1 writes the
latter again.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from support import program

from provision.errors import ProvisionError
from provision.init.begin import TEMPLATES, begin
from provision.init.found import Beginning, Options
from provision.init.initialise import initialise, look
from provision.observe.outside import shipped
from provision.report import init as report
from provision.report.console import PLAIN
from provision.spec.load import load
from provision.system import project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.program import Ran

ROOT = Path(__file__).parent.parent.parent
CASES = Path(__file__).parent / "init"
SECRETS = ("hunter2-in-clear", "never-in-the-spec", "s3cret-of-env", "s3cret-of-file")
SHIPPED = {name: (shipped() / "init" / name).read_text() for name in TEMPLATES}
TOLD = re.compile(
    r"(?:script_location|prepend_sys_path|import|from (?!alembic|logging|sqlalchemy)|target_metadata = ).*"
)


class Machine:
    """A machine where 5432 is free, or not."""

    def __init__(
        self, *taken: int, who: str = "the process 'nginx'", environments: Mapping[str, str] | None = None
    ) -> None:
        self.taken, self.who, self.environments = taken, who, environments or {}

    def listener(self, port: int) -> str | None:
        return self.who if port in self.taken else None

    def directory_of(self, name: str) -> str | None:
        return self.environments.get(name)

    def exists(self, path: Path) -> bool:
        return path.is_file()

    def compose(self, _paths: Sequence[str]) -> str:
        return "Docker's Compose plugin is not here"

    def is_ignored(self, path: str) -> bool:
        return path == ".env"

    def image(self) -> tuple[str, str | None]:
        return "postgres:17", None


def a_project(case: Path, root: Path) -> Path:
    files = re.split(r"^--- (.*)\n", case.read_bytes().decode(), flags=re.MULTILINE)[1:]
    for name, text in zip(files[::2], files[1::2], strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def init(root: Path, options: Options | None = None, *taken: int) -> Beginning:
    done = begin(look(root), options or Options(), Machine(*taken), SHIPPED)
    for file in done.files:
        project.add(root / file.path, file.text, append=file.append)
    return done


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "VIRTUAL_ENV",
        "SECRET",
        "DB_PASSWORD",
        "DB_USER",
        "DB_PORT",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "WORK_MEM",
    ):
        monkeypatch.delenv(name, raising=False)
    made = tmp_path / "the project"
    made.mkdir()
    return made


@pytest.mark.parametrize("case", sorted(CASES.glob("*.case")), ids=lambda path: path.stem)
def test_files_in_files_out(case: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(a_project(case, root))
    done = init(root)
    after = contents(root)
    compare(case.with_suffix(".expected"), "\n".join(told(done, after)) + "\n")

    for name, content in before.items():
        assert after[name] == content or (name == ".gitignore" and after[name].startswith(content))
    made = {name: after[name].decode() for name in after if after[name] != before.get(name)}
    assert set(made) == {file.path for file in done.files}
    for name, text in made.items():
        assert not any(secret in text for secret in SECRETS), name
        if name.endswith(".py"):
            compile(text, name, "exec")
    if done.name is not None:
        for variable in re.findall(r"^    password: \$\{(\w+)\}", made["provision.yml"], re.MULTILINE):
            monkeypatch.setenv(variable, "x")
        assert load(root / "provision.yml", os.environ).name == done.name

    again = init(root)
    assert again.files == ()
    assert contents(root) == after


def told(done: Beginning, after: dict[str, bytes]) -> list[str]:
    """Return what is said, the spec, and of other files the lines in which they can differ."""
    lines = [*report.lines(done, None, PLAIN)]
    for file in done.files:
        text = after[file.path].decode()
        if file.path == done.spec:
            lines += ["", f"=== {file.path}", *text.splitlines()[2:]]
        elif file.path.endswith(("env.py", ".ini")):
            lines += ["", f"=== {file.path}", *(line for line in text.splitlines() if TOLD.match(line))]
        elif file.path == ".gitignore":
            lines += ["", f"=== {file.path}", *(json.dumps(line) for line in text.splitlines(keepends=True))]
    return lines


def compare(path: Path, found: str) -> None:
    if os.environ.get("UPDATE_EXPECTED"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("files", "options", "sentence", "evidence"),
    [
        ({"alembic.ini": "[alembic"}, Options(), "alembic.ini is not a configuration that Alembic can read", "line: 1"),
        ({"alembic.ini": "[alembic]\n"}, Options(), "does not say where the migrations are", ""),
        ({"pyproject.toml": "[tool.alembic]\nx = ["}, Options(), "is not valid TOML", ""),
        ({"a.py": "DeclarativeBase (\n"}, Options(), "cannot look for models", "a.py:1:17: not valid"),
        ({}, Options(name="Not A Name"), "no valid spec comes of this", "`Not A Name` is not a name"),
        ({}, Options(image="postgres:13"), "no valid spec comes of this", "is PostgreSQL 13, which is not supported"),
        ({}, Options(port="high"), "no valid spec comes of this", "`high`"),
        (dict.fromkeys(("models.py", "tables.py", "database_models/x"), ""), Options(), "no name left for models", ""),
    ],
)
def test_what_cannot_be_begun_leaves_everything_as_it_is(
    files: dict[str, str], options: Options, sentence: str, evidence: str, root: Path
) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    before = contents(root)
    with pytest.raises(ProvisionError) as caught:
        init(root, options)
    assert sentence in caught.value.sentence
    assert evidence in "\n".join(caught.value.evidence)
    assert caught.value.next_step
    assert contents(root) == before


@pytest.mark.parametrize(
    ("case", "options", "taken", "line", "remark"),
    [
        ("empty", Options(), (5432,), "  port: auto  # one that is free", "port 5432 is in use by the process 'nginx'"),
        ("empty", Options(port="auto"), (5432,), "  port: auto\n", ""),
        ("empty", Options(port="5499"), (5499,), "  port: 5499\n", ""),
        ("empty", Options(name="other", image="postgres:14"), (), "  image: postgres:14\n", ""),
        (
            "compose-clear-password",
            Options(),
            (5433,),
            "  port: 5433\n",
            "port 5433, which docker-compose.yml publishes",
        ),
        ("compose-variables", Options(name="acme"), (), "name: acme\n", "compose.yaml has the name acme too"),
        ("compose-clear-password", Options(image="postgres:18"), (), "  image: postgres:18\n", ""),
    ],
)
def test_options_and_ports(
    case: str, options: Options, taken: tuple[int, ...], line: str, remark: str, root: Path
) -> None:
    done = init(a_project(CASES / f"{case}.case", root), options, *taken)
    assert line in (root / "provision.yml").read_text()
    assert remark in "\n".join(done.remarks)
    assert done.name == (options.name or done.name)


@pytest.mark.parametrize(
    ("options", "command"),
    [
        (Options(port="99999"), "provision init --port auto"),
        (Options(name="Bad Name", port="5433"), "provision init --name NAME --port 5433"),
        (Options(image="postgres:12"), "provision init --image postgres:17"),
    ],
)
def test_an_option_that_is_wrong_is_corrected(options: Options, command: str, root: Path) -> None:
    with pytest.raises(ProvisionError) as refused:
        init(root, options)
    assert refused.value.next_step == command


def test_options_are_for_a_new_spec_only(root: Path) -> None:
    init(root, Options())
    done = init(root, Options(name="Bad Name", port="1"))
    assert done.remarks == (
        "--name was ignored, because provision.yml exists: change `name` there",
        "--port was ignored, because provision.yml exists: change `port` under `server` there",
    )


@pytest.mark.parametrize(
    ("ignored", "is_repository", "remark"),
    [("", True, True), (".env\n", True, False), (".e*\n", True, False), ("", False, True), (".env\n", False, False)],
)
def test_a_password_that_git_would_commit(ignored: str, root: Path, *, is_repository: bool, remark: bool) -> None:
    (root / "compose.yml").write_text("services: {db: {image: 'postgres:17', environment: {POSTGRES_PASSWORD: $PW}}}\n")
    (root / ".env").write_text("PW=hunter2\n")
    (root / ".gitignore").write_text(ignored)
    if is_repository:
        subprocess.run(("git", "init", "-q", root), check=True)
    done = initialise(root, Options())
    assert (".env has the password, and git does not ignore it" in "\n".join(done.remarks)) == remark


@pytest.mark.parametrize(
    ("who", "first"),
    [
        ("the container 'the-project-db-1'", "docker compose stop db"),
        ("the container 'the_project_db_1'", "docker compose stop db"),
        ("the container 'shop-database'", "docker compose stop db"),
        ("the container 'the-project-web-1'", "provision plan"),
        ("the process 'nginx'", "provision plan"),
    ],
)
def test_the_service_that_has_the_port_is_stopped_first(who: str, first: str, root: Path) -> None:
    (root / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (root / "migrations").mkdir()
    (root / "migrations/env.py").write_text("")
    (root / "compose.yml").write_text(
        "services: {db: {image: 'postgres:17', ports: ['5444:5432'], container_name: shop-database}}"
    )
    done = begin(look(root), Options(), Machine(5444, who=who), SHIPPED)
    assert done.next[0] == first
    assert done.next[-1] == "provision apply"


@pytest.mark.parametrize("count", range(7))
def test_a_run_that_was_broken_off_is_gone_on_with(count: int, root: Path) -> None:
    done = begin(look(root), Options(), Machine(), SHIPPED)
    for file in done.files[:count]:
        project.add(root / file.path, file.text, append=file.append)
    init(root)
    # To the second run, env.py is the project's own and reads that variable.
    made = {
        name: text.decode().replace('  env: {DATABASE_URL: "{url}"}\n', "") for name, text in contents(root).items()
    }
    assert made == {file.path: file.text for file in done.files}


def test_what_appeared_meanwhile_is_not_overwritten(root: Path) -> None:
    (root / "models.py").write_text("mine\n")
    with pytest.raises(ProvisionError, match=r"models\.py cannot be written"):
        project.add(root / "models.py", "ours\n", append=False)
    assert (root / "models.py").read_text() == "mine\n"


def test_a_file_that_is_cut_off_is_not_left_behind(tmp_path: Path) -> None:
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
    try:
        with pytest.raises(ProvisionError, match="cannot be written"):
            project.add(tmp_path / "provision.yml", "name: shop\n" * 10, append=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path: Path) -> None:
    def provision(*words: str) -> Ran:
        environ = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
        return program.run("init", *words, cwd=tmp_path, environ=environ)

    done = provision("--directory", "new/shop", "--json", "--port", "auto")
    document = json.loads(done.out)
    schema = json.loads((ROOT / "docs/schema/init.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert (done.code, document["environment"], document["changed"]) == (0, "shop", True)
    assert (tmp_path / "new/shop/provision.yml").is_file()
    assert "nothing to do" in provision("--directory", "new/shop").out
    refused = provision("--directory", "new/shop/provision.yml")
    assert (refused.code, refused.err.count("\n")) == (64, 2)
    assert "is not a directory" in refused.err


def test_no_env_py_is_made_where_a_directory_above_has_it(root: Path) -> None:
    """In conf/ itself, the location of `alembic -c conf/alembic.ini` leads out of what `init` looks at."""
    inner = a_project(CASES / "tree-conf-folder.case", root) / "conf"
    done = init(inner)
    assert [file.path for file in done.files] == [".gitignore", "provision.yml"]
    (tree,) = load(inner / "provision.yml", os.environ).migrations
    assert tree.cwd == root


@pytest.mark.parametrize(
    ("asked", "named", "words"),
    [(None, "the-project-dev", "so this one is the-project-dev"), ("clay", "clay", "for example to the-project")],
    ids=["by default", "asked for"],
)
def test_a_name_that_another_directory_has(asked: str | None, named: str, words: str, root: Path) -> None:
    taken = Machine(environments={"the-project": "/elsewhere", "clay": "/elsewhere"})
    done = begin(look(root), Options(name=asked), taken, SHIPPED)
    assert done.name == named
    (remark,) = [each for each in done.remarks if "/elsewhere" in each]
    assert words in remark


def test_the_active_environment_outside_of_the_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = root.parent / "environments" / "shop"
    (environment / "lib/python3.11/site-packages/alembic").mkdir(parents=True)
    (environment / "bin").mkdir()
    for path in (environment / "pyvenv.cfg", environment / "bin" / "python"):
        path.write_text("")
    monkeypatch.setenv("VIRTUAL_ENV", str(environment))
    init(root)
    (tree,) = load(root / "provision.yml", os.environ).migrations
    assert tree.python == environment / "bin" / "python"
    assert "${VIRTUAL_ENV}/bin/python" in (root / "provision.yml").read_text()
