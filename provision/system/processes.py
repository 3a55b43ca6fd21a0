"""Programs are started here, and nowhere else: with ``--no-commands``, none that a spec names is."""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Literal, overload

from provision.system import no_commands, variables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from subprocess import DEVNULL, PIPE, STDOUT, CompletedProcess, Popen, TimeoutExpired

__all__ = ["DEVNULL", "PIPE", "STDOUT", "CompletedProcess", "Popen", "TimeoutExpired", "run", "start"]
_GRACE = 5.0


def __getattr__(name: str) -> Any:
    """Find the names of :mod:`subprocess`, which takes 2 ms to import; with nothing to do no program starts."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import subprocess

    return getattr(subprocess, name)


@overload
def run(argv: Sequence[Any], *, text: Literal[True], unknown: str = "", **options: Any) -> CompletedProcess[str]: ...


@overload
def run(argv: Sequence[Any], *, unknown: str = "", **options: Any) -> CompletedProcess[bytes]: ...


def run(argv: Sequence[Any], *, unknown: str = "", **options: Any) -> CompletedProcess[Any]:
    """Run a program to its end, whatever its exit code is; the ``options`` are those of :func:`subprocess.run`.

    ``unknown`` says what is not known where it was not run (`the password: its program was not run`).

    Raises:
        NotRunError: ``--no-commands`` forbids it.
        OSError: it cannot be run.
        TimeoutExpired: it was given a time, which is over.
    """
    import subprocess

    no_commands.refuse(unknown or _unknown(argv))
    return subprocess.run(argv, check=False, **{"env": variables.environ(), **options})


def start(argv: Sequence[Any], *, unknown: str = "", **options: Any) -> Popen[bytes]:
    """Start a program; the ``options`` are those of :class:`subprocess.Popen`, and ``unknown`` is as above.

    Raises:
        NotRunError: ``--no-commands`` forbids it.
        OSError: it cannot be run.
    """
    from subprocess import Popen

    no_commands.refuse(unknown or _unknown(argv))
    return Popen(argv, **{"env": variables.environ(), **options})


def start_alone(argv: Sequence[Any], log: IO[bytes] | int, **options: Any) -> Popen[bytes]:
    """Start a program as :func:`start` does, in a session of its own: it reads nothing, and all it says is in a log."""
    from subprocess import DEVNULL

    return start(argv, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True, **options)


def start_ssh(argv: Sequence[str], **options: Any) -> Popen[bytes]:
    """Start ``ssh`` to an engine that the user names, not the spec; it gets no Ctrl-C and ends with its input.

    Raises:
        OSError: it cannot be run.
    """
    from subprocess import Popen

    return Popen(argv, **{"env": variables.environ(), "start_new_session": True, **options})


def end_session(process: Popen[bytes]) -> None:
    """End a program that was started in a session of its own, with all that it has started there."""
    from subprocess import TimeoutExpired

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def major_of(program: Path | str) -> int:
    """Return the major version that one of PostgreSQL's programs says it has; 0 where it says none.

    Raises:
        NotRunError: ``--no-commands`` forbids it.
        OSError: it cannot be run.
    """
    match = re.search(r"\d+", run((program, "--version"), capture_output=True, text=True).stdout)
    return int(match[0]) if match else 0


def ps(*arguments: str) -> str:
    """Return what ``ps`` prints. It is the system's own, and the spec has no influence on it."""
    import subprocess

    return subprocess.run(("ps", *arguments), capture_output=True, text=True, check=False).stdout.strip()


def _unknown(argv: Sequence[Any]) -> str:
    return f"what {argv[0]} does: it was not run"
