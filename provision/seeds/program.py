"""The program of a seed: it finds the database in its environment, and runs to its end under our lock."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from provision.alembic import environment, filled, masked_forms
from provision.errors import StepFailedError
from provision.model import MASK, Endpoint
from provision.seeds.files import Source
from provision.spec.masking import secrets_of
from provision.spec.model import Migrations
from provision.system import no_commands, processes
from provision.system.libpq import VARIABLES, of_login, tls
from provision.system.postgres import role_of_programs
from provision.system.variables import without

_POLL = 0.05
_LINES, _TAIL = 12, 65536


class Program(NamedTuple):
    """What runs; ``session`` is how its sessions are called, ``deadline`` is of the monotonic clock."""

    source: Source
    tree: Migrations | None
    at: Endpoint
    directory: Path
    session: str
    deadline: float
    again: str


def run(program: Program, tell: Callable[[str], None]) -> None:
    """Run a program; ``tell`` hears what it prints.

    Raises:
        StepFailedError: it cannot be started, failed, or took too long.
    """
    seed, tree = program.source.seed, program.tree
    no_commands.refuse(f"what {seed.argv[0]} does: it was not run")
    secret = [program.at.password, *seed.masked]
    forms = masked_forms([*[each.reveal() for each in secret], *(secrets_of(tree) if tree else ())])

    def masked(text: str) -> str:
        for form in forms:
            text = text.replace(form, MASK)
        return text

    with tempfile.TemporaryFile() as log:
        process = _started(program, log)
        try:
            status = _wait(process, program.deadline, lambda: tell(masked(_last_line(log))))
        finally:
            if process.poll() is None:
                processes.end_session(process)
        if status != 0:
            raise _failed(program, status, masked(_tail(log)).splitlines()[-_LINES:])


def _failed(program: Program, status: int | None, printed: list[str]) -> StepFailedError:
    """Return the error for a program with this status; None: the time was over."""
    how, step = f"failed with exit code {status}", "correct what it says"
    if status is None:
        how, step = "took too long and was ended", "give it more time: `timeout` of the migrations of this database"
    elif status < 0:
        how = f"was ended by signal {-status}"
    step = f"{step}, then: " + program.again
    return StepFailedError(f"the program of a seed {how}", evidence=(program.source.name, *printed), next_step=step)


def variables(tree: Migrations | None, at: Endpoint, name: str) -> dict[str, str]:
    """Return the environment of a program: libpq's variables, DATABASE_URL, and the ``env`` of the migrations."""
    base = environment(tree, name) if tree else {**without(VARIABLES), "PGAPPNAME": name}
    login = {**of_login(at), "DATABASE_URL": at.url(driver=_driver(tree)), "PYTHONUNBUFFERED": "1"}
    return {**base, **login, **tls(at), **role_of_programs(at), **(filled(tree, at) if tree else {})}


def _driver(tree: Migrations | None) -> str | None:
    return tree.url_driver.partition("+")[2] or None if tree and tree.url_driver else None


def _started(program: Program, log: IO[bytes]) -> processes.Popen[bytes]:
    env = variables(program.tree, program.at, program.session)
    try:
        return processes.start_alone(program.source.seed.argv, log, cwd=program.directory, env=env)
    except OSError as error:
        raise StepFailedError(
            "the program of a seed cannot be run",
            evidence=(program.source.name, f"{error.strerror} ({error.filename})"),
            next_step="correct `command`: a program is looked for beside `migrations.python`, then in PATH",
        ) from None


def _wait(process: processes.Popen[bytes], deadline: float, tell: Callable[[], None]) -> int | None:
    """Wait for the end, and return the status; None when the time is over."""
    while (left := deadline - time.monotonic()) > 0:
        with suppress(processes.TimeoutExpired):
            return process.wait(min(left, _POLL))
        tell()
    return None


def _tail(log: IO[bytes]) -> str:
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace")


def _last_line(log: IO[bytes]) -> str:
    lines = _tail(log).split("\n")[:-1]
    return lines[-1].strip() if lines else "running the program"
