"""A directory that the engine does not see, and data whose files belong to another user than ours."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT
from support.no_engine import unnamed
from support.ordinary_user import USER, as_ordinary_user, only_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment


@pytest.fixture
def unseen(environment: Environment) -> Iterator[Path]:
    """A directory that is there for the program, in a mount namespace of its own, and not for the engine."""
    only_root()
    with tempfile.TemporaryDirectory(prefix="provision-unseen-") as place:
        script = 'mount -t tmpfs tmpfs "$0"; mkdir "$0/project"; cp spec.yml "$0/project"; cd "$0/project"; exec "$@"'
        environment.before = ("unshare", "--mount", "sh", "-ec", script, place)
        yield Path(place) / "project"


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_directory_that_the_engine_does_not_see(environment: Environment, unseen: Path, verb: str) -> None:
    events = environment.engine.record(environment.name)
    told = environment.run(verb, code=1).err
    assert f"does not see the directory {unseen}; nothing was made" in told
    assert "bind source path does not exist" in told
    assert "next: share it with the engine" in told
    assert events.seen() == []
    assert not environment.engine.client.volumes(filters={"name": environment.name})["Volumes"]


def test_an_ordinary_user_removes_data_with_the_engines_help(environment: Environment) -> None:
    """The server's files belong to the server's user, and who may use the engine needs no `sudo`."""
    only_root()
    home = Path(tempfile.mkdtemp(prefix="provision-test-")).resolve()
    environment.directory = home / "project"
    try:
        shutil.copytree(environment.spec.parent, environment.directory)
        for each in (home, environment.directory, environment.directory / "spec.yml"):
            shutil.chown(each, USER, USER)
        group = Path("/var/run/docker.sock").stat().st_gid
        environment.before, environment.environ = as_ordinary_user(home, group), unnamed(environment.environ, home)
        environment.spec = environment.directory / "spec.yml"
        environment.server(data={"path": "./db"}).apply()
        assert (environment.directory / "db").stat().st_uid not in (0, USER)
        environment.run("destroy", "--data", "--yes")
        assert not (environment.directory / "db").exists()
        assert environment.engine.containers(environment.name) == []
    finally:
        shutil.rmtree(home)


def test_what_a_template_says_of_a_mount_is_honoured(environment: Environment) -> None:
    """SELinux labels and propagation reach the engine, also of the files that are rendered."""
    path = environment.directory / "templates" / "docker-compose.yml.j2"
    path.parent.mkdir()
    own = (ROOT / "templates" / path.name).read_text()
    path.write_text(own.replace("create_host_path: false\n", "create_host_path: false\n          selinux: z\n"))
    assert "selinux" in path.read_text()
    environment.declare(templates="./templates").apply()
    modes = {each["Destination"]: each["Mode"] for each in environment.container["Mounts"]}
    assert modes["/etc/postgresql"] == "ro,z"
    environment.settled()
    before = environment.container["Id"]
    path.write_text(path.read_text().replace("selinux: z", "propagation: private"))
    environment.apply()
    assert environment.container["Id"] != before
    seen = {each["Destination"]: each["Propagation"] for each in environment.container["Mounts"]}
    assert seen["/etc/postgresql"] == "private"
    environment.settled()
