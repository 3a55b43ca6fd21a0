"""Any password, written for a shell, fish, python-dotenv and Compose, is read as what it was."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

from provision.commands.env import FORMATS
from provision.errors import UsageError
from provision.export import masks, variables
from provision.model import Endpoint, Secret
from provision.model.drivers import DRIVERS
from provision.model.value import replace
from provision.report.variables import format_of, github_masks, lines

if TYPE_CHECKING:
    from collections.abc import Mapping

PIECES = (*"'\"$\\` #%=\n{}a1:-\t\r?&!;ü€~", "${", "$(", "\\n", "$a", "\\\\", "${X:-y}", "\r\n")
GIVEN = random.Random(20)  # noqa: S311  # the same ones each time
VALUES = {f"V{at}": "".join(GIVEN.choice(PIECES) for _ in range(GIVEN.randint(0, 8))) for at in range(1000)}
"""Each is read in one environment, so that every program is started once."""


def written(form: str, directory: Path, values: Mapping[str, str] = VALUES) -> Path:
    file = directory / "variables"
    file.write_text("\n".join(lines(form, values)) + "\n", newline="")
    return file


def read_by(*argv: str) -> dict[str, str]:
    """Return the variables that a program which was started as such, and then runs `env`, has."""
    done = subprocess.run(
        argv, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "HOME": "/dev/null/none"}
    )
    found = dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if "=" in each)
    return {name: value for name, value in found.items() if name in VALUES}


@pytest.mark.parametrize("program", ["bash", "dash", "fish"])
def test_a_shell_reads_what_was_written(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")
    file = written("fish" if program == "fish" else "shell", tmp_path)
    assert read_by(program, "-c", f". {file}; env -0") == VALUES


def test_python_dotenv_reads_what_was_written(tmp_path: Path) -> None:
    found = dotenv_values(written("dotenv", tmp_path))
    assert {name: value for name, value in found.items() if name in VALUES} == VALUES


@pytest.mark.parametrize("how", ["--env-file", "env_file"])
def test_compose_reads_what_was_written(how: str, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run((docker, "compose", "version"), capture_output=True, check=False).returncode:
        pytest.skip("Docker's Compose plugin is not here")
    file = written("dotenv", tmp_path)
    is_option = how == "--env-file"
    more = {"environment": {name: f"${{{name}}}" for name in VALUES}} if is_option else {"env_file": str(file)}
    (tmp_path / "compose.yml").write_text(json.dumps({"services": {"s": {"image": "x", **more}}}))
    option = ("--env-file", str(file)) if is_option else ()
    argv = (docker, "compose", *option, "-f", str(tmp_path / "compose.yml"), "config", "--format", "json")
    shown = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["services"]["s"]["environment"]
    assert {name: shown[name].replace("$$", "$") for name in VALUES} == VALUES


def test_what_needs_no_quotes_has_none() -> None:
    assert lines("dotenv", {"PGPORT": "5432", "PGHOST": "db.example.com"}) == ["PGPORT=5432", "PGHOST=db.example.com"]
    assert lines("direnv", {"PGUSER": "app"}, [Path("/a b")]) == ["watch_file '/a b'", "export PGUSER=app"]


@pytest.mark.parametrize(
    ("name", "form"),
    [(".env", "dotenv"), (".env.test", "dotenv"), ("dev.env", "dotenv"), (".envrc", "direnv"), ("x.fish", "fish"),
     ("login.json", "json"), ("login.sh", "shell"), ("environment", "shell")],
)  # fmt: skip
def test_the_name_of_a_file_says_its_format(name: str, form: str) -> None:
    assert format_of(name) == form
    assert form in FORMATS


def at(password: str, **more: str) -> Endpoint:
    return Endpoint("127.0.0.1", 5432, "app", Secret(password), "shop", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("driver", "url"),
    [
        (None, "postgresql://app:a%2Fb%20%25@127.0.0.1:5432/shop?sslmode=require"),
        ("psycopg", "postgresql+psycopg://app:a%2Fb%20%25@127.0.0.1:5432/shop?sslmode=require"),
        ("asyncpg", "postgresql+asyncpg://app:a%2Fb%20%25@127.0.0.1:5432/shop?ssl=require"),
        ("pgx", "postgresql://app:a%2Fb%20%25@127.0.0.1:5432/shop?sslmode=require"),
        ("jdbc", "jdbc:postgresql://127.0.0.1:5432/shop?user=app&password=a%2Fb%20%25&sslmode=require"),
    ],
)
def test_each_driver_has_its_url(driver: str | None, url: str) -> None:
    assert at("a/b %", sslmode="require").url(driver=driver) == url


CONNECTION = (("sslcert", "/a/c.crt"), ("sslkey", "/a/c.key"), ("options", "-c a=b"), ("keepalives_idle", "30"))


@pytest.mark.parametrize(
    ("driver", "query"),
    [
        (None, "sslmode=require&sslcert=/a/c.crt&sslkey=/a/c.key&options=-c%20a%3Db&keepalives_idle=30"),
        ("psycopg2", "sslmode=require&sslcert=/a/c.crt&sslkey=/a/c.key&options=-c%20a%3Db&keepalives_idle=30"),
        ("pgx", "sslmode=require&sslcert=/a/c.crt&sslkey=/a/c.key"),
        ("asyncpg", "ssl=require"),
    ],
)
def test_a_url_says_of_the_connection_what_its_driver_reads(driver: str | None, query: str) -> None:
    found = replace(at("", sslmode="require"), connection=CONNECTION)
    assert found.url(driver=driver).partition("?")[2] == query
    assert "://app@127.0.0.1" in found.url(driver=driver)
    assert masks(variables(found, {}, None)) == ()


def test_a_driver_whose_url_cannot_say_tls_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot say how TLS is used"):
        at("x", sslmode="require").url(driver="pg8000")
    assert at("x").url(driver="pg8000") == "postgresql+pg8000://app:x@127.0.0.1:5432/shop"


def test_an_unknown_driver_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError) as raised:
        at("x").url(driver="psycog2")
    assert raised.value.next_step == "--driver psycopg2"
    assert all(driver in " ".join(raised.value.evidence) for driver in DRIVERS)


def test_every_form_and_line_of_a_password_is_masked() -> None:
    given = {"DATABASE_URL": "postgresql://u:a%25%0A%20b@h:5432/d", "PGPASSWORD": "a%\n b", "PGUSER": "u"}
    hidden = masks(given)
    assert {"a%\n b", "a%", " b", "a%25%0A%20b", given["DATABASE_URL"]} == {*hidden}
    assert "::add-mask::a%25%0A b" in github_masks(hidden)
