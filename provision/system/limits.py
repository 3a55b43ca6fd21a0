"""Work on texts that other people wrote, in a copy of this process that may use so much time and memory and no more.

A template can loop for ever, or ask for a text of a terabyte, within a single instruction of the interpreter: only
another process can be ended in the middle of that. It is forked, because a new interpreter takes longer to start than
a template to render, and it answers in JSON.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from provision.errors import Command, NextStep, ProvisionError

CPU_SECONDS: Final = 3
MEMORY: Final = 512 * 1024 * 1024
"""Bytes beyond what this process has already."""
_WALL_SECONDS: Final = 120.0
"""For work that waits and computes nothing, and for a machine that is busy with something else."""
_LARGEST_ANSWER: Final = 64 * 1024 * 1024


def limited(
    work: Callable[[], Any], *, what: str, next_step: str, meanwhile: Callable[[], object] = lambda: None
) -> Any:
    """Return what ``work`` returns, which has to be JSON; ``what`` names it in an error (`the templates`).

    This process does ``meanwhile`` until the copy answers.

    Raises:
        ProvisionError: it failed, or it needs too much time or memory.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads are none of the copy's business
        child = os.fork()
    if child == 0:
        os.close(reading)
        _serve(work, writing)
    os.close(writing)
    try:
        meanwhile()
        answer = _receive(reading)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not answer:
        raise ProvisionError(f"{what} {_ending(status)}", next_step=next_step)
    found = json.loads(answer)
    if "bug" in found:
        raise RuntimeError(found["bug"])
    if "error" in found:
        sentence, evidence, advice = found["error"]
        parts = [each if isinstance(each, str) else Command(*each) for each in advice]
        raise ProvisionError(sentence, evidence=evidence, next_step=NextStep(*parts) or next_step)
    return found["result"]


def _serve(work: Callable[[], Any], writing: int) -> NoReturn:
    """Do the work in the copy, and end it without running what this process would run at its end."""
    code = 1
    try:
        _restrict()
        answer = json.dumps(_answer(work)).encode()
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
        code = 0
    finally:
        os._exit(code)


def _answer(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"result": work()}
    except ProvisionError as error:
        return {"error": (error.sentence, error.evidence, error.next_step.parts if error.next_step else ())}
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # the copy has no boundary of its own
        from traceback import format_exc

        return {"bug": format_exc()}


def _restrict() -> None:
    import resource

    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # as for a program that runs in the background of a shell
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    with suppress(ValueError, OSError):  # without /proc the time is the only limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _receive(reading: int) -> bytes:
    """Return what the copy has written when it ends; nothing where it takes too long or says too much."""
    deadline = time.monotonic() + _WALL_SECONDS
    parts: list[bytes] = []
    size = 0
    while select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            break
    return b""


def _ending(status: int) -> str:
    """Say why a copy ended without an answer."""
    if not os.WIFSIGNALED(status):
        return f"need more than {MEMORY >> 20} MiB of memory"
    if os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU):
        return f"take too long: they may compute for {CPU_SECONDS} s"
    return f"made the program end with signal {os.WTERMSIG(status)}"
