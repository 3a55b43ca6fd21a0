"""What the caller's shell says to libpq is not for our connections; a password that psql gets leaves no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.embedded import Embedded, an_embedded_environment, an_open_directory
from support.environment import PASSWORD

from provision.system.libpq import VARIABLES, shielded

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


def test_the_variables_stay_away_until_the_last_of_two_threads_has_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.99")
    one, other = shielded(), shielded()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert "PGHOSTADDR" not in os.environ
    other.__exit__(None, None, None)
    assert os.environ["PGHOSTADDR"] == "127.0.0.99"


def test_psql_goes_where_the_spec_says_and_keeps_the_callers_session(running: Embedded) -> None:
    ask = ("psql", "spec.yml", "--", "-Atc", "SELECT current_user, current_database(), current_setting('work_mem')")
    said = running.run(*ask, spec=False, **HOSTILE, PGOPTIONS="-c work_mem=7MB").out
    assert said.strip() == "postgres|shop|7MB"
    again = ("psql", "spec.yml", "--", "-At", "-c", r"\connect postgres", "-c", "SELECT current_database()")
    assert running.run(*again, spec=False).out.splitlines()[-1] == "postgres"


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
