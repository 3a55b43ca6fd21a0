"""The child process that runs Alembic, seen from our side: started early, asked once, listened to, ended for certain.

It is started before the server is up, because importing Alembic and the driver takes longer than most of what is
waited for. It leads a session of its own, so that Ctrl-C reaches only us and we decide what becomes of it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Self

from provision.alembic.child.channel import masked_forms
from provision.errors import StepFailedError
from provision.model import MASK, Endpoint, Secret
from provision.spec.masking import secrets_of
from provision.system import no_commands, processes
from provision.system.libpq import VARIABLES, keepalives, tls
from provision.system.postgres import through_pooler
from provision.system.variables import without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provision.alembic.child.protocol import Event, Finished, Manner, Request
    from provision.spec.model import Migrations

PROGRAM = Path(__file__).parents[1] / "child" / "__main__.py"
CHILD_NAME = "provision migration"
"""What the sessions of a child are called on the server (libpq reads PGAPPNAME)."""
ASKING_NAME = "provision question"
"""The same for a child that migrates nothing. It holds no lock, and whoever migrates lets it be."""

NOWHERE = Endpoint("localhost", 5432, "nobody", Secret("unused"), "nowhere")
"""The server that ``env.py`` gets where none is needed."""

_ALONE: Manner = {"session": (None, None), "more": False, "reloads": False}
_BREATH = 0.005
_TAIL = 8192
_GRACE = 5.0


class OutOfTimeError(Exception):
    """The time that the tree may take is over."""


def environment(tree: Migrations, name: str = CHILD_NAME) -> dict[str, str]:
    """Return our environment; a relative PYTHONPATH keeps its meaning in the child's directory.

    ``name`` is what the sessions of the child are called. What the tree runs (its ``command``, the hooks of its
    configuration) is looked for beside its own interpreter first, as in a virtual environment that is active.

    What libpq reads is not part of it: with a PGHOSTADDR or a PGOPTIONS of the caller's shell, the URL that the child
    is given would lead elsewhere, or into another session. A spec that wants such a variable says so under ``env``.
    """
    environment = {**without(VARIABLES), "PGAPPNAME": name}
    if environment.get("PYTHONPATH"):
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path.cwd() / entry) for entry in entries)
    if tree.python is not None:
        places = (str(tree.python.parent), environment.get("PATH", os.defpath))
        environment["PATH"] = os.pathsep.join(each for each in places if each)
    return environment


class Child:
    """One child process: it imports what it needs, serves one request, and ends.

    One that ``stays`` waits for another request after each that it has served without an error.
    """

    def __init__(self, process: processes.Popen[bytes], python: str, log: Any) -> None:
        self.python = python
        self.stays = False
        self.served = 0
        """How many requests it has served without an error."""
        self.memory = 0
        """Its largest resident size when it had served the last one, in KiB."""
        self._heard = 0
        self._process = process
        self._stdin: IO[bytes] = process.stdin  # type: ignore[assignment]  # both are pipes
        self._stdout: IO[bytes] = process.stdout  # type: ignore[assignment]
        self._log = log
        self._unread = b""

    @property
    def pid(self) -> int:
        """The number of the process, which is also that of its session."""
        return self._process.pid

    @classmethod
    def start(cls, tree: Migrations, cwd: Path, name: str = CHILD_NAME, ahead: Sequence[Path] = ()) -> Self:
        """Start the child with the interpreter of the tree, in its directory; it needs no server yet.

        While it waits for its request, it reads the revision files of the directories ``ahead``.

        Raises:
            StepFailedError: the interpreter cannot be run.
        """
        python = str(tree.python or sys.executable)
        no_commands.refuse(f"the revisions of migrations/{tree.name}: {python} was not run")
        log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        try:
            process = processes.start(
                (python, str(PROGRAM), *map(str, ahead)),
                stdin=processes.PIPE,
                stdout=processes.PIPE,
                stderr=log,
                cwd=cwd,
                env=environment(tree, name),
                start_new_session=True,
            )
        except OSError as error:
            log.close()
            raise StepFailedError(
                f"the migrations' Python interpreter cannot be run: {python}",
                evidence=(f"{error.strerror} ({error.filename})",),
                next_step="correct `migrations.python` in the spec: the interpreter that has the project's packages",
            ) from None
        return cls(process, python, log)

    def ask(self, request: Request) -> None:
        """Send the request; the pipe stays open, because the child ends when it closes."""
        self._heard = os.fstat(self._log.fileno()).st_size
        self._send(json.dumps({**request, "more": self.stays}))

    def has_served(self, finished: Finished) -> None:
        """Note the end of a request."""
        self.served, self.memory = self.served + 1, finished["memory"]

    def go_on(self) -> None:
        """Let a child go on that waits for a word of ours."""
        self._send("")

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):  # a child that is gone says why among its events
            self._stdin.write(f"{line}\n".encode())
            self._stdin.flush()

    def gather(self) -> None:
        """Leave it a moment to say more: to wake us for each of many small revisions takes it a tenth of their time."""
        if not self._unread:
            time.sleep(_BREATH)

    def has_spoken(self, within: float) -> bool:
        """Tell whether there is an event, or the end of all, to be read; wait ``within`` seconds for it."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            return bool(self._unread or selector.select(within))

    def events(self, deadline: float, every: float | None = None) -> Iterator[Event]:
        """Yield what the child says until it ends, and ``quiet`` when it has said nothing for ``every`` seconds.

        Raises:
            OutOfTimeError: ``deadline`` (of the monotonic clock) is over.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while True:
                line, found, rest = self._unread.partition(b"\n")
                if found:
                    self._unread = rest
                    yield json.loads(line.decode())
                    continue
                left = max(0.0, deadline - time.monotonic())
                if not selector.select(left if every is None else min(every, left)):
                    if time.monotonic() >= deadline:
                        raise OutOfTimeError
                    yield {"event": "quiet"}
                    continue
                data = os.read(self._stdout.fileno(), 65536)
                if not data:
                    return
                self._unread += data

    def printed(self) -> str:
        """Return the end of what the user's code has printed for the last request."""
        size = os.fstat(self._log.fileno()).st_size
        start = max(self._heard, size - _TAIL)
        return os.pread(self._log.fileno(), size - start, start).decode(errors="replace")

    def close(self, *, now: bool = True) -> int:
        """See the child ended, with whatever it has started, and return its exit status; ``now`` gives it no time."""
        if self._process.returncode is None:  # once it is closed, another process can have its number
            with suppress(processes.TimeoutExpired):
                self._process.wait(0 if now else _GRACE)
            with suppress(ProcessLookupError, PermissionError):  # it has ended, and has left nothing behind
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()
        return self._process.wait()

    def kill(self) -> None:
        """End it at once, for another thread that listens to it."""
        with suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(now=self.stays or not self.served)
        self._log.close()


def common(
    kind: Literal["migrate", "render", "compare", "write", "resolve"],
    words: list[str],
    tree: Migrations,
    endpoint: Endpoint,
    places: tuple[Path | None, Path | None, Path],
) -> Request:
    """Return what every request holds; ``places`` are the script directory, its ``env.py``, and where they run."""
    return {
        "kind": kind,
        "words": words,
        "host": endpoint.host,
        "port": endpoint.port,
        "direct": endpoint.direct,
        "user": endpoint.user,
        "password": endpoint.password.reveal(),
        "database": endpoint.database,
        "tenant": tree.tenant,
        "secrets": [*_passwords(endpoint), *secrets_of(tree)],
        "role": endpoint.role,
        "pooled": through_pooler(endpoint),
        "tls": tls(endpoint),
        "keepalives": keepalives(endpoint),
        "prepare": tree.prepare,
        "url_driver": tree.url_driver,
        "config": str(tree.config) if tree.config else None,
        "section": tree.section,
        "script_location": str(places[0]) if places[0] and not tree.config else None,
        "env_file": str(places[1] or ""),
        "cwd": str(places[2]),
        "options": _revealed(tree.options),
        "env": _revealed(tree.env),
        "x": _revealed(tree.x),
        "attributes": dict(tree.attributes),
        "version_table": tree.version_table,
        "version_table_schema": tree.version_table_schema,
        "lock_timeout": tree.lock_timeout,
        "transaction_per_revision": tree.transaction_per_revision,
        **_ALONE,
    }


def _passwords(endpoint: Endpoint) -> list[str]:
    return [] if endpoint.password is NOWHERE.password else [endpoint.password.reveal()]


def _revealed(values: Mapping[str, Secret]) -> dict[str, str]:
    return {name: value.reveal() for name, value in values.items()}


def masked(text: str, password: Secret, tree: Migrations) -> str:
    """Return the text without the password and what the tree is given in secret, also as they look inside a URL."""
    for form in masked_forms([password.reveal(), *secrets_of(tree)]):
        text = text.replace(form, MASK)
    return text
