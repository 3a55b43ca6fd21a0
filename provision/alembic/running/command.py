"""A tree with a ``command``: its own program runs under our lock, and the version table shows what it did.

Its output is passed on line by line; what it applies is read from the version table while it runs. When it fails, its
output tells the revision and the statement: Alembic logs ``Running upgrade 0001 -> 0002, message``, Python prints a
traceback with the revision's file, and SQLAlchemy ends its message with ``[SQL: …]``.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress

from provision.alembic.child.fill import fill
from provision.alembic.running import errors as alembic_errors
from provision.alembic.running.events import MigrationEvent
from provision.alembic.running.process import environment
from provision.alembic.running.rights import way_to
from provision.alembic.running.run import Run
from provision.alembic.running.waits import SelfBlockedError, Standstill
from provision.alembic.tree.graph import Graph
from provision.errors import StepFailedError, UnavailableError
from provision.model import Endpoint
from provision.model.value import dataclass, replace
from provision.spec.model import Migrations
from provision.system import processes
from provision.system.driver_errors import is_lost
from provision.system.libpq import tls
from provision.system.postgres import role_of_programs

_RUNNING = r"Running upgrade .*?-> ([^\s,]+)"
_FRAME = r'(?m)^\s*File "([^"\n]+)", line (\d+)'
_STATEMENT = r"(?s)\[SQL: (.*?)\]\s*(?:$|\n)"
_MESSAGE = r"(?m)^(?:\w+\.)*\w+: \((?:\w+\.)+\w+\) (.+)$|^(?:\w+\.)*(\w*(?:Error|Exception|Exit)): (.+)$"
_PASSING = (
    r"lock timeout|LockNotAvailable|deadlock detected|server closed the connection|terminating connection"
    r"|could not connect|Connection refused|connection .* failed|starting up|shutting down"
)
_LISTEN_EVERY = 0.2
_LOOK_EVERY = 1.0
_TAIL = 65536
_LINES = 12


def serve_program(run: Run) -> None:
    """Run the program of a tree to its end; whatever goes wrong, it and its statements are over afterwards.

    A program that lacks the driver which SQLAlchemy takes for a bare URL is run again with a URL that names the other.

    Raises:
        StepFailedError: it cannot be started, failed, took too long, or waits for itself.
    """
    program = run.tree.command[0]
    run.on_event(MigrationEvent("started", program))
    began = time.monotonic()
    status, text = _once(run)
    if status and run.tree.url_driver is None and not run.done and (other := _other_driver(text)):
        run.tree = replace(run.tree, url_driver=other)
        status, text = _once(run)
    if status is None:
        error = alembic_errors.out_of_time(run.tree, run.running or program, run.truth())
        error.evidence = (*text.splitlines()[-_LINES:], *error.evidence)
        raise error
    if status != 0:
        raise _failed(run, status, text)
    run.on_event(MigrationEvent("done", program, seconds=time.monotonic() - began))


def _once(run: Run) -> tuple[int | None, str]:
    """Run the program, and return its status (None: the time was over) and the end of what it printed."""
    with tempfile.TemporaryFile() as log:
        process = _start(run, log.fileno())
        heard = _Heard(run, log.fileno())
        try:
            status = _wait(run, process, heard)
        except SelfBlockedError as found:
            _end_all(run, process)
            raise run.self_blocked(found.wait) from None
        finally:
            if process.poll() is None:
                _end_all(run, process)
        heard.listen(rest=True)
        heard.look()
        return status, heard.text()


def _start(run: Run, log: int) -> processes.Popen[bytes]:
    tree, endpoint = run.tree, run.endpoint
    argv = [each.replace("{target}", _target(run)) for each in tree.command]
    session = {**tls(endpoint), **role_of_programs(endpoint), **filled(tree, endpoint)}
    try:
        env = {**environment(tree), "PYTHONUNBUFFERED": "1", **session}
        return processes.start_alone(argv, log, cwd=run.location.cwd, env=env)
    except OSError as error:
        raise StepFailedError(
            f"the program of these migrations cannot be run: {tree.command[0]}",
            evidence=(f"{error.strerror} ({error.filename})",),
            next_step="correct `migrations.command`: a program is looked for beside `migrations.python`, then in PATH",
        ) from None


def filled(tree: Migrations, endpoint: Endpoint) -> dict[str, str]:
    """Return the variables that the spec gives to the programs of a tree, with ``{url}`` and the like put in."""
    login = {
        "host": endpoint.host,
        "port": str(endpoint.port),
        "user": endpoint.user,
        "password": endpoint.password.reveal(),
        "database": endpoint.database,
    }
    url = f"{tree.url_driver or 'postgresql'}://{{user}}:{{password}}@{{host}}:{{port}}/{{database}}"
    values = {**login, "url": fill(url, login)}
    return {name: fill(value.reveal(), values) for name, value in tree.env.items()}


def _target(run: Run) -> str:
    """Return the target as the spec says it where that is a word of Alembic's, else the revision."""
    wanted = run.effect.target
    if wanted == run.graph.version_rows(run.graph.heads):
        return run.tree.target if run.tree.target in {"head", "heads"} else "head" if len(wanted) == 1 else "heads"
    return wanted[0] if len(wanted) == 1 else run.tree.target


class _Heard:
    """What the program has printed and applied so far, passed on line by line and revision by revision."""

    def __init__(self, run: Run, log: int) -> None:
        self._run = run
        self._log = log
        self._at = 0
        self._rest = b""
        self._rows = run.rows() or ()
        self._since = time.monotonic()

    def listen(self, *, rest: bool = False) -> None:
        """Pass on the lines that came since the last time; with ``rest`` also one that was not ended."""
        data = os.pread(self._log, os.fstat(self._log).st_size - self._at, self._at)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in (*lines, self._rest) if rest else lines:
            words = self._run.masked(line.decode(errors="replace")).strip()
            running = re.search(_RUNNING, words)
            if running and running[1] in self._run.graph:
                self._run.running = running[1]
            if words:
                self._run.on_event(MigrationEvent("printed", words))

    def look(self) -> None:
        """Pass on the revisions that were applied since the last time, by the version table."""
        graph, now = self._run.graph, time.monotonic()
        with suppress(UnavailableError):
            rows = self._run.rows() or ()
            if rows == self._rows or graph.unknown((*rows, *self._rows)):
                return
            if self._run.running in graph.ancestors(rows):
                self._run.running = None
            names, seconds = graph.pending(self._rows, rows), now - self._since
            for name in names:
                message = graph[name].message
                self._run.done.append((name, seconds / len(names)))
                self._run.on_event(MigrationEvent("done", name, message, seconds / len(names)))
            self._rows, self._since = rows, now

    def text(self) -> str:
        """Return the end of what was printed."""
        size = os.fstat(self._log).st_size
        return self._run.masked(os.pread(self._log, _TAIL, max(0, size - _TAIL)).decode(errors="replace"))


def _wait(run: Run, process: processes.Popen[bytes], heard: _Heard) -> int | None:
    """Wait for the end of the program, and return its status; None when the time is over.

    Raises:
        SelfBlockedError: it waits for itself.
    """
    standstill, looked = Standstill(process.pid, 1), time.monotonic()
    while (left := run.deadline - time.monotonic()) > 0:
        with suppress(processes.TimeoutExpired):
            return process.wait(min(left, _LISTEN_EVERY))
        heard.listen()
        if time.monotonic() - looked >= _LOOK_EVERY:
            looked = time.monotonic()
            heard.look()
            run.look(standstill)
    return None


def _failed(run: Run, status: int, text: str) -> StepFailedError:
    """Return the error for a program that failed: the revision and the statement, as far as its output tells them."""
    program, truth = run.tree.command[0], run.truth()
    applied = run.graph.ancestors([row for row in truth.rows or () if row in run.graph])
    failure = read_output(text, run.graph, applied)
    sentence = f"{program} " + (f"was ended by signal {-status}" if status < 0 else f"failed with exit code {status}")
    if failure.revision is not None:
        sentence = f"revision {run.graph.describe(failure.revision)} failed: {sentence}"
    found = (("", failure.message), ("statement: ", failure.statement), ("at ", failure.place))
    evidence = [f"{before}{each}" for before, each in found if each] or text.splitlines()[-_LINES:]
    raised = [line for line in text.splitlines()[-_LINES:] if "Error" in line.partition(":")[0]]
    if any(is_lost(None, each) for each in (failure.message or "", *raised)):
        return alembic_errors.lost(f"the connection to the server was lost while {program} ran", evidence, truth)
    step: str
    if way := way_to(run.tree, failure.message or "", run.database):
        step = way + f"; then {truth.next_step}"
    elif status < 0 or failure.passes:  # another run only helps against what passes by itself
        step = truth.next_step
    elif "No module named" in (failure.message or ""):
        step = "install what is missing where the program runs; `url_driver` says which driver `{url}` names"
    else:
        correct = "correct the revision" if failure.revision else "correct what it says"
        step = f"remove what was left behind, and {correct}" if truth.left else correct
    return StepFailedError(sentence, evidence=[*evidence, *truth.lines], next_step=step)


def _other_driver(text: str) -> str | None:
    """Return how a URL begins that names the driver which the program has in place of the one that it misses."""
    for missing, other in (("psycopg2", "psycopg"), ("psycopg", "psycopg2")):
        if f"No module named '{missing}'" in text:
            return f"postgresql+{other}"
    return None


def _end_all(run: Run, process: processes.Popen[bytes]) -> None:
    """End the program with all that it has started, and its sessions on the server."""
    processes.end_session(process)
    with suppress(UnavailableError):  # what ended it is reported
        run.lock.end_all(run.pids)


@dataclass(frozen=True)
class ProgramFailure:
    """What the output tells. ``place`` is ``file:line`` of the revision; ``passes``: another run can go better."""

    revision: str | None = None
    place: str | None = None
    statement: str | None = None
    message: str | None = None
    passes: bool = False


def read_output(text: str, graph: Graph, applied: Collection[str]) -> ProgramFailure:
    """Return what a program's output tells of its failure; a revision that is ``applied`` did not fail."""
    places = {os.path.realpath(each.path): name for name, each in graph.revisions.items()}
    revision = place = None
    for match in re.finditer(_RUNNING, text):
        revision = match[1] if match[1] in graph.revisions and match[1] not in applied else None
    for file, line in re.findall(_FRAME, text):
        name = places.get(os.path.realpath(file))
        if name is not None and name not in applied and revision in {None, name}:
            revision, place = name, f"{file}:{line}"
    statements = re.findall(_STATEMENT, text)
    messages = [database or f"{kind}: {words}" for database, kind, words in re.findall(_MESSAGE, text)]
    return ProgramFailure(
        revision,
        place,
        " ".join(statements[-1].split()) if statements else None,
        messages[-1] if messages else None,
        re.search(_PASSING, text) is not None,
    )
