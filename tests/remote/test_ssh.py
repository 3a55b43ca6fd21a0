"""An environment whose engine is on another host: the client has `ssh`, and neither Docker nor its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.checkout import ROOT
from support.environment import Environment
from support.remote import ALIAS, USER, need_root, remote_host

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from support.remote import Remote


def test_a_working_day(there: Environment) -> None:
    there.migrations("userdata").server(max_connections=100).apply()
    assert [each["Type"] for each in there.container["Mounts"]] == ["volume"]
    events, container = there.engine.record(there.name), there.container["Id"]
    ran = there.apply()
    assert ": nothing to do (17." in ran.out
    assert f"of {ALIAS}, revision r1)" in ran.out
    assert events.seen() == []
    there.server(settings={"work_mem": "6MB"}, max_connections=50).apply()
    assert there.container["Id"] == container
    shown = there.engine.run(there.name, "psql", "-U", "postgres", "-Atc", "SHOW work_mem", user="postgres")
    assert shown.strip() == "6MB"
    assert "ready to accept connections" in there.run("logs").out
    there.run("destroy", "--data", "--yes")
    assert there.engine.containers(there.name) == []


@pytest.mark.parametrize(
    ("config", "said", "step"),
    [
        ("UserKnownHostsFile /dev/null", "Host key verification failed", f"ssh {ALIAS} true"),
        ("User root", "Permission denied (publickey)", f"ssh {ALIAS} true"),
        ("Port 23", "Connection refused", f"ssh {ALIAS} true"),
        ("ProxyCommand false", "Connection closed", f"ssh {ALIAS} true"),
    ],
)
def test_what_ssh_says_is_shown(remote: Remote, there: Environment, config: str, said: str, step: str) -> None:
    with remote.configured(config):
        ran = there.run("plan", code=69)
    assert f"error: ssh cannot log in at {ALIAS} (from DOCKER_HOST)" in ran.err
    assert said in ran.err
    assert f"next: {step}" in ran.err


def test_what_fails_there_is_explained(remote: Remote, there: Environment) -> None:
    ran = there.run("plan", code=69, DOCKER_HOST=f"ssh://{ALIAS}/run/nothing.sock")
    assert f"error: no engine answers at {ALIAS}/run/nothing.sock" in ran.err
    assert f"next: ssh {ALIAS} docker version" in ran.err
    remote.run("chgrp", "root", "/run/docker.sock")
    try:
        ran = there.run("plan", code=69)
    finally:
        remote.run("chgrp", USER, "/run/docker.sock")
    assert f"who logs in at {ALIAS} (from DOCKER_HOST) may not use the engine there" in ran.err
    rc = remote.root / "home" / USER / ".bashrc"
    rc.write_text("PATH=/nothing\n")
    try:
        ran = there.run("plan", code=69)
    finally:
        rc.unlink()
    assert f"there is no program `docker` for logins by ssh at {ALIAS}" in ran.err


@pytest.mark.long
def test_a_jump_host_and_a_shared_connection(remote: Remote, there: Environment) -> None:
    """What ``~/.ssh/config`` says holds, and so does what the spec says in place of DOCKER_HOST."""
    lines = ("Host behind", f"  ProxyJump {ALIAS}", "  HostName 127.0.0.1", f"  User {USER}",
             f"  IdentityFile {remote.home}/.ssh/id_ed25519", f"  HostKeyAlias {remote.address}")  # fmt: skip
    shared = ("ControlMaster auto", f"ControlPath {remote.home}/.ssh/%r", "ControlPersist 5")
    path = remote.home / ".ssh" / "config"
    usual = path.read_text()
    path.write_text("\n".join((usual, *lines, "Host *", *shared, "")))
    try:
        there.server(engine="ssh://behind").apply(DOCKER_HOST="unix:///nothing")
        assert "docker, the engine at ssh://behind (`server.engine` in the spec)" in there.run("status").out
        there.settled()
    finally:
        path.write_text(usual)


@pytest.mark.long
def test_an_environment_stays_where_it_was_made(there: Environment) -> None:
    there.apply()
    del there.environ["DOCKER_HOST"]
    there.settled()
    assert "the engine at ssh://build-host (where the environment was made)" in there.run("status").out


@pytest.mark.long
def test_what_another_machine_made_there_is_not_said_to_be_gone(there: Environment, tmp_path: Path) -> None:
    there.apply()
    other = Environment(there.engine, tmp_path / "other", there.name)
    other.environ |= {key: there.environ[key] for key in ("HOME", "DOCKER_HOST")}
    (tmp_path / "id").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "empty").mkdir()
    elsewhere = (
        f'mount --bind {tmp_path}/id /etc/machine-id; mount --bind {tmp_path}/empty {there.directory}; exec "$@"'
    )
    other.before = (*there.before, "sh", "-ec", elsewhere, "sh")
    ran = other.run("plan", code=1)
    assert f"belongs to the environment {there.name!r} of {there.directory}" in ran.err
    assert "gone" not in ran.err
    assert "--adopt" not in ran.err
    assert "PROVISION_NAME" in ran.err


@pytest.mark.long
def test_a_spec_at_the_same_place_of_another_machine_has_nothing_here(there: Environment, tmp_path: Path) -> None:
    there.apply()
    (tmp_path / "id").write_text("0123456789abcdef0123456789abcdef\n")
    there.home.rename(tmp_path / "kept")
    there.before = (*there.before, "sh", "-ec", f'mount --bind {tmp_path}/id /etc/machine-id; exec "$@"', "sh")
    for verb in (("plan",), ("apply",), ("destroy", "--data", "--yes"), ("stop",)):
        ran = there.run(*verb, code=1)
        assert f"belongs to the environment {there.name!r} of {there.directory} on " in ran.err
    assert "provision apply --adopt spec.yml" in ran.err
    there.run("apply", "--adopt")
    there.settled()


@pytest.mark.long
def test_a_port_that_is_taken_there_is_found_while_planning(remote: Remote, there: Environment) -> None:
    argv = (*remote.on_its_network, sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "23471")
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as taker:
        try:
            assert any(":23471" in remote.run("ss", "-Hltn") for _ in attempts(30, 0.1))
            ran = there.server(port=23471).run("plan", code=1)
        finally:
            taker.terminate()
    assert "the port 23471 of 127.0.0.1 is taken by another process of build-host" in ran.err
    assert "another port of the engine's host" in ran.err


@pytest.mark.long
def test_a_directory_of_the_engines_host(remote: Remote, there: Environment, tmp_path: Path) -> None:
    place = f"/home/{there.name}/deep/data"
    there.server(data={"path": place}).apply()
    assert remote.run("stat", "-c", "%a", place).strip() == "700"
    assert not Path(place).exists()
    there.settled()
    there.run("destroy", "--yes")
    assert "database/shop" not in there.apply().out  # it has the data again
    remote.run("mv", place, f"{place}-of-before")
    remote.run("cp", "-a", f"{place}-of-before", place)
    ran = there.run("destroy", "--data", "--yes", code=1)
    assert "another directory is in its place: nothing was removed" in ran.err
    remote.run("rm", "-r", place)
    remote.run("mv", f"{place}-of-before", place)
    assert f"directory {place}" in there.run("destroy", "--data", code=64).err
    there.run("destroy", "--data", "--yes")
    assert remote.run("ls", "-A", f"/home/{there.name}/deep") == ""
    foreign = f"/home/{there.name}/foreign"
    remote.run("mkdir", foreign)
    remote.run("touch", f"{foreign}/theirs")
    with remote.environment(tmp_path / "other") as other:
        ran = other.server(data={"path": foreign}).run("apply", code=1)
        assert f"the directory {foreign} holds other files (theirs)" in ran.err
        assert other.engine.containers(other.name) == []
        ran = other.run("destroy", "--data", "--yes", code=1)
        assert "no server of this environment uses it" in ran.err
        assert "rm -rf" not in ran.err


@pytest.mark.long
def test_a_socket_that_ssh_forwards_is_another_host(remote: Remote, there: Environment, tmp_path: Path) -> None:
    socket = tmp_path / "far.sock"
    there.server(port=23472)
    forwards = ("-L", f"{socket}:/run/docker.sock", "-L", "127.0.0.1:23472:127.0.0.1:23472")
    with subprocess.Popen((*remote.before, "ssh", "-N", *forwards, ALIAS), env=there.environ) as ssh:
        try:
            assert any(socket.exists() for _ in attempts(30, 0.1))
            there.environ["DOCKER_HOST"] = f"unix://{socket}"
            there.apply()
            assert [each["Type"] for each in there.container["Mounts"]] == ["volume"]
            there.settled()
        finally:
            ssh.terminate()


@pytest.mark.long
def test_a_socket_is_forwarded_and_its_ports_are_not(remote: Remote, there: Environment, tmp_path: Path) -> None:
    socket = tmp_path / "far.sock"
    there.server(ready_timeout="30s")
    with subprocess.Popen(
        (*remote.before, "ssh", "-N", "-L", f"{socket}:/run/docker.sock", ALIAS), env=there.environ
    ) as ssh:
        try:
            assert any(socket.exists() for _ in attempts(30, 0.1))
            there.environ["DOCKER_HOST"] = f"unix://{socket}"
            ran = there.run("apply", code=1)
            assert "ssh forwards the engine's socket from another host, and not the port" in ran.err
            assert "name the engine itself: DOCKER_HOST=ssh://" in ran.err
        finally:
            ssh.terminate()


@pytest.mark.long
def test_what_is_mounted_and_not_there_is_refused_while_planning(there: Environment) -> None:
    shipped = (ROOT / "templates" / "docker-compose.yml.j2").read_text()
    (there.directory / "mine").mkdir()
    mounts = shipped.replace("    volumes:\n", "    volumes:\n      - ./certificates:/certificates:ro\n", 1)
    (there.directory / "mine" / "docker-compose.yml.j2").write_text(mounts)
    ran = there.declare(templates="./mine").run("plan", code=1)
    assert "certificates is mounted, and is not on the host of the engine at ssh://build-host" in ran.err


@pytest.mark.long
def test_upgrade(tmp_path: Path) -> None:
    need_root()
    with remote_host("postgres:16", "postgres:17") as host, host.environment(tmp_path / "project") as made:
        made.server(image="postgres:16").migrations("userdata").apply()
        made.server(image="postgres:17").run("upgrade", "--yes")
        assert ": nothing to do (17." in made.apply().out
        made.run("upgrade", "--finish", "--yes")
        made.engine.client.close()


@pytest.mark.long
def test_a_golden(there: Environment, tmp_path: Path) -> None:
    there.environ |= {"PROVISION_GOLDEN": "auto", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    there.migrations("userdata").run("apply", "--golden")
    there.run("destroy", "--data", "--yes")
    assert "golden" in there.apply().all
    there.settled()
