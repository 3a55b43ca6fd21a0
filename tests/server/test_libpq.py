"""What the caller's shell says to libpq is not for our connections; a password that psql gets leaves no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory
from support.environment import PASSWORD

from provision.model import Endpoint, Secret
from provision.system.libpq import VARIABLES
from provision.system.postgres import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

HOSTILE = {
    "PGHOST": "nothing.invalid",
    "PGHOSTADDR": "127.0.0.99",
    "PGPORT": "1",
    "PGDATABASE": "nowhere",
    "PGUSER": "nobody",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/dev/null",
    "PGSERVICE": "nothing",
    "PGSERVICEFILE": "/nonexistent",
    "PGREQUIREAUTH": "none",
    "PGCHANNELBINDING": "require",
    "PGREQUIREPEER": "nobody",
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nonexistent",
    "PGSSLCERT": "/nonexistent",
    "PGGSSENCMODE": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "nonsense",
    "PGMINPROTOCOLVERSION": "9.9",
}
OF_THE_SESSION = {"PGOPTIONS": "-c nonsense=1", "PGCLIENTENCODING": "EUC_JP", "PGDATESTYLE": "x", "PGTZ": "nowhere"}
NOT_OVERRULED = {"PGSERVICE", "PGSERVICEFILE", "PGDATESTYLE", "PGTZ"}  # no parameter of a connection does that


@pytest.fixture(scope="module")
def running() -> Iterator[Embedded]:
    with an_open_directory() as directory, an_embedded_environment(directory / "project") as made:
        made.migrations("customers").apply(**HOSTILE, **OF_THE_SESSION)
        yield made


def test_the_callers_variables_reach_no_connection(running: Embedded) -> None:
    assert HOSTILE.keys() | OF_THE_SESSION.keys() <= VARIABLES
    everything = {**HOSTILE, **OF_THE_SESSION}
    assert "nothing to do" in running.run("plan", **everything).out
    assert "as the spec says" in running.run("status", **everything).out
    try:
        running.environ["PW"] = "another"
        running.apply(**everything)  # through the local socket
    finally:
        running.environ["PW"] = PASSWORD
        running.apply(**everything)


def test_connections_in_threads_leave_the_callers_variables_where_they_are(
    running: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {name: value for name, value in {**HOSTILE, **OF_THE_SESSION}.items() if name not in NOT_OVERRULED}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    port = int(running.run("url").out.rsplit(":", 1)[1].partition("/")[0])
    at = Endpoint("127.0.0.1", port, "postgres", Secret(PASSWORD), "shop")
    before, seen, over = dict(os.environ), [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(dict(os.environ) == before)

    def ask() -> list[tuple[object, ...]]:
        with closing(connect(at, read_only=True)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, current_database(), current_setting('client_encoding')")
            return cursor.fetchall()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = [each.result() for each in [pool.submit(ask) for _ in range(20)]]
    finally:
        over.set()
        watcher.join()
    assert answers == [[("postgres", "shop", "UTF8")]] * 20
    assert seen
    assert all(seen)


def test_psql_goes_where_the_spec_says_and_keeps_the_callers_session(running: Embedded) -> None:
    ask = ("psql", "spec.yml", "--", "-Atc", "SELECT current_user, current_database(), current_setting('work_mem')")
    said = running.run(*ask, spec=False, **HOSTILE, PGOPTIONS="-c work_mem=7MB").out
    assert said.strip() == "postgres|shop|7MB"
    again = ("psql", "spec.yml", "--", "-At", "-c", r"\connect postgres", "-c", "SELECT current_database()")
    assert running.run(*again, spec=False).out.splitlines()[-1] == "postgres"


def test_a_wrong_password_leads_to_the_same_advice_everywhere(running: Embedded) -> None:
    running.environ["PW"] = "another"
    try:
        for verb in ("psql", "migrate current"):
            refused = running.run(*verb.split(), code=69).err
            assert "refuses the password of 'postgres'" in refused
            assert "next: provision apply spec.yml   (it sets the declared login; the data stays)" in refused
    finally:
        running.environ["PW"] = PASSWORD


def test_a_psql_that_is_killed_leaves_nothing_behind(running: Embedded, tmp_path: Path) -> None:
    argv = (sys.executable, "-m", "provision", "psql", "spec.yml", "--", "-c", "SELECT pg_sleep(600)")
    process = subprocess.Popen(argv, cwd=running.directory, env={**running.environ, "TMPDIR": str(tmp_path)})
    psql = child_of(process.pid)
    given = PASSWORD.encode()
    assert given not in (Path("/proc") / str(psql) / "cmdline").read_bytes()
    seen = (Path("/proc") / str(psql) / "environ").read_bytes().split(b"\0")
    assert [each for each in seen if given in each] == [b"PW=" + given]  # the caller's own
    for pid in (process.pid, psql):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.iterdir()) == []


def child_of(pid: int) -> int:
    """Wait until psql was started by a process, and return its number."""
    deadline = time.monotonic() + 60
    while True:
        text = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text()
        for each in text.split():
            if (Path("/proc") / each / "comm").read_text().strip() == "psql":
                return int(each)
        assert time.monotonic() < deadline, "psql was never started"
        time.sleep(0.02)
