"""README's first spec, from the first apply to the last command, with an engine that only ssh reaches."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support import program
from support.checkout import ROOT
from support.remote import need_root, remote_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.environment import Environment
    from support.remote import Remote

FIRST = (ROOT / "specs" / "dev.yml").read_text()


@pytest.fixture
def host() -> Iterator[Remote]:
    """A host of this test, whose engine has the two images of an upgrade."""
    need_root()
    with remote_host("postgres:16", "postgres:17") as made:
        yield made
        made.engine.client.close()


def write(environment: Environment, *changes: tuple[str, str]) -> None:
    """Write README's first spec, with another name and these changes."""
    text = FIRST
    for old, new in (("shop-dev", environment.name), *changes):
        assert old in text
        text = text.replace(old, new)
    environment.spec.write_text(text)


def killed_while(environment: Environment, seen: str) -> None:
    """Kill an apply once it has said something."""
    argv = (*environment.before, *program.PROVISION, "apply", environment.spec.name)
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(argv, cwd=environment.directory, env=environment.environ, **pipes) as started:
        assert started.stdout is not None
        assert any(seen in line for line in started.stdout)
        started.send_signal(signal.SIGKILL)


@pytest.mark.long
def test_the_first_steps_of_readme(host: Remote, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    with host.environment(tmp_path / "specs") as made:
        first_applies(made)
        programs_reach_it(made)
        its_data_is_kept(made)
        the_engine_is_named_elsewhere(made, host)
        the_next_major_version(made)
        made.run("destroy", "--data", "--yes")
        assert made.engine.containers(made.name) == []
        assert made.engine.client.volumes(filters={"name": made.name})["Volumes"] in (None, [])
        assert {each.name for each in made.home.iterdir()} == {".gitignore", "backups"}
        assert "no tunnel was open" in made.run("tunnel", "--stop").out
        assert made.name not in made.run("list", spec=False).out


def first_applies(made: Environment) -> None:
    old = ("postgres:17", "postgres:16")
    write(made, old)
    killed_while(made, "create volume/")
    killed_while(made, "start server/")
    ran = made.apply()
    assert "provision tunnel spec.yml" in ran.out  # and not `url`, which needs one
    assert "provision url" not in ran.out
    assert ": nothing to do (16." in made.apply().out
    write(made, old, ("max_connections: 100", "max_connections: 200"))
    assert "max_connections: 100 → 200" in made.run("plan").out
    made.apply()
    made.settled()
    made.run("verify")


def programs_reach_it(made: Environment) -> None:
    psql = made.run("psql", made.spec.name, "--", "-Atc", "SHOW max_connections", spec=False)
    assert psql.out.strip() == "200"
    assert made.run("url", code=69).out == ""
    assert "tunnel open" in made.run("tunnel").out
    made.query("INSERT INTO userdata (name, display_name) VALUES ('ada', 'Ada')")
    assert f"DATABASE_URL={made.url}" in made.run("env").out
    shown = made.run("run", made.spec.name, "--", "sh", "-c", "echo $DATABASE_URL", spec=False).out.strip()
    assert shown == made.url
    with closing(psycopg2.connect(made.run("clone").out.strip())) as clone, clone.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM userdata")
        assert cursor.fetchall() == [(0,)]
    assert "ready to accept connections" in made.run("logs").out
    assert "the models match the database" in made.run("migrate", "check").out
    assert "0006 (head)" in made.run("migrate", "current").out
    assert f"{made.name} " in made.run("list", spec=False).out


def its_data_is_kept(made: Environment) -> None:
    made.run("snapshot", "save", "one")
    made.run("backup", "make")
    (file,) = (made.home / "backups").glob("*.dump")
    for verb, what in (("snapshot", "one"), ("backup", file.name)):
        made.query("DELETE FROM userdata")
        made.run(verb, "restore", "--yes", made.spec.name, what, spec=False)
        assert made.query("SELECT display_name FROM userdata") == [("Ada",)]


def the_engine_is_named_elsewhere(made: Environment, host: Remote) -> None:
    """In the spec, by a context of ``docker``, and not at all."""
    named = made.environ.pop("DOCKER_HOST")
    text = made.spec.read_text()
    about = host.home / ".docker" / "contexts" / "meta" / sha256(b"far").hexdigest() / "meta.json"
    about.parent.mkdir(parents=True)
    about.write_text(json.dumps({"Name": "far", "Endpoints": {"docker": {"Host": named}}}))
    for engine in (f"{named}:22", "context:far"):
        made.spec.write_text(text.replace("server:", f"server:\n  engine: {engine}", 1))
        made.settled()
    made.spec.write_text(text)
    made.settled()
    made.environ["DOCKER_CONTEXT"] = "far"
    made.settled()
    del made.environ["DOCKER_CONTEXT"]
    ran = made.run("plan", code=69, DOCKER_HOST="ssh://nowhere.invalid")
    assert f"was made with the engine at {named}, and stays there" in ran.err
    made.environ["DOCKER_HOST"] = named


def the_next_major_version(made: Environment) -> None:
    write(made)
    assert "next: provision upgrade" in made.run("apply", code=1).err
    made.run("upgrade", "--yes")
    made.run("upgrade", "--finish", "--yes")
    made.apply()  # max_connections is README's again
    assert ": nothing to do (17." in made.apply().out
    assert made.query("SELECT display_name FROM userdata") == [("Ada",)]
    assert made.setting("max_connections") == "100"
