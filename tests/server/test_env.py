"""``provision env`` and ``run``: a login with a password of every odd character, wherever it is put."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
from typing import TYPE_CHECKING

import psycopg2
import pytest
from dotenv import dotenv_values
from support import program
from support.embedded import Embedded, an_embedded_environment, an_open_directory

import provision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

ODD = "'\"$\\` #%=\n${X}\\\\"
SHOW = "import os; print(repr(os.environ['PGPASSWORD']))"


@pytest.fixture(scope="module")
def shop() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.environ |= {"ODD": ODD, "PGHOSTADDR": "192.0.2.1", "PGSERVICE": "another"}
        made.declare(roles={"app": {"login": True, "password": "${ODD}"}}, databases={"shop": {"owner": "app"}})
        made.migrations("one").declare(migrations={"as": "app"}).apply()
        yield made


def works(given: dict[str, str]) -> None:
    """Log in by the variables, and by the URL."""
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    psycopg2.connect(**{key: given[name] for name, key in names.items()}).close()
    psycopg2.connect(given["DATABASE_URL"]).close()
    assert given["PGPASSWORD"] == ODD


def variables(*argv: str, cwd: Path, **more: str) -> dict[str, str]:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, check=True, env={**os.environ, **more})
    return dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if "=" in each)


@pytest.mark.parametrize("name", ["bash", "fish"])
def test_a_shell_takes_it(name: str, shop: Embedded, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not here")
    (tmp_path / "it").write_text(shop.run("env", "--format", "fish" if name == "fish" else "shell").out)
    works(variables(name, "-c", ". ./it; env -0", cwd=tmp_path, HOME=str(tmp_path)))


def test_direnv_takes_it_and_asks_again_after_a_change(shop: Embedded, tmp_path: Path) -> None:
    if shutil.which("direnv") is None:
        pytest.skip("direnv is not here")
    shop.run("env", "-o", str(tmp_path / ".envrc"))
    subprocess.run(("direnv", "allow"), cwd=tmp_path, check=True, env={**os.environ, "HOME": str(tmp_path)})
    works(variables("direnv", "exec", ".", "env", "-0", cwd=tmp_path, HOME=str(tmp_path)))
    assert f"watch_file {shop.spec}" in (tmp_path / ".envrc").read_text()


def test_direnv_watches_the_file_that_a_spec_extends(tmp_path: Path) -> None:
    (tmp_path / "base.yml").write_text("server: {image: postgres:18}\n")
    (tmp_path / "dev.yml").write_text("extends: base.yml\nname: shop\n")
    assert provision.Environment(tmp_path / "dev.yml").watched[:2] == (tmp_path / "dev.yml", tmp_path / "base.yml")


def test_python_dotenv_and_json_take_it(shop: Embedded, tmp_path: Path) -> None:
    shop.run("env", "-o", str(tmp_path / ".env"))
    works({name: value or "" for name, value in dotenv_values(tmp_path / ".env").items()})
    works(json.loads(shop.run("env", "--format", "json").out))


def test_compose_takes_it(shop: Embedded, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run((docker, "compose", "version"), capture_output=True, check=False).returncode:
        pytest.skip("Docker's Compose plugin is not here")
    shop.run("env", "-o", str(tmp_path / ".env"))
    (tmp_path / "compose.yml").write_text("services: {s: {image: x, environment: {GOT: '${PGPASSWORD}'}}}\n")
    argv = (docker, "compose", "--env-file", ".env", "-f", "compose.yml", "config", "--format", "json")
    shown = json.loads(subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True).stdout)
    assert shown["services"]["s"]["environment"]["GOT"].replace("$$", "$") == ODD


def test_the_python_api_gives_it(shop: Embedded) -> None:
    found = provision.Environment(shop.spec, environ=shop.environ)
    works(found.variables())
    more = found.variables({"SHOP_DSN": "asyncpg", "DB_HOST": "host", "PLAIN": ""}, driver="jdbc", superuser=True)
    assert (more["DB_HOST"], more["PGUSER"]) == ("127.0.0.1", "postgres")
    assert more["SHOP_DSN"].startswith("postgresql+asyncpg://postgres:")
    assert more["PLAIN"].startswith("postgresql://postgres:")
    assert more["DATABASE_URL"].startswith("jdbc:postgresql://127.0.0.1:")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variable", "PGHOST=host"), "it is libpq's, and set anyway"),
        (("--variable", "1x=pgx"), "a name has letters, digits and _, and no digit first"),
        (("--variable", "X=psycog"), "no driver 'psycog' is known"),
        (("--driver", "oracle"), "no driver 'oracle' is known"),
        (("--github", "--format", "json"), "--github goes without --format and --output"),
        (("--github",), "GITHUB_ENV is not set"),
        (("--role", "app", "--superuser"), "exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused(words: tuple[str, ...], said: str, shop: Embedded) -> None:
    refused = shop.run("env", *words, code=64, GITHUB_ENV="")
    assert said in refused.err
    assert ODD.partition("\n")[0] not in refused.all
    assert "::add-mask::" not in refused.all  # its argument is the password, in another writing


# --- a file ---


def test_a_file_is_its_owners_alone_and_written_again(shop: Embedded, tmp_path: Path) -> None:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    (tmp_path / ".gitignore").write_text("*\n")
    file = tmp_path / "new" / ".env"
    for _ in range(2):
        assert shop.run("env", "-o", str(file)).err == ""
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name in ("login.json", "login.json"):
        shop.run("env", "-o", str(tmp_path / name))


def test_a_file_of_others_stays(shop: Embedded, tmp_path: Path) -> None:
    file, link = tmp_path / ".env", tmp_path / "link"
    file.write_text("SECRET_KEY=1\n")
    link.symlink_to("elsewhere")
    assert "its lines would be lost" in shop.run("env", "-o", str(file), code=1).err
    assert "is not a regular file" in shop.run("env", "-o", str(link), code=1).err
    assert (file.read_text(), link.is_symlink()) == ("SECRET_KEY=1\n", True)


def test_a_file_that_git_tracks_is_refused(shop: Embedded, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    assert "Git does not ignore" in shop.run("env", "-o", str(file)).err
    subprocess.run(("git", "-C", str(tmp_path), "add", ".env"), check=True)
    before = file.stat().st_mtime_ns
    refused = shop.run("env", "-o", str(file), code=1)
    assert "Git tracks" in refused.err
    assert "git rm --cached" in refused.err
    assert file.stat().st_mtime_ns == before
    (tmp_path / ".gitignore").write_text(".env\n")
    subprocess.run(("git", "-C", str(tmp_path), "rm", "-q", "-f", "--cached", ".env"), check=True)
    assert shop.run("env", "-o", str(file)).err == ""


# --- a pipeline ---


def test_github_gets_masks_first_and_then_the_variables(shop: Embedded, tmp_path: Path) -> None:
    """As the runner does: a line of the log is a command or text, and the file has a block for each variable.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
    """
    file = tmp_path / "github-env"
    file.write_text("BEFORE=1\n")
    log = shop.run("env", "--github", "--variable", "SHOP_DSN=asyncpg", GITHUB_ENV=str(file)).out.splitlines()
    found = dict(re.findall(r"(?ms)^(\w+)<<(?:(\w+))\n(?:.*?)\n\2$", file.read_text()))
    blocks = {name: file.read_text().split(f"<<{end}\n")[1].split(f"\n{end}\n")[0] for name, end in found.items()}
    works(blocks)
    prefix = "::add-mask::"
    hidden = {each.removeprefix(prefix).replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
              for each in log if each.startswith(prefix)}  # fmt: skip
    assert {ODD, *ODD.splitlines(), blocks["SHOP_DSN"]} <= hidden
    shown = "\n".join(each for each in log if not each.startswith(prefix))
    assert "SHOP_DSN" in shown
    assert not [each for each in hidden if each in shown]
    assert log[0].startswith(prefix)


# --- a program ---


def test_a_program_has_it_and_nothing_leads_it_elsewhere(shop: Embedded) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    found = json.loads(shop.run("run", shop.spec.name, "--", *program.PROVISION[:1], "-c", show, spec=False).out)
    works(found)
    assert not {"PGHOSTADDR", "PGSERVICE"} & {*found}
    assert found["PW"] == shop.environ["PW"]


def test_exit_code_signals_and_pipes_are_the_programs_own(shop: Embedded) -> None:
    def run(*words: str) -> program.Ran:
        return shop.run("run", shop.spec.name, "--", *words, spec=False, code=None)

    assert run("sh", "-c", "exit 7").code == 7
    assert run("sh", "-c", "kill -TERM $$").code == -signal.SIGTERM
    assert run("bash", "-c", "yes | head -1; exit ${PIPESTATUS[0]}").code == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "pytest"), 64, "next: provision run -- pytest\n"),
        (("run", "spec.yml"), 64, "next: provision run spec.yml -- pytest\n"),
        (("run", "spec.yml", "-x"), 64, "arguments of the program follow --"),
        (("run", "spec.yml", "--", "no-such-program"), 64, "there is no program 'no-such-program'"),
    ],
)
def test_what_cannot_be_run_is_refused(words: tuple[str, ...], code: int, said: str, shop: Embedded) -> None:
    assert said in shop.run(*words, code=code, spec=False).err


def test_without_a_server_the_command_that_starts_it_is_named(shop: Embedded) -> None:
    shop.run("stop")
    try:
        for words in (("run", "spec.yml", "--", "true"), ("env", "spec.yml")):
            refused = shop.run(*words, code=69, spec=False)
            assert "next: provision start spec.yml\n" in refused.err
    finally:
        shop.run("start")


def test_psql_says_what_takes_a_password_of_two_lines(shop: Embedded) -> None:
    assert "next: provision run spec.yml -- psql" in shop.run("psql", code=1).err
