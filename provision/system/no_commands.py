"""``--no-commands``: the one place that decides whether a program may start or a login may be tried.

A spec can come from a stranger. Within :func:`active`, whatever the spec names (a password program, an interpreter, a
server to log in to) stays untouched, and what is then not known is noted, to be shown with a ``?``. Programs start in
:mod:`provision.system.processes` and logins in :mod:`provision.system.libpq`; both ask here first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from provision.errors import NotRunError

_notes: ContextVar[dict[str, None] | None] = ContextVar("no_commands", default=None)
"""What was left out so far, in order; None while everything may be run."""


@contextmanager
def active() -> Iterator[None]:
    """Run nothing that a spec names, and log in nowhere, for as long as the block runs."""
    notes = _notes.get()
    token = _notes.set({} if notes is None else notes)
    try:
        yield
    finally:
        _notes.reset(token)


def is_on() -> bool:
    """Whether nothing that the spec names may be run."""
    return _notes.get() is not None


def leaves_out(unknown: str) -> bool:
    """Whether this has to be left out; ``unknown`` says what is not known without it, and why (`X: Y was not run`)."""
    notes = _notes.get()
    if notes is None:
        return False
    notes[unknown] = None
    return True


def refuse(unknown: str) -> None:
    """Let the caller continue only where everything may be run.

    Raises:
        NotRunError: nothing may.
    """
    if leaves_out(unknown):
        raise NotRunError(unknown)


def unknown() -> tuple[str, ...]:
    """Return what is not known, a sentence each, because it was left out."""
    return tuple(_notes.get() or ())
