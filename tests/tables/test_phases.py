"""What is said while a server starts: a phase, and the last line of the server's log."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from provision.errors import StepFailedError, UnavailableError
from provision.model import Endpoint, Secret
from provision.runtimes import server_log
from provision.system import readiness

INIT = "initialising the data directory"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", ""),
        ("fixing permissions on existing directory /var/lib/postgresql/data ... ok", INIT),
        ("running bootstrap script ... ok", INIT),
        ("performing post-bootstrap initialization ... ", INIT),
        ('The files belonging to this database system will be owned by user "postgres".', INIT),
        ("/usr/local/bin/docker-entrypoint.sh: running /docker-entrypoint-initdb.d/10.sql", "running the init scripts"),
        ("PostgreSQL init process complete; ready for start up.", "starting"),
        ("2026-11-29 12:28:36.591 UTC [1] LOG:  listening on IPv4 address", "starting: listening on IPv4 address"),
        ("2026-11-29 12:28:36.591 UTC [9] LOG:  redo starts at 0/15A3B28", "recovering from a crash: redo starts at"),
        ("[9] LOG:  database system was not properly shut down; in progress", "recovering from a crash: database"),
        ("2026-11-29 12:28:36.591 UTC [9] LOG:  database system was shut down at 2026-11-29", "starting: database"),
        ("2026-11-29 12:28:36.591 UTC [9] LOG:  shutting down", "shutting down"),
        ("something of an image of its own", "something of an image of its own"),
    ],
)  # fmt: skip
def test_a_line_of_the_log_is_a_phase(line: str, said: str) -> None:
    assert server_log.startup_phase(line).startswith(said)
    assert bool(server_log.startup_phase(line)) == bool(line)


class Starting:
    """A server that never answers, whose log keeps growing; reading it fails once."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> None:
        return None

    def last_line(self) -> str:
        self.reads += 1
        if self.reads == 1:
            raise UnavailableError("the engine did not answer")
        return f"line {self.reads}"


def test_the_last_line_is_passed_on_while_nothing_answers() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    told: list[str] = []
    endpoint = Endpoint("127.0.0.1", port, "postgres", Secret("x"), "shop")
    with pytest.raises(StepFailedError, match="did not answer within 2 s"):
        readiness.wait(endpoint, 2, database="postgres", watch=Starting(), tell=told.append, log_command="tail log")
    assert told[:2] == ["line 2", "line 3"]
