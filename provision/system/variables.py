"""The environment variables of a run: those of the process, or those that a caller of the Python API gives instead."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_given: ContextVar[Mapping[str, str] | None] = ContextVar("variables", default=None)


def environ() -> Mapping[str, str]:
    """Return the variables; what the spec may use, and what the programs that we start receive."""
    given = _given.get()
    return os.environ if given is None else given


def without(names: Container[str]) -> dict[str, str]:
    """Return the variables but those with these names."""
    return {name: value for name, value in environ().items() if name not in names}


def cache_home() -> Path:
    """Return the directory of the user's caches.

    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    given = environ().get("XDG_CACHE_HOME", "")
    return Path(given) if given.startswith("/") else Path(environ().get("HOME") or Path.home()) / ".cache"


@contextmanager
def using(given: Mapping[str, str] | None) -> Iterator[None]:
    """Use other variables within the block, in this thread or task only; None: those of the process."""
    token = _given.set(given)
    try:
        yield
    finally:
        _given.reset(token)
