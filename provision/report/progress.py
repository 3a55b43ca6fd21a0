"""Which way progress is told: live on a terminal, one line per step in a pipe, not at all with ``--quiet``."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from provision.report.silent import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provision.model import Progress
    from provision.report.console import Console


@contextmanager
def told(console: Console) -> Iterator[Progress]:
    """Choose the way that fits the console, and give the screen back whatever happens.

    A pipeline that is cancelled (SIGTERM) and a terminal that is closed (SIGHUP) interrupt the work as Ctrl-C does,
    so that locks and child processes are put away.
    """
    progress = _choose(console)
    before = [(number, signal.signal(number, _interrupt)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield progress
    finally:
        progress.close()
        for number, handler in before:
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _choose(console: Console) -> Silent:
    if console.quiet:
        return Silent(console)
    if console.is_terminal(console.talk):
        from provision.report.live import Live

        return Live(console)
    from provision.report.plain import Plain

    return Plain(console)
