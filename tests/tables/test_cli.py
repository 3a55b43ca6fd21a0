"""The command line from outside: exit codes, usage, help, and what it costs to ask for help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import jsonschema
import pytest
from click.testing import CliRunner
from support import program

from provision.cli import COMMANDS, verbs
from provision.commands.migrate import COMMANDS as MIGRATE

if TYPE_CHECKING:
    from support.program import Ran

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("yaml", "jinja2", "docker", "sqlalchemy", "alembic", "pydantic", "psycopg2", "rich", "platformdirs", "json")
GOOD = "version: 1\nname: shop-dev\nserver:\n  image: postgres:17\n  credentials: {password: '${PW:-x}'}\n"
BAD = GOOD + "  max_conections: 200\nmigration: {}\n"
WITHOUT_SPEC = """
backup
completion
golden
init
list
migrate
schema
show
snapshot
""".split()  # noqa: SIM905  # a list has a line for each
"""Commands that take no spec, or whose verbs do."""
DEFAULT = "Without SPEC it is ./provision.yml."
SPECS = {"specs/dev.yml": GOOD, "specs/bad.yml": BAD}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in SPECS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def provision(project: Path, *words: str) -> Ran:
    environ = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}
    return program.run(*words, cwd=project, environ={**environ, "XDG_STATE_HOME": str(project), "COLUMNS": "100"})


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("--version", 0, "provision 0."),
        ("--help", 0, "Help on one command"),
        ("apply -h", 0, "Example: provision apply"),
        ("verify -h", 0, "Exit with 2 when anything is not as declared."),
        ("plan -h", 0, "Exit with 2 when changes are pending."),
        ("", 64, "Usage: provision"),
        ("aply specs/dev.yml", 64, "there is no command `aply`; did you mean `apply`?"),
        ("migrate", 64, "Usage: provision migrate VERB"),
        ("migrate -h", 0, "Show the revision of the database."),
        ("migrate histroy specs/dev.yml", 64, "there is no command `histroy`; did you mean `history`?"),
        ("migrate specs/dev.yml", 64, "is in the place of a command: provision migrate current specs/dev.yml"),
        ("migrate heads specs/dev.yml specs/bad.yml", 64, "one spec at a time: specs/dev.yml and specs/bad.yml"),
        ("migrate heads specs/dev.yml head", 64, "unexpected argument 'head'"),
        ("migrate heads specs/dve.yml", 64, "specs/dve.yml does not exist; did you mean specs/dev.yml?"),
        ("migrate heads specs/dev.yml", 64, "the spec declares no migrations"),
        ("migrate history --jsno specs/dev.yml", 64, "--json"),
        ("frobnicate", 64, "there is no command `frobnicate`; there are init, validate"),
        ("aply specs/dev.yml", 64, "\nnext: provision apply specs/dev.yml\n"),
        ("downgrade -1", 64, "did you mean `migrate downgrade`?\nnext: provision migrate downgrade -1\n"),
        ("revision -m x", 64, "did you mean `migrate revision`?\nnext: provision migrate revision -m x\n"),
        ("dowgrade specs/dev.yml -1", 64, "next: provision migrate downgrade specs/dev.yml -1\n"),
        ("up specs/dev.yml", 64, "did you mean `apply`?\nnext: provision apply specs/dev.yml\n"),
        ("down", 64, "did you mean `stop` or `destroy`?\nnext: provision stop\n"),
        ("help", 64, "there is no command `help`; help is an option\nnext: provision --help\n"),
        ("help apply", 64, "next: provision apply --help\n"),
        ("migrate help", 64, "next: provision migrate --help\n"),
        ("docs", 64, "next: provision --help\n"),
        ("completion tcsh", 64, "'bash', 'zsh', 'fish'"),
        ("snapshot", 64, ""),
        ("snapshot ls", 64, "did you mean `list`?\nnext: provision snapshot list\n"),
        ("snapshot help save", 64, "next: provision snapshot save --help\n"),
        ("url --driver psycog specs/dev.yml", 64, "no driver 'psycog' is known"),
        ("clone --driver psycog specs/dev.yml", 64, "next: --driver psycopg"),
        ("run pytest", 64, "next: provision run -- pytest\n"),
        ("ps", 64, "did you mean `status`?\nnext: provision status\n"),
        ("migrate up +1", 64, "did you mean `upgrade`?\nnext: provision migrate upgrade +1\n"),
        ("upgrade head", 64, "`head` is not a spec file; `provision upgrade` upgrades PostgreSQL itself\n"),
        ("upgrade head", 64, "next: for revisions: provision migrate upgrade head\n"),
        ("upgrade specs/dev.yml +1", 64, "next: for revisions: provision migrate upgrade specs/dev.yml +1\n"),
        ("upgrade specs/dve.yml", 64, "specs/dve.yml does not exist; did you mean specs/dev.yml?"),
        (
            "migrate revision -m …",
            64,
            "-m '…' says nothing: it becomes the file's name, which needs a letter or a digit\n",
        ),
        ("migrate merge -m ...", 64, "-m '...' says nothing"),
        ("apply --golden --no-golden specs/dev.yml", 64, "--golden and --no-golden exclude each other"),
        ("plan --no-golden --golden specs/dev.yml", 64, "--golden and --no-golden exclude each other"),
        ("apply --dry-run", 64, "did you mean `--check`?\nnext: provision apply --check\n"),
        ("migrate upgrade --dry-run", 64, "`sql` prints what would be run\nnext: provision migrate sql\n"),
        ("stop --dry-run", 64, "there is no option `--dry-run` here\nnext: provision stop --help\n"),
        ("destroy --force", 64, "did you mean `--yes`?\nnext: provision destroy --yes\n"),
        ("stop --runtime docker", 64, "there is no option `--runtime` here\nnext: provision stop --help\n"),
        ("specs/dev.yml", 64, "provision apply specs/dev.yml"),
        ("plan --jsno", 64, "--json"),
        ("plan", 64, "specs/dev.yml"),
        ("url a.yml b.yml", 64, "unexpected extra argument"),
        ("plan specs/dve.yml", 64, "specs/dve.yml does not exist; did you mean specs/dev.yml?"),
        ("destroy --data --yes nosuch", 64, "\nnext: provision list\n"),
        ("plan specs/prod.yml", 64, "specs/prod.yml does not exist\n"),
        ("plan spec/dev.yml", 64, "there is no directory spec"),
        ("plan specs", 64, "specs is a directory; name the spec file in it"),
        ("apply --detailed-exitcode specs/dev.yml", 64, "--detailed-exitcode goes with --check"),
        ("apply --sql specs/dev.yml", 64, "--sql goes with --check"),
        ("apply --lock-timeout -1 specs/dev.yml", 64, "--lock-timeout"),
        (
            "access --lint --role app specs/dev.yml",
            64,
            "--lint looks at every role, so it goes without --role and --on",
        ),
        ("access --ignore all-data specs/dev.yml", 64, "--ignore goes with --lint"),
        ("psql specs/dev.yml -c x", 64, "arguments of psql follow --\nnext: provision psql specs/dev.yml -- -c x\n"),
        ("psql -Atc x specs/dev.yml", 64, "\nnext: provision psql specs/dev.yml -- -Atc x\n"),
        ("run --driver psycopg python -x", 64, "\nnext: provision run --driver psycopg -- python -x\n"),
        ("psql --role app -qAt -c x", 64, "\nnext: provision psql --role app -- -qAt -c x\n"),
        ("psql --databse x", 64, "did you mean `--database`?\nnext: provision psql --help\n"),
        ("psql --role", 64, "requires an argument; arguments of psql follow --\nnext: provision psql --help\n"),
        ("destroy --name", 64, "requires an argument\nnext: provision destroy --help\n"),
        ("-q migrate upgrade --tree", 64, "requires an argument\nnext: provision "),
        ("version", 64, "version is an option\nnext: provision --version\n"),
        ("show specs/dev.yml", 64, "is no JSON document"),
        ("show specs/dev.yml", 64, "\nnext: provision plan --json > plan.json\n"),
        ("show reviewed.json", 64, "\nnext: provision plan --json > reviewed.json\n"),
        ("validate specs/dev.yml", 0, "specs/dev.yml: valid (shop-dev, postgres:17)"),
        ("validate specs/bad.yml", 65, "specs/bad.yml:6:3: unknown key `max_conections`"),
        ("validate specs/dev.yml specs/bad.yml", 65, "did you mean `migrations`?"),
        ("apply specs/bad.yml", 65, "specs/bad.yml has 2 problems"),
        ("-q validate specs/bad.yml", 65, "specs/bad.yml has 2 problems"),
    ],
)
def test_exit_code_and_words(project: Path, words: str, code: int, told: str) -> None:
    done = provision(project, *words.split())
    assert told in done.all
    assert done.code == code
    assert "\x1b" not in done.all
    assert "Traceback" not in done.err


PASSWORD_FILE = "name: shop\nserver:\n  image: postgres:17\n  credentials:\n    password: {file: secrets/pw}\n"


def test_a_missing_password_file_is_a_problem_at_its_line(project: Path) -> None:
    (project / "provision.yml").write_text(PASSWORD_FILE)
    done = provision(project, "validate")
    assert done.code == 65
    assert "provision.yml:5:22: `file`: the password file does not exist" in done.err
    assert "(umask 077; mkdir -p secrets; openssl rand -base64 24 > secrets/pw)" in done.err
    (project / "secrets").mkdir()
    (project / "secrets" / "pw").write_text("x\n")
    assert provision(project, "validate").code == 0


@pytest.mark.parametrize(
    "word",
    [
        "postgresql://app:hunter2@db/shop",
        "postgres://db/shop?password=hunter2",
        "host=db password=hunter2",
        "password = hunter2 host = db",
    ],
)
@pytest.mark.parametrize("verb", ["access", "plan", "migrate history specs/dev.yml", "psql specs/dev.yml"])
def test_a_password_in_a_command_line_is_refused_and_not_repeated(project: Path, verb: str, word: str) -> None:
    done = provision(project, *verb.split(), word)
    assert (done.code, "hunter2" in done.all) == (64, False)
    assert "a password in a command line can be seen by every user" in done.err
    assert 'credentials: {user: shop, password: "${PGPASSWORD}"}' in done.err
    assert "next: read -rs PGPASSWORD && export PGPASSWORD && provision " in done.err


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("--drop postgresql://app:hunter2@h:5432/provision_clone_one specs/dev.yml", "--drop one specs/dev.yml"),
        ("--drop=postgresql://app:hunter2@h/provision_clone_one?x=y", "--drop one"),
        ("specs/dev.yml --drop jdbc:postgresql://h/provision_clone_one?password=hunter2", "--drop one specs/dev.yml"),
        ("--drop postgresql://app@h/provision_clone_one specs/dev.yml", "--drop one specs/dev.yml"),
        ("--drop postgresql://app:hunter2@h/shop specs/dev.yml", "--list specs/dev.yml"),
    ],
)
def test_a_clone_is_dropped_by_its_name_and_not_its_url(project: Path, words: str, again: str) -> None:
    done = provision(project, "clone", *words.split())
    said = "error: `--drop` takes the NAME of a clone, or `--all`, and no URL\n"
    assert (done.code, done.out, done.err) == (64, "", f"{said}next: provision clone {again}\n")


def test_the_address_of_a_server_is_no_spec(project: Path) -> None:
    done = provision(project, "access", "postgresql://db.example.com/shop")
    assert (done.code, "a command takes a spec file, and not the address of a server" in done.err) == (64, True)


def test_an_empty_variable_is_named(project: Path) -> None:
    (project / "provision.yml").write_text(GOOD.replace("${PW:-x}", "${EMPTY}"))
    (project / ".env").write_text("EMPTY=\n")
    said = provision(project, "validate").err
    assert "the variable `EMPTY` is empty" in said
    assert "`read -rs EMPTY && export EMPTY` asks for the password" in said
    assert "generate" not in said


def test_a_verb_that_the_environment_forbids_names_the_line_that_runs_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "provision.yml").write_text(GOOD)
    monkeypatch.setenv("PROVISION_NO_COMMANDS", "1")
    said = provision(project, "apply").err
    assert "next: provision plan   (where you trust the spec: env -u PROVISION_NO_COMMANDS provision apply)\n" in said


def test_provision_yml_is_found_and_two_are_not_guessed(project: Path) -> None:
    (project / "provision.yml").write_text(GOOD)
    assert provision(project, "validate").out == "provision.yml: valid (shop-dev, postgres:17)\n"
    (project / "provision.yaml").write_text(GOOD)
    done = provision(project, "validate")
    assert done.code == 64
    assert "Both provision.yml and provision.yaml are here" in done.err


def test_without_any_spec_the_verb_that_makes_one_is_named(tmp_path: Path) -> None:
    done = provision(tmp_path, "apply")
    assert (done.code, done.err.splitlines()[-1]) == (64, "next: provision init")


@pytest.mark.parametrize(
    ("here", "root", "words", "told"),
    [
        ("app/models", ".", "plan", "\n    ../../provision.yml\nnext: provision plan ../../provision.yml\n"),
        ("app", ".", "migrate current", "\nnext: provision migrate current ../provision.yml\n"),
        ("app", "app", "plan", "there is no provision.yml here\nnext: provision init\n"),
        (".", ".", "apply .", "it\n    provision.yml\n    a.yml\nnext: provision apply provision.yml\n"),
        ("app", ".", "apply ..", "\nnext: provision apply ../provision.yml\n"),
        (".", ".", "apply prod.yml", "exist\n    a.yml\n    provision.yml\nnext: provision apply provision.yml\n"),
        (".", ".", "apply no/prod.yml", "\nnext: provision apply provision.yml\n"),
    ],
)  # fmt: skip
def test_the_spec_of_the_project_is_named(tmp_path: Path, here: str, root: str, words: str, told: str) -> None:
    (tmp_path / "app" / "models").mkdir(parents=True)
    (tmp_path / root / ".git").mkdir()
    for name in ("a.yml", "provision.yml"):
        (tmp_path / name).write_text(GOOD)
    done = provision(tmp_path / here, *words.split())
    assert done.code == 64
    assert told in done.err


def test_quiet_says_nothing_when_all_is_well(project: Path) -> None:
    done = provision(project, "validate", "-q", "specs/dev.yml")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        ("validate --json specs/dev.yml specs/bad.yml", 65, "validation"),
        ("plan --json specs/bad.yml", 65, "error"),
        ("apply --json specs/none.yml", 64, "error"),
        ("status --json --nonsense", 64, "error"),
    ],
)
def test_json_is_one_document_even_for_errors(project: Path, words: str, code: int, name: str) -> None:
    done = provision(project, *words.split())
    document = json.loads(done.out)
    schema = json.loads((ROOT / "docs/schema" / f"{name}.json").read_text())
    jsonschema.validate(document, schema)
    assert done.code == code
    assert document.get("exit_code", code) == code
    assert done.err == ""


def test_json_after_two_dashes_is_not_ours(project: Path) -> None:
    assert provision(project, "psql", "none.yml", "--", "--json").out == ""


def test_a_gone_reader_is_no_error(project: Path) -> None:
    command = f"{sys.executable} -m provision validate --json specs/dev.yml | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ("bash", "-c", command),
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["--help", "--version", "frobnicate", "migrate --help"])
def test_help_loads_nothing_heavy_and_no_verb(words: str) -> None:
    script = (
        "import sys; before = set(sys.modules); from provision.cli import run; run(sys.argv[1:]);"
        "print(*(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        (sys.executable, "-c", script, *words.split()),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    shared = {f"provision.commands.{name}" for name in ("options", "specfile", "table", "migrate")}
    assert not {name for name in loaded if name.startswith("provision.commands.")} - shared


def test_completion_knows_the_verbs(project: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "provision"),
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_PROVISION_COMPLETE": "bash_complete",
            "COMP_WORDS": "provision sta",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["plain,status", "plain,start"]


@pytest.mark.parametrize("name", MIGRATE)
def test_every_verb_of_migrate_has_help_with_an_example_and_is_documented(name: str) -> None:
    group = verbs.get_command(click.Context(verbs), "migrate")
    assert isinstance(group, click.Group)
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name
    page = CliRunner().invoke(verbs, ["migrate", name, "--help"]).output
    assert f"provision migrate {name}" in (command.epilog or "")
    assert DEFAULT in page
    documented = (ROOT / "docs/cli.md").read_text(encoding="utf-8").split("\n## migrate\n")[1].split("\n## ")[0]
    assert f"    provision migrate {name}" in documented
    assert f"\n| `{name}" in documented
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[-1] in page
            if parameter.name not in {"help", "quiet", "verbose", "no_color", "set", "insecure_tcp"}:
                assert any(option in documented for option in parameter.opts), parameter.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_is_documented(name: str) -> None:
    command = verbs.get_command(click.Context(verbs), name)
    assert command is not None
    assert command.name == name
    page = CliRunner().invoke(verbs, [name, "--help"]).output
    assert command.help
    assert f"provision {name}" in (command.epilog or "")
    assert (DEFAULT in page) == (name not in WITHOUT_SPEC)
    documented = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert f"\n| [`{name}`](#{name}) | " in documented.split("\n## ")[0]
    section = documented.split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert f"    provision {name}" in section or f"$(provision {name}" in section
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert any(option in documented for option in parameter.opts), parameter.opts
            assert parameter.opts[-1] in page
