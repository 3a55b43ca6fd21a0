"""The files of ``server.initdb`` on a new data directory of this machine: SQL, through psql and the server's socket.

psql gets each file on its standard input, so that the server's user need not be able to read it.
"""

from __future__ import annotations

import gzip
import lzma
import tempfile
from contextlib import suppress
from dataclasses import replace
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING

from provision.errors import StepFailedError, command
from provision.model import Secret
from provision.model.sql import identifier
from provision.system import processes, servers
from provision.system.machine import as_user

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import SupportsRead

    from provision.model.effects import Scripts, ServerCall

_LINES = 12
_DATABASES = ("postgres", "template1")
"""What initdb has made."""


def run(call: ServerCall, scripts: Scripts, data: Path) -> None:
    """Run the scripts of a call on ``data``, with a server that no client can reach.

    Raises:
        StepFailedError: one failed, with what psql said.
    """
    argv = tuple(str(data) if word == str(call.data) else word for word in scripts.argv)
    server = replace(call, data=data, argv=argv, log=scripts.log, sockets=scripts.sockets, timeout=scripts.timeout)
    servers.perform(replace(server, operation="start"), Secret(""))
    try:
        if scripts.database not in _DATABASES:
            with tempfile.TemporaryFile() as statement:
                statement.write(f"CREATE DATABASE {identifier(scripts.database)};\n".encode())
                statement.seek(0)
                _psql(scripts, call.user, "postgres", statement, "the statement that makes the database")
        for each in scripts.files:
            with _opened(each) as source:
                _psql(scripts, call.user, scripts.database, source, str(each))
    finally:
        servers.perform(replace(server, operation="stop"), Secret(""))


def _opened(path: Path) -> gzip.GzipFile | lzma.LZMAFile | IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path)
    return lzma.open(path) if path.suffix == ".xz" else path.open("rb")


def _psql(scripts: Scripts, user: str | None, database: str, source: SupportsRead[bytes], what: str) -> None:
    argv = (
        str(scripts.psql),
        *("--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"),
        *(f"--host={scripts.sockets}", f"--port={scripts.port}", f"--username={scripts.user}", f"--dbname={database}"),
    )
    with tempfile.TemporaryFile() as said:
        process = processes.start(
            argv,
            stdin=processes.PIPE,
            stdout=processes.DEVNULL,
            stderr=said,
            cwd="/",
            env=servers.environment(),
            **as_user(user),
        )
        unreadable = ""
        assert process.stdin is not None  # noqa: S101  # it was asked for
        try:
            with suppress(BrokenPipeError), process.stdin as stream:
                copyfileobj(source, stream)
        except (OSError, EOFError, lzma.LZMAError) as error:
            unreadable = str(error)
            process.kill()
        code = process.wait()
        if code == 0 and not unreadable:
            return
        said.seek(0)
        lines = said.read().decode(errors="replace").replace("psql:<stdin>", what).splitlines()
    raise StepFailedError(
        f"{what} failed, so no data directory was made",
        evidence=[unreadable] if unreadable else lines[-_LINES:],
        next_step="correct it, then: " + command("apply"),
    )
