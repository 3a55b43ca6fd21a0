"""A new data directory of this machine: initdb, and then the files of ``server.initdb`` through the server's socket.

psql gets each of these files on its standard input, so that the server's user need not be able to read it.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from provision.errors import StepFailedError, as_word, command
from provision.model.sql import identifier
from provision.model.value import replace
from provision.system import processes, servers
from provision.system.files import beside, explaining, remember, sync_directory, sync_filesystem
from provision.system.machine import as_user, give

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import SupportsRead

    from provision.model import Secret
    from provision.model.effects import Scripts, ServerCall

_LINES = 12
MARK = "initdb-"
"""In the name of a data directory that is not complete yet."""
NO_SYNC = "--no-sync"
"""Always given, because one sync of everything at the end is quicker than one of each file; for data that is not kept
it is in the plan already, and then there is none."""
_DATABASES = ("postgres", "template1")
"""What initdb has made."""
# As in the official image, so that `server.host` alone says who can connect; initdb adds this for 127.0.0.1 only.
_EVERYWHERE = "\n# Added by provision: every address that the server listens on.\nhost all all all scram-sha-256\n"


def initialise(call: ServerCall, password: Secret, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Make a data directory, whole or not at all; its superuser gets ``password``. This process does ``meanwhile``.

    Raises:
        StepFailedError: initdb or a script failed, with what it said.
        ProvisionError: the directory cannot be made.
    """
    with making(call, f"the data directory {call.data} cannot be made") as temporary:
        give(temporary, call.user)
        _run_initdb(call, temporary, password, meanwhile)
        with (temporary / "pg_hba.conf").open("a") as file:
            file.write(_EVERYWHERE)
        if call.scripts is not None:
            _run_scripts(call, call.scripts, temporary)


@contextmanager
def making(call: ServerCall, failed: str) -> Iterator[Path]:
    """Yield a directory to fill, which becomes the data once all of it is on the disk: whole, or not at all.

    Raises:
        ProvisionError: it cannot be made, as ``failed`` says.
    """
    _remove_left(call.data)
    with explaining(failed, call.data), beside(call.data, MARK, spreads=call.record is None) as temporary:
        yield temporary
        if call.record is not None:
            remember(temporary, temporary / call.record.name)
        if NO_SYNC not in call.argv:
            sync_filesystem(temporary)
    sync_directory(call.data.parent)
    _remove_left(call.data)


def _remove_left(data: Path) -> None:
    """Remove what a run left that was killed; its initdb may still have written when that was tried first."""
    for left in data.parent.glob(f".{data.name}.{MARK}*"):
        shutil.rmtree(left, ignore_errors=True)


def _run_initdb(call: ServerCall, directory: Path, password: Secret, meanwhile: Callable[[], object]) -> None:
    """Run initdb; the password reaches it through a pipe, which only the user that reads it may open."""
    reading, writing = os.pipe()
    try:
        give(reading, call.user)
        os.write(writing, f"{password.reveal()}\n".encode())
        os.close(writing)
        writing = -1
        with processes.start(
            (*call.argv, NO_SYNC, f"--pgdata={directory}", "--pwfile=/dev/stdin"),
            stdin=reading,
            stdout=processes.PIPE,
            stderr=processes.STDOUT,
            cwd="/",
            env=servers.environment(),
            **as_user(call.user),
        ) as process:
            try:
                meanwhile()
                text = process.communicate()[0]
            except BaseException:
                process.kill()
                raise
    finally:
        for each in (reading, writing):
            if each >= 0:
                os.close(each)
    if process.returncode != 0:
        said = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
        raise StepFailedError(
            f"initdb failed with exit code {process.returncode}",
            evidence=said[-_LINES:],
            next_step=f"df -h {as_word(directory.parent)}",
        )


def _run_scripts(call: ServerCall, scripts: Scripts, data: Path) -> None:
    """Run the scripts of a call on ``data``, with a server that no client can reach.

    Raises:
        StepFailedError: one failed, with what psql said.
    """
    argv = tuple(str(data) if word == str(call.data) else word for word in scripts.argv)
    server = replace(call, data=data, argv=argv, log=scripts.log, sockets=scripts.sockets, timeout=scripts.timeout)
    servers.perform(replace(server, operation="start"))
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
        servers.perform(replace(server, operation="stop"))


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
                shutil.copyfileobj(source, stream)
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
