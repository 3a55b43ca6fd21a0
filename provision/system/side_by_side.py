"""Work that is done in copies of this process, side by side, with what each of them prints.

A copy has loaded what this process has, is interrupted as a process of its own, and cannot harm the others. Threads
would take turns in one interpreter, and nothing could interrupt them.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, NoReturn

from provision.model.value import dataclass, field

MOST: Final = max(4, os.cpu_count() or 1)
"""So many copies run at once: most of the time each waits for a server."""
_READ: Final = 1 << 16
_TICK: Final = 0.1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(NamedTuple):
    """How one piece of work ended: its number, its exit code (128 and more: by a signal), and what it has printed."""

    number: int
    code: int
    out: str
    err: str


@dataclass(eq=False)
class _Copy:
    number: int
    rest: list[int]
    pid: int
    texts: dict[int, bytearray] = field(default_factory=dict)
    """What was read so far, by the descriptors of the two streams, which are open."""
    code: int | None = None


def run(
    work: Callable[[int], int],
    groups: Sequence[Sequence[int]],
    *,
    ended: Callable[[Ended], None],
    tick: Callable[[Sequence[int]], None],
) -> None:
    """Do the pieces of work that have these numbers; those of a group one after the other.

    ``work`` returns an exit code. ``ended`` is called for each, in the order in which they end, and ``tick`` ten times
    a second with the numbers of what runs.

    Raises:
        KeyboardInterrupt: this process was interrupted. So was what ran, and it has ended; nothing more was begun.
    """
    asked: list[int] = []
    before = {each: signal.signal(each, lambda number, _: asked.append(number)) for each in _SIGNALS}
    waiting, passed_on = [list(each) for each in groups if each], 0
    copies: list[_Copy] = []
    try:
        while waiting or copies:
            while waiting and len(copies) < MOST:
                copies.append(_begin(work, waiting.pop(0)))
            for copy in list(_over(copies)):
                copies.remove(copy)
                ended(
                    Ended(copy.number, copy.code or 0, *(each.decode(errors="replace") for each in copy.texts.values()))
                )
                if copy.rest:
                    waiting.insert(0, copy.rest)
            if len(asked) > passed_on:
                _pass_on(asked[passed_on], copies)
                passed_on = len(asked)
            waiting = [] if asked else waiting
            tick([each.number for each in copies])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt


def _begin(work: Callable[[int], int], group: list[int]) -> _Copy:
    number, *rest = group
    pipes = [os.pipe() for _ in range(2)]
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads are none of the copy's business
        pid = os.fork()
    if pid == 0:
        _serve(lambda: work(number), [writing for _, writing in pipes])
    for reading, writing in pipes:
        os.close(writing)
        os.set_blocking(reading, False)
    return _Copy(number, rest, pid, {reading: bytearray() for reading, _ in pipes})


def _serve(work: Callable[[], int], streams: Sequence[int]) -> NoReturn:
    """Do the work in the copy, and end it without running what this process would run at its end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)  # two copies cannot share what is typed
        for target, source in enumerate((nothing, *streams)):
            os.dup2(source, target)
        code = work()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _over(copies: Sequence[_Copy]) -> Iterator[_Copy]:
    """Read what copies print, for a moment, and yield those that have ended."""
    with selectors.DefaultSelector() as selector:
        for copy in copies:
            for stream in copy.texts:
                with suppress(OSError, ValueError):
                    selector.register(stream, selectors.EVENT_READ, copy)
        events: list[Any] = selector.select(_TICK)
    for key, _ in events:
        _read(key.data, key.fd)
    for copy in copies:
        found, status = os.waitpid(copy.pid, os.WNOHANG)
        if found:
            for stream in copy.texts:
                _read(copy, stream)
                os.close(stream)
            code = os.waitstatus_to_exitcode(status)
            copy.code = code if code >= 0 else 128 - code
            yield copy


def _read(copy: _Copy, stream: int) -> None:
    with suppress(BlockingIOError):  # a server that the copy has started may keep the stream open
        while part := os.read(stream, _READ):
            copy.texts[stream] += part


def _pass_on(number: int, copies: Sequence[_Copy]) -> None:
    """Interrupt the copies as this process was; Ctrl-C on a terminal has reached them already."""
    if number == signal.SIGINT and _is_in_front():
        return
    for copy in copies:
        with suppress(ProcessLookupError):
            os.kill(copy.pid, signal.SIGINT)


def _is_in_front() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
