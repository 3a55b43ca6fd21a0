"""The program, run as a user runs it, in a copy of a process that has imported it already.

Half of a short run is imports, and the tests start the program thousands of times. The standard library's fork server
imports them once; each run is then a process of its own, with its own directory, environment, streams and exit code.
A test of the start itself (imports, interpreter, argv, signals) uses ``begin`` or ``before``.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import provision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

PROVISION = (sys.executable, "-m", "provision")
TIMEOUT = 120
_ELSEWHERE = ("provision.alembic.child", "provision.__main__")
"""What runs in processes of its own."""
_DEPENDENCIES = ("docker", "jinja2.sandbox", "json", "platformdirs", "psycopg2.extras", "yaml")


@dataclass(frozen=True)
class Ran:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Both streams."""
        return self.out + self.err

    def json(self) -> Any:
        """Return the printed document."""
        import json

        return json.loads(self.out)


def begin(*words: str, cwd: Path, environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start ``python -m provision`` and do not wait for it; both of its streams are one."""
    return subprocess.Popen(
        (*PROVISION, *words),
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def started_by(before: Sequence[str]) -> tuple[str, ...]:
    """Return the ``argv`` of :func:`run` for a program that starts the one that its arguments name."""
    return (*before, *PROVISION) if before else ()


def run(*words: str, cwd: Path, environ: Mapping[str, str], argv: Sequence[str] = ()) -> Ran:
    """Run the program with nothing to read, and return what it printed; ``argv`` starts it in another way."""
    is_another = environ.get("PYTHONPATH") != os.environ.get("PYTHONPATH")  # another program than the one imported here
    if not argv and not is_another:
        return _run_copy(words, cwd, environ)
    done = subprocess.run(
        (*(argv or PROVISION), *words),
        cwd=cwd,
        env=dict(environ),
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _run_copy(words: tuple[str, ...], cwd: Path, environ: Mapping[str, str]) -> Ran:
    streams = [_server().Pipe(duplex=False) for _ in range(2)]
    process = _server().Process(target=_run, args=(words, str(cwd), dict(environ), [writing for _, writing in streams]))
    process.start()
    printed = [bytearray(), bytearray()]
    readers = [
        threading.Thread(target=_read, args=(reading, into), daemon=True)
        for (reading, _), into in zip(streams, printed, strict=True)
    ]
    for (_, writing), reader in zip(streams, readers, strict=True):
        writing.close()
        reader.start()
    deadline = time.monotonic() + TIMEOUT
    for each in (*readers, process):
        each.join(max(0.0, deadline - time.monotonic()))
    if process.is_alive() or any(each.is_alive() for each in readers):
        process.kill()
        raise TimeoutError(f"after {TIMEOUT} s: provision {' '.join(words)}: {printed}")
    for reading, _ in streams:
        reading.close()
    code = process.exitcode
    assert code is not None
    process.close()
    return Ran(code, *(bytes(each).decode() for each in printed))


def _read(reading: Connection, into: bytearray) -> None:
    while part := os.read(reading.fileno(), 1 << 16):
        into += part


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    modules = [each.name for each in pkgutil.walk_packages(provision.__path__, "provision.")]
    context.set_forkserver_preload([*_DEPENDENCIES, *(each for each in modules if not each.startswith(_ELSEWHERE))])
    return context


def _run(words: tuple[str, ...], directory: str, environ: dict[str, str], streams: list[Connection]) -> None:
    """Be the program, in the copy."""
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  # a descriptor is what matters
        os.dup2(nothing.fileno(), 0)
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = ["provision", *words]
    from provision.cli import main

    main()
