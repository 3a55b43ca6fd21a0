"""The program of a seed: it finds the database in its environment, and runs to its end under our lock."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from provision.alembic import environment, filled, masked_forms, secrets_of
from provision.errors import StepFailedError, command
from provision.model import MASK
from provision.system import no_commands, processes
from provision.system.libpq import VARIABLES
from provision.system.postgres import tls
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from provision.model import Endpoint
    from provision.spec.model import Migrations, Seed

_POLL, _GRACE = 0.05, 5.0
_LINES, _TAIL = 12, 65536


def run(
    seed: Seed,
    tree: Migrations | None,
    at: Endpoint,
    directory: Path,
    limits: tuple[float, str],
    tell: Callable[[str], None],
) -> None:
    """Run a program; ``limits`` are the end of its time (of the monotonic clock), and what its sessions are called.

    Raises:
        StepFailedError: it cannot be started, failed, or took too long.
    """
    no_commands.refuse(f"what {seed.argv[0]} does: it was not run")
    forms = masked_forms([at.password.reveal(), *(secrets_of(tree) if tree else ()), *map(_revealed, seed.masked)])

    def masked(text: str) -> str:
        for form in forms:
            text = text.replace(form, MASK)
        return text

    with tempfile.TemporaryFile() as log:
        process = _started(seed, tree, at, directory, limits[1], log)
        try:
            status = _wait(process, limits[0], lambda: tell(masked(_last_line(log))))
        finally:
            _end(process)
        if status != 0:
            raise _failed(seed, status, masked(_tail(log)).splitlines()[-_LINES:])


def _failed(seed: Seed, status: int | None, printed: list[str]) -> StepFailedError:
    """Return the error for a program with this status; None: the time was over."""
    how, step = f"failed with exit code {status}", "correct what it says"
    if status is None:
        how, step = "took too long and was ended", "give it more time: `timeout` of the migrations of this database"
    elif status < 0:
        how = f"was ended by signal {-status}"
    return StepFailedError(
        f"the program of the seed {seed.name!r} {how}",
        evidence=printed,
        next_step=f"{step}, then: " + command("apply") + "   (it continues with this seed)",
    )


def variables(tree: Migrations | None, at: Endpoint, name: str) -> dict[str, str]:
    """Return the environment of a program: libpq's variables, DATABASE_URL, and the ``env`` of the migrations."""
    base = environment(tree, name) if tree else {**without(VARIABLES), "PGAPPNAME": name}
    login = {
        "PGHOST": at.host,
        "PGPORT": str(at.port),
        "PGUSER": at.user,
        "PGPASSWORD": at.password.reveal(),
        "PGDATABASE": at.database,
        "DATABASE_URL": at.url(driver=_driver(tree)),
        "PYTHONUNBUFFERED": "1",
    }
    role = {"PGOPTIONS": at.options} if at.role else {}
    return {**base, **login, **tls(at), **role, **(filled(tree, at) if tree else {})}


def _driver(tree: Migrations | None) -> str | None:
    return tree.url_driver.partition("+")[2] or None if tree and tree.url_driver else None


def _revealed(secret: object) -> str:
    reveal = getattr(secret, "reveal", None)
    return str(reveal()) if reveal else ""


def _started(
    seed: Seed, tree: Migrations | None, at: Endpoint, directory: Path, name: str, log: IO[bytes]
) -> processes.Popen[bytes]:
    try:
        return processes.start(
            seed.argv,
            stdin=processes.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=variables(tree, at, name),
            start_new_session=True,
        )
    except OSError as error:
        raise StepFailedError(
            f"the program of the seed {seed.name!r} cannot be run",
            evidence=(f"{error.strerror} ({error.filename})",),
            next_step="correct `command`: a program is looked for beside `migrations.python`, then in PATH",
        ) from None


def _wait(process: processes.Popen[bytes], deadline: float, tell: Callable[[], None]) -> int | None:
    """Wait for the end, and return the status; None when the time is over."""
    while (left := deadline - time.monotonic()) > 0:
        with suppress(processes.TimeoutExpired):
            return process.wait(min(left, _POLL))
        tell()
    return None


def _end(process: processes.Popen[bytes]) -> None:
    """End a program that still runs, with all that it has started."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(processes.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: IO[bytes]) -> str:
    size = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace")


def _last_line(log: IO[bytes]) -> str:
    lines = _tail(log).split("\n")[:-1]
    return lines[-1].strip() if lines else "running the program"
