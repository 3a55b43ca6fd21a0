"""An upgrade that is held on to at one of its stages, and one while clients write."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from support.environment import Environment


@contextmanager
def upgrading(environment: Environment, until: str) -> Iterator[subprocess.Popen[str]]:
    """Run an upgrade until a step has ended; what is done then is the test's business."""
    with environment.begin("upgrade", "--yes") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith(until) and ": done" in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield process
        process.stdout.read()


def refused_because_of_rows(process: subprocess.Popen[str]) -> str:
    """Let a stopped upgrade continue, and return its output: it finds rows on one side that the other has not."""
    process.send_signal(signal.SIGCONT)
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait() == 1
    assert "before: 'shop': rows of public.userdata:" in said
    assert "after:  'shop': rows of public.userdata:" in said
    return said


def usable(environment: Environment, name: str, major: int) -> None:
    """See that the old server is there, with what it had, and takes a row without waiting."""
    environment.query("SET lock_timeout = '5s'; INSERT INTO userdata (name) VALUES (%s)", name)
    assert environment.setting("server_version").startswith(f"{major}.")
    names = [each for (each,) in environment.query("SELECT name FROM userdata ORDER BY id")]
    assert names[0] == "first"
    assert names[-1] == name


_WRITERS = 4


def upgraded_while_somebody_writes(environment: Environment) -> None:
    """Upgrade, and see that every row is there that the server has answered for."""
    written, stop, url = [], threading.Event(), environment.url

    def write() -> None:
        while not stop.is_set():
            with suppress(psycopg2.Error), closing(psycopg2.connect(url, connect_timeout=2)) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not stop.is_set():
                        cursor.execute("INSERT INTO userdata (name) VALUES ('w') RETURNING id")
                        written.extend(cursor.fetchone() or ())
            time.sleep(0.05)

    writers = [threading.Thread(target=write) for _ in range(_WRITERS)]
    for writer in writers:
        writer.start()
    try:
        environment.run("upgrade", "--yes")
        time.sleep(1)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    ids = {each for (each,) in environment.query("SELECT id FROM userdata WHERE name = 'w'")}
    assert ids >= set(written)
    assert len(written) == len(set(written))
    assert len(ids - set(written)) <= _WRITERS, "those that were not answered"
