"""A server that went away is said to be gone: no revision, setting or URL is blamed for it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from provision.runtimes import server_log
from provision.runtimes.docker.watch import ContainerWatch
from provision.runtimes.embedded.inspection import ProcessWatch
from provision.system.driver_errors import is_lost, is_refused

LOST = [
    ("57P01", "terminating connection due to administrator command"),
    ("57P02", "terminating connection because of crash of another server process"),
    ("57P03", "the database system is in recovery mode"),
    ("08006", "connection failure"),
    ("08003", "connection does not exist"),
    # psycopg2
    (None, "server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally"),
    (None, "terminating connection because of crash of another server process"),
    (None, "connection already closed"),
    (None, "SSL SYSCALL error: EOF detected"),
    (None, "could not receive data from server: Connection reset by peer"),
    # psycopg
    (None, "consuming input failed: server closed the connection unexpectedly"),
    (None, "the connection is closed"),
    (None, "the connection is lost"),
    (None, "connection failed: FATAL:  the database system is in recovery mode"),
    # asyncpg
    (None, "connection was closed in the middle of operation"),
    (None, "cannot perform operation: connection is closed"),
    (None, "[Errno 104] Connection reset by peer"),
    (None, "[Errno 32] Broken pipe"),
    # pg8000
    (None, "network error on read"),
]
NOT_LOST = [
    ("42P01", 'relation "a" does not exist'),
    ("25P03", "terminating connection due to idle-in-transaction timeout"),
    ("57014", "canceling statement due to statement timeout"),
    ("55P03", "canceling statement due to lock timeout"),
    (None, "name 'sa' is not defined"),
    (None, "Connection refused"),
]


@pytest.mark.parametrize(("sqlstate", "message"), LOST)
def test_the_words_of_a_connection_that_was_lost(sqlstate: str | None, message: str) -> None:
    assert is_lost(sqlstate, message)


@pytest.mark.parametrize(("sqlstate", "message"), NOT_LOST)
def test_the_words_of_a_statement_that_failed(sqlstate: str | None, message: str) -> None:
    assert not is_lost(sqlstate, message)


def test_the_words_of_an_address_where_nothing_listens() -> None:
    assert is_refused("[Errno 111] Connect call failed ('127.0.0.1', 5432)")
    assert not is_refused("password authentication failed")


def state(**more: Any) -> dict[str, Any]:
    return {
        "State": {"Status": "exited", "Running": False, "Restarting": False, "ExitCode": 1, "OOMKilled": False,
                  "Error": "", **more},
        "RestartCount": 0,
        "Config": {"Image": "postgres:17"}, "HostConfig": {}, "NetworkSettings": {}, "Mounts": [],
    }  # fmt: skip


class Look:
    def __init__(self, seen: dict[str, Any], lines: list[str]) -> None:
        self._seen, self._lines = seen, lines
        self.reader = self

    def engine(self, _path: str) -> dict[str, Any]:
        return self._seen

    def logs(self, _name: str, _count: int) -> list[str]:
        return self._lines


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"OOMKilled": True, "ExitCode": 137}, "was killed for lack of memory while it should become ready"),
        ({"OOMKilled": True}, "was killed for lack of memory"),
        (
            {"ExitCode": 137},
            "was killed (exit code 137): by the kernel for lack of memory, or by a SIGKILL from outside",
        ),
    ],
)
def test_a_container_that_was_killed_is_not_its_settings_fault(more: dict[str, Any], words: str) -> None:
    look: Any = Look(state(**more), ["FATAL: something that was said before"])
    found = ContainerWatch(look, "x")()
    assert found is not None
    assert words in found.sentence
    assert found.next_step == server_log.MORE_MEMORY


def test_a_container_that_ended_by_itself_points_at_its_log() -> None:
    look: Any = Look(state(), ["FATAL: could not map anonymous shared memory"])
    found = ContainerWatch(look, "x")()
    assert found is not None
    assert "ended with exit code 1" in found.sentence
    assert not found.next_step


def test_an_embedded_server_that_was_killed_is_not_its_settings_fault() -> None:
    machine: Any = SimpleNamespace(
        postmaster=lambda _data: None, exit_code=lambda _pid: -9, last_lines=lambda _log, _count: ["FATAL: x"]
    )
    watch = ProcessWatch(machine, SimpleNamespace(data=None, log=None))  # type: ignore[arg-type]
    watch._pid = 1
    found = watch()
    assert found is not None
    assert "was killed (signal 9)" in found.sentence
    assert found.next_step == server_log.MORE_MEMORY


@pytest.mark.parametrize(
    ("seen", "lines", "words", "next_step"),
    [
        (None, [], "is gone", "provision apply"),
        (state(OOMKilled=True), [], "killed for lack of memory", server_log.MORE_MEMORY),
        (state(ExitCode=137), [], "was killed (exit code 137)", server_log.MORE_MEMORY),
        (state(ExitCode=3), [], "is exited, with exit code 3", None),
        (
            state(Running=True, Status="running", ExitCode=0),
            ["LOG:  server process (PID 60) was terminated by signal 9: Killed", "LOG:  other"],
            "was terminated by signal 9",
            server_log.MORE_MEMORY,
        ),
        ({**state(Running=True, Status="running", ExitCode=0), "RestartCount": 2}, [], "started it again", None),
    ],
)
def test_what_became_of_a_container(seen: Any, lines: list[str], words: str, next_step: str | None) -> None:
    found = server_log.end_of_container("x", seen, lines, 0.0)
    assert words in "\n".join(found.evidence)
    assert found.next_step == (next_step or found.next_step)
    assert "correct" not in found.next_step


@pytest.mark.parametrize(
    ("moment", "is_old"), [("2026-11-29 14:01:08.123 UTC", True), ("2026-11-29 14:01:29.123 UTC", False), ("", False)]
)
def test_what_was_logged_before_the_run_is_no_evidence(moment: str, is_old: bool) -> None:  # noqa: FBT001
    began = datetime(2026, 11, 29, 14, 1, 20, tzinfo=UTC).timestamp()
    line = f"{moment} [1] LOG:  server process (PID 60) was terminated by signal 9: Killed"
    assert (server_log.end_of_server([line], began).evidence == ()) is is_old
