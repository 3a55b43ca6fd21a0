"""The database of an engine behind ssh: nothing of it is open to the network, and no tunnel outlives its command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg2
import pytest
from support import program
from support.proxy import remote_engine

from provision.system.waiting import attempts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.environment import Environment
    from support.remote import Remote


_PROGRAM = """
import provision, sys, time
environment = provision.Environment(sys.argv[1])
[environment.verify() for _ in range(3)]
print(environment.url(), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def running(remote: Remote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment that was applied through ssh."""
    with remote.environment(tmp_path_factory.mktemp("remote") / "project") as made:
        yield made.migrations("customers", "orders").keep()
        made.run("tunnel", "--stop")


def tunnels(environment: Environment) -> list[int]:
    """Return the processes of ssh that lead to the server."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            argv = (each / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if Path(argv[0]).name == "ssh" and any(re.fullmatch(rf"127\S+:{environment.port}", word) for word in argv):
            found.append(int(each.name))
    return found


def no_tunnel_is_left(environment: Environment) -> None:
    """Wait until none is left: a tunnel ends a moment after its command."""
    for _ in attempts(10, 0.05):
        if not tunnels(environment):
            return
    assert tunnels(environment) == []


def begun(environment: Environment, *words: str) -> subprocess.Popen[str]:
    """Start a program of the client; its process is the one that is returned."""
    argv, directory = (*environment.before, *words), environment.directory
    return subprocess.Popen(argv, cwd=directory, env=environment.environ, stdout=subprocess.PIPE, text=True)


def line(started: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert started.stdout is not None
    return started.stdout.readline().strip()


def test_nothing_is_open_to_the_network_and_no_tunnel_is_left(running: Environment, remote: Remote) -> None:
    running.settled()
    assert "nothing to do" in running.apply().out
    assert {each["HostIp"] for [each] in running.container["HostConfig"]["PortBindings"].values()} == {"127.0.0.1"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((remote.address, running.port), 5)
    no_tunnel_is_left(running)


def test_a_program_has_the_tunnel_as_long_as_it_runs(running: Environment) -> None:
    script = "echo $DATABASE_URL; exec sleep 60"
    with begun(running, *program.PROVISION, "run", running.spec.name, "--", "sh", "-c", script) as started:
        url = line(started)
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM customers")
            assert cursor.fetchall() == [(0,)]
        assert len(tunnels(running)) == 1
        started.kill()
    no_tunnel_is_left(running)


def test_a_killed_process_leaves_no_tunnel(running: Environment) -> None:
    with begun(running, sys.executable, "-c", _PROGRAM, str(running.spec)) as process:
        psycopg2.connect(line(process)).close()
        assert len(tunnels(running)) == 1
        process.kill()
        no_tunnel_is_left(running)


def test_an_address_for_other_programs(running: Environment) -> None:
    ran = running.run("url", code=69)
    assert (ran.out, running.run("env", code=69).out, running.run("clone", code=69).out) == ("", "", "")
    assert f"next: provision tunnel {running.spec.name}" in ran.err
    assert running.run("status", "--json").json()["endpoint"] is None

    opened = running.run("tunnel", "--json").json()
    assert opened["open"]
    assert tunnels(running) == [opened["process"]]
    assert running.run("tunnel", "--json").json() == opened
    assert running.query("SELECT count(*) FROM orders") == [(0,)]
    assert running.run("status", "--json").json()["endpoint"] == opened["endpoint"]
    assert f"PGPORT={opened['endpoint']['port']}" in running.run("env").out
    running.settled()
    assert tunnels(running) == [opened["process"]]

    assert "tunnel closed" in running.run("tunnel", "--stop").out
    no_tunnel_is_left(running)
    assert "no tunnel was open" in running.run("tunnel", "--stop").out
    assert running.run("tunnel", "--json").json()["endpoint"] == opened["endpoint"]


def test_a_tunnel_that_ended_is_opened_at_another_port_where_that_is_taken(running: Environment) -> None:
    before = running.run("tunnel", "--json").json()
    os.kill(before["process"], signal.SIGKILL)
    no_tunnel_is_left(running)
    with socket.create_server(("127.0.0.1", before["endpoint"]["port"])):
        assert "no tunnel is open" in running.run("url", code=69).err
        after = running.run("tunnel", "--json").json()
    assert after["endpoint"]["port"] != before["endpoint"]["port"]
    assert running.query("SELECT 1") == [(1,)]


@pytest.mark.long
def test_a_port_of_the_users_own_that_is_taken(running: Environment, remote: Remote) -> None:
    """Where ~/.ssh/config forwards a port, and a login of the user has it already, only that one is not there."""
    running.run("tunnel", "--stop")
    config = remote.home / ".ssh" / "config"
    kept = config.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config.write_text(f"{kept}  LocalForward 127.0.0.1:{taken.getsockname()[1]} 127.0.0.1:22\n")
        try:
            running.settled()
            running.run("tunnel")
            assert running.query("SELECT 1") == [(1,)]
        finally:
            config.write_text(kept)
            running.run("tunnel", "--stop")


@pytest.mark.long
def test_a_connection_that_is_shared_is_used_where_it_is_the_only_one(running: Environment, remote: Remote) -> None:
    """As with a second factor: the user logs in once, and ``ControlMaster`` shares that connection."""
    config, keys = remote.home / ".ssh" / "config", remote.root / "home" / "builder" / ".ssh" / "authorized_keys"
    kept, key = config.read_text(), keys.read_text()
    config.write_text(f"{kept}  ControlPath ~/.ssh/%C\n")
    subprocess.run((*remote.before, "ssh", "-MNf", "build-host"), check=True, env=running.environ)
    try:
        keys.write_text("")
        running.settled()
        running.run("tunnel")
        assert running.query("SELECT 1") == [(1,)]
        running.run("tunnel", "--stop")
        argv = (*remote.before, "ssh", "-O", "check", "build-host")
        (master,) = re.findall(r"pid=(\d+)", subprocess.run(argv, capture_output=True, text=True, check=True).stderr)
        assert (
            f"pid={master}," not in subprocess.run(("ss", "-ltnp"), capture_output=True, text=True, check=True).stdout
        )
    finally:
        keys.write_text(key)
        subprocess.run((*remote.before, "ssh", "-O", "exit", "build-host"), check=True, capture_output=True)
        config.write_text(kept)


def test_a_host_that_does_not_let_us_forward(running: Environment, remote: Remote) -> None:
    running.run("tunnel", "--stop")
    keys = remote.root / "home" / "builder" / ".ssh" / "authorized_keys"
    kept = keys.read_text()
    keys.write_text(f"no-port-forwarding {kept}")
    try:
        ran = running.run("plan", code=69)
        assert "does not let ssh forward" in ran.err
        assert "administratively prohibited" in ran.err
    finally:
        keys.write_text(kept)


def test_an_address_behind_tcp_that_is_not_reached_is_refused(running: Environment, remote: Remote) -> None:
    host = remote.client_address
    with remote_engine(host) as url:
        ran = running.run("plan", code=1, DOCKER_HOST=url, PROVISION_INSECURE_TCP="1")
    assert f"127.0.0.1 of {host}" in ran.err
    assert f"write `server.host: {host}`" in ran.err


def test_a_tunnel_ends_with_its_environment(running: Environment) -> None:
    opened = running.run("tunnel", "--json").json()
    assert tunnels(running) == [opened["process"]]
    running.run("destroy", "--data", "--yes")
    left = {each.pid for each in psutil.process_iter() if each.status() != psutil.STATUS_ZOMBIE}
    assert opened["process"] not in left
