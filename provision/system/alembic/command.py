"""A tree that only its own program can run: the program is run under our lock, and what it did is proved afterwards."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from provision.child.fill import fill
from provision.errors import StepFailedError, UnavailableError
from provision.system import processes
from provision.system.alembic import errors as alembic_errors
from provision.system.alembic.events import MigrationEvent
from provision.system.alembic.process import environment
from provision.system.postgres import tls

if TYPE_CHECKING:
    from provision.system.alembic.run import Run

_LOOK_EVERY = 1.0
_GRACE = 5.0
_TAIL = 8192
_LINES = 12


def serve(run: Run) -> None:
    """Run the program of a tree to its end; whatever goes wrong, it and its statements are over afterwards.

    Raises:
        StepFailedError: it cannot be started, failed, or took too long.
    """
    run.on_event(MigrationEvent("started", run.tree.command[0]))
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = _start(run, log.fileno())
        try:
            status = _wait(run, process)
        finally:
            if process.poll() is None:
                _end(process)
                with suppress(UnavailableError):  # what ended it is told
                    run.lock.end_all(run.pids)
        printed = _printed(run, log.fileno())
    truth = run.truth() if status != 0 else None
    if status is None:
        error = alembic_errors.out_of_time(run.tree, run.tree.command[0], run.truth())
        error.evidence = (*printed, *error.evidence)
        raise error
    if truth is not None:
        how = f"was ended by signal {-status}" if status < 0 else f"failed with exit code {status}"
        raise StepFailedError(
            f"{run.tree.command[0]} {how}",
            evidence=[*printed, *truth.lines],
            next_step=_driver_way(printed) or truth.next_step,
        )
    run.on_event(MigrationEvent("done", run.tree.command[0], seconds=time.monotonic() - began))


def _start(run: Run, log: int) -> processes.Popen[bytes]:
    tree, endpoint = run.tree, run.endpoint
    login = {
        "host": endpoint.host,
        "port": str(endpoint.port),
        "user": endpoint.user,
        "password": endpoint.password.reveal(),
        "database": endpoint.database,
    }
    url = f"{tree.url_driver or 'postgresql'}://{{user}}:{{password}}@{{host}}:{{port}}/{{database}}"
    values = {**login, "url": fill(url, login)}
    given = {name: fill(value.reveal(), values) for name, value in tree.env.items()}
    try:
        return processes.start(
            tree.command,
            stdin=processes.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=run.location.cwd,
            env={**environment(tree), **tls(endpoint), **given},
            start_new_session=True,
        )
    except OSError as error:
        raise StepFailedError(
            f"the program of these migrations cannot be run: {tree.command[0]}",
            evidence=(f"{error.strerror} ({error.filename})",),
            next_step="correct `migrations.command`: a program is looked for beside `migrations.python`, then in PATH",
        ) from None


def _wait(run: Run, process: processes.Popen[bytes]) -> int | None:
    """Wait for the end of the program, and return its status; None when the time is over."""
    while (left := run.deadline - time.monotonic()) > 0:
        with suppress(processes.TimeoutExpired):
            return process.wait(min(left, _LOOK_EVERY))
        run.look()
    return None


def _driver_way(printed: list[str]) -> str | None:
    """Say how the URL can name its driver: SQLAlchemy chooses one by its version, which the program may not have."""
    missing = [each for each in ("psycopg2", "psycopg") if any(f"No module named '{each}'" in line for line in printed)]
    if not missing:
        return None
    other = "psycopg" if missing[0] == "psycopg2" else "psycopg2"
    return f"name a driver that the program has, under `migrations`: url_driver: postgresql+{other}"


def _end(process: processes.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(processes.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _printed(run: Run, log: int) -> list[str]:
    size = os.fstat(log).st_size
    text = os.pread(log, _TAIL, max(0, size - _TAIL)).decode(errors="replace")
    return alembic_errors.masked(text, run.endpoint.password, run.tree).splitlines()[-_LINES:]
