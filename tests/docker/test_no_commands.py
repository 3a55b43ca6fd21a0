"""A spec of a stranger, whose every key tries to run or reach something, under ``--no-commands``: seen by strace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from provision.system.engine_address import locate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment

ROOT = Path(__file__).parents[2]
VARIABLE = "a-value-that-stays-here"
_TRAPS = """
{# what a template could reach for; the sandbox has none of it #}
{% if cycler.__init__ is defined or server.data.path.write_text is defined %}{{ 1 / 0 }}{% endif %}
"""
_CALLS = "trace=execve,execveat,connect,sendto,sendmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink"
SPECS: dict[str, dict[str, Any]] = {
    "docker": {
        "templates": "templates",
        "server": {"runtime": "docker", "port": 28931, "data": {"path": "data"}},
    },
    "embedded": {
        "templates": "templates",
        "server": {"runtime": "embedded", "port": 28932, "bin_dir": "bin", "host": "attacker.example"},
    },
    "external": {"server": {"runtime": "external", "port": 28933, "host": "attacker.example"}},
}
UNKNOWN = {
    "docker": ["? the password: ", "? the revisions of migrations/first: ", "? the revisions of migrations/second: "],
    "embedded": ["? the password: ", "? the version of the programs in `server.bin_dir`: ", "? whether the port 28932"],
    "external": ["? the password: ", "provision did not log in", "? the revisions of migrations/first: "],
}


def stranger(directory: Path, name: str) -> Path:
    """Write a spec and what it names; whatever of it runs leaves a file that is named MADE."""
    trap = f"#!/bin/sh\ntouch '{directory}/MADE'\necho 17\n"
    for program in ("bin/postgres", "bin/initdb", "python", "password"):
        path = directory / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(trap)
        path.chmod(0o755)
    versions = directory / "migrations" / "versions"
    versions.mkdir(parents=True)
    made = f"open({str(directory / 'MADE')!r}, 'w')\n"
    (versions.parent / "env.py").write_text(made)
    (versions / "one.py").write_text(f"{made}revision = 'a' + str(1)\ndown_revision = None\n")
    (directory / "templates").mkdir()
    shipped = (ROOT / "templates" / "docker-compose.yml.j2").read_text()
    (directory / "templates" / "docker-compose.yml.j2").write_text(_TRAPS + shipped)
    conf = (ROOT / "templates" / "postgresql.conf.j2").read_text()
    (directory / "templates" / "postgresql.conf.j2").write_text(
        _TRAPS.replace("server.data.path", "server.bin_dir") + conf
    )
    document = {"name": "stranger", **SPECS[name]}
    document["server"] = {
        "image": "postgres:17",
        "database": "${STRANGE}",
        "credentials": {"user": "me", "password": {"command": ["./password", "${STRANGE}"]}},
        **document["server"],
    }
    command = {"command": ["./python"], "env": {"A": "${STRANGE} {url}"}}
    document["migrations"] = [
        {"name": "first", "script_location": "migrations", "python": "python"},
        {"name": "second", "script_location": "nowhere.package:migrations", **command},
    ]
    spec = directory / "spec.yml"
    spec.write_text(yaml.safe_dump(document, sort_keys=False))
    return spec


def traced(directory: Path, *words: str, **environ: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the program under strace; return what it printed and the calls that matter."""
    log = directory.parent / f"{directory.name}.strace"
    done = subprocess.run(
        ("strace", "-f", "-qq", "-s", "4096", "-e", _CALLS, "-o", str(log), sys.executable, "-m", "provision", *words),
        cwd=directory,
        env={
            **{key: text for key, text in os.environ.items() if not key.startswith("PG")},
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_STATE_HOME": str(directory.parent / "state"),
            "STRANGE": VARIABLE,
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text().splitlines()


def forbidden(calls: list[str], engine: str) -> list[str]:
    """Return the calls that start a program, connect elsewhere than to the engine, or write a file."""
    found = [line for line in calls if "execve" in line][1:]  # the first one is the program itself
    # The system's own look-up of users asks its cache first.
    known = (f'sun_path="{engine}"', 'sun_path="/var/run/nscd/socket"')
    found += [line for line in calls if "connect(" in line and not any(each in line for each in known)]
    found += [line for line in calls if "connect(" not in line and "sin" in line and "AF_INET" in line]
    writes = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|creat\(|mkdir|rename|unlink")
    return [*found, *[line for line in calls if writes.search(line) and "/dev/" not in line and "execve" not in line]]


def tree(directory: Path) -> list[str]:
    return sorted(str(each.relative_to(directory)) for each in directory.rglob("*"))


@pytest.fixture
def project() -> Iterator[Path]:
    """A directory that every system user may enter: as root, an embedded server runs as another one."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        (Path(made) / "project").mkdir()
        yield Path(made) / "project"


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (Debian: apt install strace)")


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.usefixtures("engine")
def test_a_stranger_s_spec_is_planned_and_nothing_of_it_runs(project: Path, name: str) -> None:
    spec = stranger(project, name)
    before = tree(project)
    done, calls = traced(project, "plan", "--json", "--no-commands", spec.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert forbidden(calls, str(locate(os.environ).socket_path)) == []
    assert tree(project) == before
    unknown = json.loads(done.stdout)["unknown"]
    for words in UNKNOWN[name]:
        assert any(words in each for each in unknown), (words, unknown)
    sent = [line for line in calls if re.search(r"send(to|msg)\(", line) and VARIABLE in line]
    assert sent == []


@pytest.mark.parametrize(
    "words", [("validate",), ("doctor",), ("status", "--json"), ("verify", "--json"), ("render", "--stdout")]
)
@pytest.mark.usefixtures("engine")
def test_so_do_the_other_verbs_that_only_look(project: Path, words: tuple[str, ...]) -> None:
    spec = stranger(project, "docker")
    before = tree(project)
    done, calls = traced(project, *words, spec.name, PROVISION_NO_COMMANDS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert forbidden(calls, str(locate(os.environ).socket_path)) == []
    assert tree(project) == before
    assert ("the password: it was not read" in done.stdout) == (words != ("validate",))


@pytest.mark.usefixtures("engine")
def test_a_link_among_the_rendered_files_is_not_followed(project: Path) -> None:
    spec = stranger(project, "docker")
    home = project / ".provision" / "stranger"
    home.mkdir(parents=True)
    (project.parent / "private").write_text("a private key\n")
    for name in ("docker-compose.yml", "engine", "cache"):
        (home / name).symlink_to(project.parent / "private")
    done, _ = traced(project, "plan", "--diff", "-v", "--no-commands", spec.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a private key" not in done.stdout + done.stderr


def test_a_server_that_runs_is_not_logged_in_to(environment: Environment) -> None:
    environment.migrations("one").apply()
    shown = environment.run("plan", "--no-commands").out
    assert "? login/postgres, server/" in shown or "provision did not log in" in shown
    status = environment.run("status", "--json", "--no-commands").json()
    assert (status["server"], status["version"], status["revisions"]) == ("running", "?", {"alembic": ["?"]})
    verified = environment.run("verify", "--json", "--no-commands", "--detailed-exitcode", code=2).json()
    assert (verified["clean"], verified["differences"]) == (False, [])
    assert {"migrations/alembic", f"database/{environment.document['server'].get('database', 'postgres')}"} <= set(
        verified["unseen"]
    )
    assert environment.run("plan", "--sql", "--no-commands", code=64).err
    assert "`provision apply` runs what the spec names" in environment.run("apply", "--no-commands", code=64).err
    refused = environment.run("apply", code=64, PROVISION_NO_COMMANDS="1")
    assert "`provision apply` runs what the spec names, and PROVISION_NO_COMMANDS forbids that" in refused.err
    assert "nothing to do" in environment.run("apply").out
