"""Server processes of this machine: a data directory made in one step, a server started, stopped, and spoken to.

``initdb`` works beside the place where its result belongs, and one rename puts it there. So a directory is either
complete or not there at all, whatever was killed in between, and one that a server has run on is never made again.
"""

from __future__ import annotations

import os
import signal
from contextlib import closing, suppress
from pathlib import Path

from provision.errors import StepFailedError, as_word, command, translated
from provision.model import Secret
from provision.model.effects import RunLocalSql, ServerCall
from provision.system import libpq, logfile, postmaster, processes
from provision.system.files import make_directory
from provision.system.machine import as_user, give, lookup, owner
from provision.system.owned import check_there, open_own
from provision.system.postgres import UNLOGGED
from provision.system.variables import environ
from provision.system.waiting import attempts

_POLL = 0.005
_LOG_LINES = 15
_LARGEST_LOG = 32 << 20
_HEAD_START = 5.0
_LAST_WORDS = 10.0
_STILL_THERE = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def perform(call: ServerCall) -> None:
    """Perform one operation on a server whose data directory is there.

    Raises:
        StepFailedError: it failed, with what the program or the server said.
    """
    match call.operation:
        case "start":
            _start(call)
        case "close":
            _close(call)
        case "stop":
            _stop(call, signal.SIGINT)
        case "kill":
            _stop(call, signal.SIGQUIT)


def environment() -> dict[str, str]:
    """Return what a server that outlives us may know of our environment: no secrets, no PGPORT, English messages."""
    return {**{name: value for name, value in environ().items() if name in _KEPT_VARIABLES}, "LC_ALL": "C"}


# --- start ---


def _start(call: ServerCall) -> None:
    if postmaster.find(call.data) is not None:
        return
    _bury_predecessor(call.data, call.timeout)
    if call.sockets is not None:
        _make_socket_directory(call.sockets, call.user)
        for left in call.sockets.glob(".s.PGSQL.*"):  # its lock names a process too, and the directory is ours alone
            left.unlink(missing_ok=True)
    if call.link is not None:
        _point(call.link, call.data)
    log = call.log or call.data / "server.log"
    make_directory(log.parent, 0o755)
    check_there(log.parent, log)
    if logfile.size(log) > _LARGEST_LOG:
        log.replace(log.with_suffix(f"{log.suffix}.1"))
    for waited in attempts(call.timeout, 20 * _POLL):
        begin = logfile.size(log)
        pid = _spawn(call, log)
        code = _watch(pid, call.data, min(call.timeout - waited, _HEAD_START))
        if code is None:
            return
        said = logfile.last(log, _LOG_LINES, since=begin)
        if not any(text in line for line in said for text in _STILL_THERE):
            break
    raise StepFailedError(
        f"the server ended with exit code {code} while it started",
        evidence=said,
        next_step=command("logs") if call.link is not None else f"tail -n 50 {as_word(log)}",
    )


def _spawn(call: ServerCall, log: Path) -> int:
    """Start the server in a session of its own, so that it continues when we end or our terminal closes."""
    descriptor = open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    failed = StepFailedError("the server cannot be run")
    with os.fdopen(descriptor, "ab") as output, translated(OSError, into=failed):
        process = processes.start_alone(
            call.argv, output, cwd="/", env=environment(), umask=0o077, **as_user(call.user)
        )
    process.returncode = 0  # it outlives us, and Python must not complain about that
    return process.pid


def _watch(pid: int, data: Path, seconds: float) -> int | None:
    """Wait until the server is ready or the time is over; return its exit code when it ended instead."""
    for _ in attempts(seconds, _POLL):
        code = postmaster.ended(pid)
        if code is not None:
            return code
        found = postmaster.find(data)
        if found is not None and found.pid == pid and found.is_ready:
            return None
    return None


def _bury_predecessor(data: Path, seconds: float) -> None:
    """Clean up after a server that was killed.

    Its processes notice soon that their parent is gone; one that does not, in a long query, is ended. A
    ``postmaster.pid`` whose number now belongs to another process would keep the new server from starting.
    """
    if not (data / "postmaster.pid").exists():
        return
    for waited in attempts(seconds, _POLL):
        left = postmaster.others(data)
        if not left:
            break
        for pid in left if waited > _HEAD_START else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGQUIT)
    if postmaster.blocks_a_start(data):
        (data / "postmaster.pid").unlink(missing_ok=True)


def _make_socket_directory(path: Path, user: str | None) -> None:
    """Make the directory of the socket, which its owner alone may enter: whoever comes in needs no password."""
    with suppress(FileExistsError):
        make_directory(path.parent, 0o755)
        path.mkdir(mode=0o700)
        give(path, user)
    wanted = lookup(user).uid if user is not None else os.geteuid()
    found = owner(path)
    if path.is_symlink() or not path.is_dir() or found is None or found.uid != wanted:
        raise StepFailedError(
            f"the directory for the server's socket, {path}, belongs to another user",
            next_step=f"ls -ld {as_word(path)}",
        )
    path.chmod(0o700)


def _point(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    make_directory(link.parent, 0o755)
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


# --- stop ---


def _close(call: ServerCall) -> None:
    """Begin a smart shutdown, which waits for the sessions that there are."""
    if (found := postmaster.find(call.data)) is not None:
        os.kill(found.pid, signal.SIGTERM)


def _stop(call: ServerCall, first: signal.Signals) -> None:
    """Ask for a shutdown, and for an immediate one (SIGQUIT) when the time is over; neither loses data.

    https://www.postgresql.org/docs/current/server-shutdown.html
    """
    found = postmaster.find(call.data) or (postmaster.orphan(call.data) if not call.data.exists() else None)
    if found is not None:
        gentle = signal.SIGQUIT if found.is_orphaned else first
        for number, patience in ((gentle, call.timeout), (signal.SIGQUIT, _LAST_WORDS)):
            if _end(found.pid, number, patience):
                break
        else:
            raise StepFailedError(f"the server, process {found.pid}, does not stop", next_step=f"kill -9 {found.pid}")
    if call.sockets is not None:
        with suppress(OSError):
            call.sockets.rmdir()


def _end(pid: int, number: int, patience: float) -> bool:
    failed = StepFailedError(f"the server, process {pid}, belongs to another user", next_step=f"ps -o user= -p {pid}")
    with suppress(ProcessLookupError), translated(PermissionError, into=failed):
        os.kill(pid, number)
    return any(not postmaster.is_alive(pid) for _ in attempts(patience, _POLL))


# --- through its own socket ---


def local_sql(effect: RunLocalSql, script: Secret) -> None:
    """Run the effect's script, with a verifier in it, over the server's own socket, where no password is asked for.

    Raises:
        StepFailedError: the server refuses it. The script itself is a secret, and not shown.
    """
    said: list[str] = []
    for user in (effect.user, *effect.others):
        failure = _as_superuser(effect, user, script)
        if failure is None:
            return
        said += failure.replace(script.reveal().strip(), "…").splitlines()[-3:]
    raise StepFailedError(
        f"the server's own socket in {effect.socket_directory}, port {effect.port}, refuses the change",
        evidence=said,
        next_step=command("logs"),
    )


def _as_superuser(effect: RunLocalSql, user: str, script: Secret) -> str | None:
    """Run the script as one user; return why that failed."""
    import psycopg2

    try:
        connection = libpq.connect(
            host=str(effect.socket_directory),
            port=effect.port,
            user=user,
            dbname="postgres",
            connect_timeout=5,
            options=UNLOGGED,
        )
        connection.autocommit = True
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(script.reveal())
    except psycopg2.Error as error:
        return (error.diag.message_primary or str(error)) if error.pgcode else str(error)
    return None
